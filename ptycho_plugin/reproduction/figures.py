"""The figures of a reproduction, from its maps by the same post-processing that a beamline's go through."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ptycho_plugin.geometry import M_PER_NM, M_PER_UM
from ptycho_plugin.materials import CDS
from ptycho_plugin.measurement import window_half_px
from ptycho_plugin.postprocess.account import arrays_of, facts_of
from ptycho_plugin.postprocess.frc import fourier_rings, ring_correlation, windowed_transform
from ptycho_plugin.postprocess.matter import maximum_shift
from ptycho_plugin.postprocess.pipeline import PostprocessingOptions, RegionMaps, RegionResult, postprocess
from ptycho_plugin.postprocess.registration import MARGIN_PX, align, inner, shifted
from ptycho_plugin.postprocess.repeats import window_about
from ptycho_plugin.postprocess.resolution import Resolution
from ptycho_plugin.reproduction.dose import dose_of
from ptycho_plugin.reproduction.options import Conditions
from ptycho_plugin.reproduction.run import MeasuredRegion
from ptycho_plugin.simulation.samples import SAMPLES
from ptycho_plugin.view.report import RegionSection

FOCUS = 450e-9
"""Published size of the focus, in metres, of which the paper tells its oversampling."""


@dataclass(frozen=True, eq=False, slots=True)
class JudgedRegion:
    """A region's post-processed maps beside the truth, which the paper could not know.

    Parameters
    ----------
    measured : MeasuredRegion
    result : RegionResult
    truth : ndarray, (row, column), complex64
        Of the window that the maps show, to a pixel, with a border of `MARGIN_PX` more.
    """

    measured: MeasuredRegion
    result: RegionResult
    truth: NDArray[np.complex64]

    @property
    def true_phase(self) -> NDArray[np.float64]:
        """(row, column) in rad, where the maps are, to a pixel."""
        return np.asarray(np.angle(inner(self.truth)), np.float64)

    def true_half_period(self, phase: NDArray[np.floating]) -> float | None:
        """Return the resolution of a map against the truth, in metres, by the half-bit threshold, if any."""
        padded = np.pad(phase, MARGIN_PX, mode="reflect")
        aligned = align(np.exp(1j * padded), self.truth).image
        rings = ring_correlation(np.angle(inner(aligned)), self.true_phase)
        level = rings.threshold_to_truth("half_bit")
        return rings.half_period(level, self.result.maps.pixel) if rings.has_anything(level) else None

    def truth_as_shown(self) -> NDArray[np.float64]:
        """Return the phases (repeat, row, column) in rad of the truth in maps as sharp and as noisy as these.

        The truth where a map sees it, each ring of frequencies times the mean part of it that is in the maps,
        plus the map's deviation from all maps' average, turned by 180 degrees: away from the matter it was
        found with. What maps lose by their resolution and gain by noise is in it, and nothing else.
        """
        phases = self.result.phases
        mean = phases.mean(axis=0)
        truths = np.stack([self._true_phase_under(phase) for phase in phases])
        transfer = _transfer(phases, truths)
        blurred = np.stack([_through(truth, transfer) for truth in truths])
        noise = (phases - mean) * np.sqrt(len(phases) / (len(phases) - 1))
        return np.asarray(blurred + np.rot90(noise, 2, axes=(1, 2)), np.float64)

    def _true_phase_under(self, phase: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the true phase (row, column), moved by a fraction of a pixel onto a map."""
        alignment = align(self.truth, np.exp(1j * np.pad(phase, MARGIN_PX, mode="reflect")))
        return np.asarray(np.angle(inner(shifted(self.truth, alignment.shift_px))))


