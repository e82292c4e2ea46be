"""The published scan, again and again over one simulated film, reconstructed, beside the truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ptycho_plugin.dataset import COUNTER_LIMIT, PtychoDataset
from ptycho_plugin.dose import DoseModel
from ptycho_plugin.geometry import M_PER_UM, Geometry
from ptycho_plugin.live.judge import map_window, scattered
from ptycho_plugin.live.question import RECIPE
from ptycho_plugin.optics import ZonePlate
from ptycho_plugin.orientation import crop_window
from ptycho_plugin.postprocess.frc import ring_correlation
from ptycho_plugin.postprocess.registration import MARGIN_PX, align, inner, without_plane
from ptycho_plugin.postprocess.repeats import Repeat, RepeatSeries
from ptycho_plugin.reconstruction.result import Result
from ptycho_plugin.reconstruction.whole_scan import reconstruct
from ptycho_plugin.simulation.degradation import PUBLISHED_FLUENCE
from ptycho_plugin.simulation.octapods import OctapodFilm
from ptycho_plugin.simulation.options import SimulationOptions
from ptycho_plugin.simulation.specimens import FILM, Specimen
from ptycho_plugin.simulation.world import SimulatedWorld
from ptycho_plugin.trajectory import ConcentricRings

EXPOSURE_S, PHOTONS = 0.2, 1e6
"""Of a published frame."""
FIELD_UM = 3.0
"""Side of the window that is compared, without its margin."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What the repeats of a film have in common.

    Parameters
    ----------
    side : int
        Rows of a frame.
    photons : float
        Of a frame.
    turn_deg : float
        Of the rings, from repeat to repeat.
    degrades : bool
    """

    side: int
    photons: float
    turn_deg: float = 8.5
    degrades: bool = True

    @property
    def geometry(self) -> Geometry:
        """The published one, with smaller frames."""
        return Geometry.from_wavelength(0.2e-9, distance=2.236, detector_pixel=172e-6, frame_side=self.side)

    @property
    def dose(self) -> float:
        """Of one repeat, in Gy."""
        model = DoseModel(energy_eV=self.geometry.energy_eV)
        return model.gray_per_fluence * PUBLISHED_FLUENCE * self.photons / PHOTONS


class RepeatedScans:
    """The repeats of one film, in their order.

    Parameters
    ----------
    seed : int
    setting : Setting

    Attributes
    ----------
    series : RepeatSeries
        Of the repeats so far.
    """

    def __init__(self, seed: int, setting: Setting) -> None:
        self.series = RepeatSeries()
        self._setting = setting
        self._geometry = setting.geometry
        options = SimulationOptions(
            seed=seed, degrades=setting.degrades, photons_per_second=setting.photons / EXPOSURE_S
        )
        holder = (Specimen(FILM, (0.0, 0.0), OctapodFilm(seed=seed + 1)),)
        self._world = SimulatedWorld(self._geometry, ZonePlate(), options, holder)
        self._world.set_shutter(True)
        self._fresh = self._film()
        self._scans: list[PtychoDataset] = []

    @property
    def pixel(self) -> float:
        """Of the maps, in metres."""
        return self._geometry.object_pixel

    def repeat(self) -> None:
        """Scan the film once more, and reconstruct."""
        number, dose = len(self.series), self._setting.dose
        scan, counts = self._scan(ConcentricRings(turn_deg=number * self._setting.turn_deg))
        result = reconstruct(scan, RECIPE)
        window, signal = self._window(result, scan), scattered(result, scan, counts)
        self.series.add(Repeat(window, number * dose, (number + 1) * dose, signal))
        self._scans.append(scan)

    def lost(self) -> float:
        """Return the part of the fresh film's phase contrast that is gone."""
        now, fresh = (float(np.angle(inner(film)).std()) for film in (self._film(), self._fresh))
        return 1 - now / fresh

    def resolution(self) -> float:
        """Return where the average map's correlation with the fresh film first falls to 0.5, in metres."""
        return self._resolution(self.series.phases.mean(axis=0))

    def joint_resolution(self) -> float:
        """Return the same of one map that is reconstructed from all frames."""
        joined = PtychoDataset.joined(self._scans)
        window = self._window(reconstruct(joined, RECIPE), joined)
        return self._resolution(self._phase(window))

    def _resolution(self, phase: NDArray[np.float64]) -> float:
        return ring_correlation(phase, self._phase(self._fresh)).half_period(0.5, self.pixel)

    def _phase(self, window: NDArray[np.complexfloating]) -> NDArray[np.float64]:
        """Return the phase of a window that is brought onto the first repeat's."""
        return without_plane(np.angle(inner(align(window, self.series.repeats[0].transmission).image)))

    def _window(self, result: Result, scan: PtychoDataset) -> NDArray[np.complexfloating]:
        return map_window(result, scan.positions, self._half)

    def _film(self) -> NDArray[np.complex64]:
        """Return the window of the film as it is now."""
        film = self._world.truth(FILM).transmission
        middle = slice(len(film) // 2 - self._half, len(film) // 2 + self._half)
        return film[middle, middle]

    @property
    def _half(self) -> int:
        return round(FIELD_UM * M_PER_UM / self.pixel / 2) + MARGIN_PX

    def _scan(self, rings: ConcentricRings) -> tuple[PtychoDataset, float]:
        """Return a scan, and the monitor's counts."""
        world, frames, counts = self._world, [], 0.0
        crop = crop_window(world.beam_centre_px, self._geometry.frame_side, world.detector_shape)
        for row, column in rings.offsets_um():
            world.move("stage_row", row)
            world.move("stage_column", column)
            exposure = world.expose(EXPOSURE_S)
            frames.append(exposure.frame[crop].copy())  # not a view, which keeps the whole frame
            counts += exposure.monitor_counts
        stack = np.stack(frames)
        scan = PtychoDataset(
            frames=stack,
            positions=rings.offsets_um() * M_PER_UM,
            mask=((stack >= 0) & (stack < COUNTER_LIMIT)).all(axis=0),
            geometry=self._geometry,
            probe=ZonePlate().probe(self._geometry),
        )
        return scan, counts
