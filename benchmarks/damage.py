"""The command: how soon and how surely the damage watch stops a series, on simulated films that die."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil, log
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks.report import Figure, print_table
from ptycho_plugin.dataset import COUNTER_LIMIT, PtychoDataset
from ptycho_plugin.dose import DoseModel
from ptycho_plugin.geometry import Geometry
from ptycho_plugin.optics import ZonePlate
from ptycho_plugin.orientation import crop_window
from ptycho_plugin.postprocess.frc import ring_correlation
from ptycho_plugin.postprocess.registration import MARGIN_PX, aligned
from ptycho_plugin.postprocess.repeats import (
    Repeat,
    RepeatSeries,
    beyond_beam,
    high_angle_signal,
    window_about,
)
from ptycho_plugin.postprocess.stopping import DamageWatch, Verdict, predicted_correlation
from ptycho_plugin.reconstruction.options import ReconstructionOptions
from ptycho_plugin.reconstruction.whole_scan import reconstruct
from ptycho_plugin.simulation.degradation import PUBLISHED_FLUENCE
from ptycho_plugin.simulation.dying_film import DyingFilm
from ptycho_plugin.simulation.octapods import OctapodFilm
from ptycho_plugin.simulation.options import SimulationOptions
from ptycho_plugin.simulation.specimens import FILM, Specimen
from ptycho_plugin.simulation.world import SimulatedWorld
from ptycho_plugin.trajectory import ConcentricRings

EXPOSURE_S, PHOTONS = 0.2, 1e6
"""Of a published frame."""
FIELD_UM = 3.0
"""Side of the window that is watched, without its margin."""
INNER = (slice(MARGIN_PX, -MARGIN_PX), slice(MARGIN_PX, -MARGIN_PX))
NOISES = (0.25, 0.5, 1.0)
"""Of one repeat's map over the contrast; the published scan's is some 0.2."""
LONGEST = 8
"""Repeats: the most enduring film has lost a tenth of its contrast after 6.3."""
RECIPE = ReconstructionOptions(
    difference_map_iterations=0,
    least_squares_iterations=40,
    maximum_likelihood_iterations=20,
    probe_update_starts=0,
)


def main(
    maps: Annotated[int, typer.Option(help="Seeds of simulated maps: blurred and noisy phases.")] = 20,
    scans: Annotated[int, typer.Option(help="Seeds of simulated scans that are reconstructed.")] = 3,
    side: Annotated[int, typer.Option(help="Rows of their frames.")] = 64,
    repeats: int = 5,
    photons: Annotated[float, typer.Option(help="Of a frame.")] = PHOTONS,
    turn_deg: Annotated[float, typer.Option(help="Of the rings, from repeat to repeat.")] = 14.4,
    endure: Annotated[bool, typer.Option("--endure", help="Films that do not die.")] = False,
) -> None:
    """Judge dying films after every repeat, and say what is true."""
    if maps:
        print_table(figure for noise in NOISES for figure in map_figures(maps, noise))
    if scans:
        table = Table("seed", "repeat", "truly lost, %", "frc_05 predicted / true", "verdict")
        for seed in range(scans):
            for row in Dying(seed, side, photons, turn_deg, degrades=not endure).rows(repeats):
                table.add_row(str(seed), *row)
        Console(width=200).print(table)


def map_figures(seeds: int, noise: float) -> Iterator[Figure]:
    """Yield how many of some simulated series were stopped too early and too late."""
    films = [DyingFilm(seed, noise=noise) for seed in range(seeds)]
    stops = [_stopped_after(film) for film in films]
    tenths = [ceil(-log(0.9) * film.critical_repeats) for film in films]
    early = sum(stop < tenth for stop, tenth in zip(stops, tenths, strict=True))
    late = sum(stop > tenth + 1 for stop, tenth in zip(stops, tenths, strict=True))
    after = ", ".join(str(stop - tenth) for stop, tenth in zip(stops, tenths, strict=True))
    yield Figure(f"false_stops_noise_{noise:g}", early, "0", f"repeats after 10 % were lost: {after}")
    yield Figure(f"missed_stops_noise_{noise:g}", late, "0", "more than one repeat after")


def _stopped_after(film: DyingFilm) -> int:
    """Return the number of the last repeat, one more than there can be if none was the last."""
    series = RepeatSeries()
    for repeat in film.repeats(LONGEST):
        series.add(repeat)
        if DamageWatch().judge(series).stop:
            return len(series)
    return LONGEST + 1


@dataclass(frozen=True, slots=True)
class Dying:
    """The published scan, again and again, over a film that dies."""

    seed: int
    side: int
    photons: float
    turn_deg: float
    degrades: bool

    def rows(self, repeats: int) -> Iterator[tuple[str, str, str, str]]:
        """Yield a row of the table after every repeat."""
        geometry = Geometry.from_wavelength(
            0.2e-9, distance=2.236, detector_pixel=172e-6, frame_side=self.side
        )
        options = SimulationOptions(
            seed=self.seed, degrades=self.degrades, photons_per_second=self.photons / EXPOSURE_S
        )
        holder = (Specimen(FILM, (0.0, 0.0), OctapodFilm(seed=self.seed + 1)),)
        world = SimulatedWorld(geometry, ZonePlate(), options, holder)
        world.set_shutter(True)
        fresh, series = _truth(world), RepeatSeries()
        for number in range(repeats):
            series.add(self._repeat(world, number))
            lost = 1 - _contrast(_truth(world)) / _contrast(fresh)
            verdict = DamageWatch().judge(series)
            yield str(number + 1), f"{100 * lost:.1f}", _prediction(series, fresh, geometry), _said(verdict)

    def _repeat(self, world: SimulatedWorld, number: int) -> Repeat:
        """Scan, reconstruct, and cut the window out."""
        geometry = world.geometry
        scan, photons = _scan(world, ConcentricRings(turn_deg=number * self.turn_deg))
        result = reconstruct(scan, RECIPE)
        corners_px, offsets_px = result.positions_px, scan.positions / geometry.object_pixel
        window = window_about(result.object, corners_px, offsets_px, geometry.frame_side, _half(geometry))
        model = DoseModel(energy_eV=geometry.energy_eV)
        dose = model.gray_per_fluence * PUBLISHED_FLUENCE * self.photons / PHOTONS
        signal = high_angle_signal(scan.frames, scan.mask, beyond_beam(result.probe), photons)
        return Repeat(window, number * dose, (number + 1) * dose, signal)


def _scan(world: SimulatedWorld, rings: ConcentricRings) -> tuple[PtychoDataset, float]:
    """Return a scan, and the photons by the monitor."""
    geometry, frames, counts = world.geometry, [], 0.0
    crop = crop_window(world.beam_centre_px, geometry.frame_side, world.detector_shape)
    for row, column in rings.offsets_um():
        world.move("stage_row", row)
        world.move("stage_column", column)
        exposure = world.expose(EXPOSURE_S)
        frames.append(exposure.frame[crop].copy())  # not a view, which keeps the whole frame
        counts += exposure.monitor_counts
    stack = np.stack(frames)
    scan = PtychoDataset(
        frames=stack,
        positions=rings.offsets_um() * 1e-6,
        mask=((stack >= 0) & (stack < COUNTER_LIMIT)).all(axis=0),
        geometry=geometry,
        probe=ZonePlate().probe(geometry),
    )
    return scan, counts / world.options.monitor_counts_per_photon


def _half(geometry: Geometry) -> int:
    return round(FIELD_UM * 1e-6 / geometry.object_pixel / 2) + MARGIN_PX


def _truth(world: SimulatedWorld) -> NDArray[np.complex64]:
    """Return the window of the film as it is now."""
    film, half = world.truth(FILM).transmission, _half(world.geometry)
    middle = slice(len(film) // 2 - half, len(film) // 2 + half)
    return film[middle, middle]


def _contrast(film: NDArray[np.complex64]) -> float:
    return float(np.angle(film[INNER]).std())


def _prediction(series: RepeatSeries, fresh: NDArray[np.complex64], geometry: Geometry) -> str:
    """Return what was predicted of the average map over what the truth says."""
    if len(series) < 2:
        return ""
    first = series.repeats[0].transmission
    truth = np.angle(aligned(fresh, first))[INNER]
    rings = predicted_correlation(series), ring_correlation(series.phases.mean(axis=0), truth)
    predicted, true = (r.half_period(0.5, geometry.object_pixel) * 1e9 for r in rings)
    return f"{predicted:.1f} / {true:.1f} nm"


def _said(verdict: Verdict) -> str:
    return f"{'stop' if verdict.stop else 'go on'}: {verdict.reason}"


if __name__ == "__main__":
    typer.run(main)