def _transfer(phases: NDArray[np.floating], truths: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return how much of the truth (map, row, column) is in maps of it, on average: (ring,)."""
    ring = fourier_rings(phases.shape[1:]).ravel()

    def total(values: NDArray[np.floating]) -> NDArray[np.float64]:
        return np.bincount(ring, values.ravel()).astype(np.float64)

    shared, there = np.zeros(ring.max() + 1), np.zeros(ring.max() + 1)
    for phase, truth in zip(phases, truths, strict=True):
        shown, true = windowed_transform(phase), windowed_transform(truth)
        shared += total((shown * true.conj()).real)
        there += total(np.abs(true) ** 2)
    return np.divide(shared, there, out=np.zeros_like(there), where=there > 0)


def _through(image: NDArray[np.floating], transfer: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return an image (row, column) with each ring of its frequencies times a number."""
    return np.asarray(np.fft.ifft2(np.fft.fft2(image) * transfer[fourier_rings(image.shape)]).real)


def judged(conditions: Conditions, measured: MeasuredRegion) -> JudgedRegion:
    """Post-process the maps of a region, and cut the truth to what they show.

    Raises
    ------
    InputError
        If the maps cannot be used.
    """
    geometry = conditions.geometry
    half = window_half_px(conditions.trajectory.offsets_um() * M_PER_UM, geometry.object_pixel)
    repeats = measured.repeats
    maps = RegionMaps(
        transmissions=np.stack(
            [
                window_about(
                    repeat.transmission,
                    repeat.positions_px,
                    repeat.positions / geometry.object_pixel,
                    geometry.frame_side,
                    half,
                )
                for repeat in repeats
            ]
        ),
        photons=np.full(len(repeats), conditions.photons * len(conditions.trajectory.offsets_um())),
        sources=tuple(f"{measured.region.name}-{number}" for number in range(1, len(repeats) + 1)),
        pixel=geometry.object_pixel,
        energy_eV=geometry.energy_eV,
    )
    options = PostprocessingOptions(material=CDS, matrix=SAMPLES[measured.region.sample].film.matrix)
    truth = measured.truth
    row, column = np.rint((np.array(repeats[0].drift) - truth.origin) / truth.pixel).astype(int)
    window = truth.transmission[row - half : row + half, column - half : column + half]
    return JudgedRegion(measured, postprocess(maps, options), window)


def section(conditions: Conditions, region: JudgedRegion) -> RegionSection:
    """Return what a report shows of a region."""
    repeats = dict(enumerate(region.measured.repeats, start=1))
    return RegionSection(
        name=region.measured.region.name,
        arrays=arrays_of(region.result),
        facts=facts_of(region.result) | {"repeats": list(repeats)},
        errors={
            f"repeat {number}": (repeat.errors, repeat.likelihood_from) for number, repeat in repeats.items()
        },
        dose=dose_of(conditions, region.measured),
    )


def figures(conditions: Conditions, regions: Sequence[JudgedRegion]) -> dict[str, Any]:
    """Return the figures of the scan and, by sample, of its maps, as JSON values: means over its regions.

    A resolution is None of a sample in which nothing is resolved. Those of averages are, by correlation, of
    averages of half the repeats; against the truth, of the average of all.

    Parameters
    ----------
    conditions : Conditions
    regions : sequence of JudgedRegion
    """
    geometry = conditions.geometry
    samples: dict[str, list[dict[str, float | None]]] = {}
    for region in regions:
        samples.setdefault(region.measured.region.sample, []).append(_of_region(region))
    return {
        "object_pixel_nm": round(geometry.object_pixel / M_PER_NM, 3),
        "oversampling": round(geometry.oversampling(FOCUS), 2),
        "points": len(conditions.trajectory.offsets_um()),
        "samples": {
            name: {key: _mean([one[key] for one in found]) for key in found[0]} | {"regions": len(found)}
            for name, found in samples.items()
        },
    }


def _mean(values: list[float | None]) -> float | None:
    """Return the mean of what there is."""
    known = [value for value in values if value is not None]
    return round(mean(known), 4) if known else None


def _nm(half_period: float | None) -> float | None:
    return None if half_period is None else half_period / M_PER_NM


def _half_period(one: Resolution) -> float | None:
    """Return a resolution in metres, if there is one."""
    return one.half_period if one.resolved else None


def _of_region(region: JudgedRegion) -> dict[str, float | None]:
    result, true = region.result, maximum_shift(region.true_phase[None])
    shown = maximum_shift(region.truth_as_shown())
    assert result.restored is not None  # noqa: S101  (for the type checker: the options restore)
    assert result.restored_halves is not None  # noqa: S101
    return {
        "half_bit_single_nm": _nm(_half_period(result.single)),
        "half_bit_average_nm": _nm(_half_period(result.averaged)),
        "half_bit_restored_nm": _nm(_half_period(result.restored_halves)),
        "true_single_nm": _nm(region.true_half_period(result.phases[0])),
        "true_average_nm": _nm(region.true_half_period(result.average.mean)),
        "true_restored_nm": _nm(region.true_half_period(result.restored.phase)),
        "max_phase_rad": result.maximum.value,
        "max_phase_error_rad": result.maximum.error,
        "max_phase_true_rad": true.value,
        "max_phase_true_as_shown_rad": shown.value,
        "percentile_rad": result.maximum.percentile,
        "percentile_error_rad": result.maximum.percentile_error,
        "percentile_true_rad": true.percentile,
        "percentile_true_as_shown_rad": shown.percentile,
        "residual": mean(repeat.residual for repeat in region.measured.repeats),
    }
