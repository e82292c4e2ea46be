"""The figures of a reproduction, from its maps by the same post-processing that a beamline's go through."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ptycho_plugin.geometry import M_PER_UM, Geometry
from ptycho_plugin.materials import CDS
from ptycho_plugin.measurement import window_half_px
from ptycho_plugin.postprocess.account import arrays_of, facts_of
from ptycho_plugin.postprocess.frc import ring_correlation
from ptycho_plugin.postprocess.pipeline import PostprocessingOptions, RegionMaps, RegionResult, postprocess
from ptycho_plugin.postprocess.registration import MARGIN_PX, align
from ptycho_plugin.postprocess.repeats import window_about
from ptycho_plugin.reproduction.options import Conditions
from ptycho_plugin.reproduction.run import MeasuredRegion
from ptycho_plugin.simulation.samples import SAMPLES
from ptycho_plugin.view.report import RegionSection

FOCUS = 450e-9
"""Published size of the focus, in metres, of which the paper tells its oversampling."""
NM = 1e-9
HIGH_PERCENTILE = 99.9


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
        inner = slice(MARGIN_PX, -MARGIN_PX)
        return np.asarray(np.angle(self.truth[inner, inner]), np.float64)

    def true_half_period(self, phase: NDArray[np.floating]) -> float:
        """Return the resolution of a map against the truth, in metres.

        By the square root of the half-bit threshold: the truth has no noise, and two noisy maps correlate
        as the square.
        """
        padded = np.pad(phase, MARGIN_PX, mode="reflect")
        aligned = align(np.exp(1j * padded), self.truth).image
        inner = slice(MARGIN_PX, -MARGIN_PX)
        rings = ring_correlation(np.angle(aligned[inner, inner]), self.true_phase)
        return rings.half_period(np.sqrt(rings.threshold("half_bit")), self.result.maps.pixel)


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
        sources=tuple(f"{measured.name}-{number}" for number in range(1, len(repeats) + 1)),
        pixel=geometry.object_pixel,
        energy_eV=geometry.energy_eV,
    )
    options = PostprocessingOptions(material=CDS, matrix=SAMPLES[measured.region.sample].film.matrix)
    truth = measured.truth
    row, column = np.rint((np.array(repeats[0].drift) - truth.origin) / truth.pixel).astype(int)
    window = truth.transmission[row - half : row + half, column - half : column + half]
    return JudgedRegion(measured, postprocess(maps, options), window)


def section(region: JudgedRegion) -> RegionSection:
    """Return what a report shows of a region."""
    number = len(region.measured.repeats)
    facts = facts_of(region.result) | {"repeats": list(range(1, number + 1))}
    return RegionSection(name=region.measured.name, arrays=arrays_of(region.result), facts=facts)


def figures(conditions: Conditions, regions: Sequence[JudgedRegion]) -> dict[str, Any]:
    """Return the figures of the scan and, by sample, of its maps, as JSON values: means over its regions.

    Parameters
    ----------
    conditions : Conditions
    regions : sequence of JudgedRegion
    """
    geometry: Geometry = conditions.geometry
    samples: dict[str, list[dict[str, float]]] = {}
    for region in regions:
        samples.setdefault(region.measured.region.sample, []).append(_of_region(region))
    return {
        "object_pixel_nm": round(geometry.object_pixel / NM, 3),
        "oversampling": round(geometry.oversampling(FOCUS), 2),
        "points": len(conditions.trajectory.offsets_um()),
        "samples": {
            name: {key: round(mean(one[key] for one in found), 4) for key in found[0]}
            | {"regions": len(found)}
            for name, found in samples.items()
        },
    }


def _of_region(region: JudgedRegion) -> dict[str, float]:
    result, true_phase = region.result, region.true_phase
    assert result.restored is not None  # noqa: S101  (for the type checker: the options restore)
    assert result.restored_halves is not None  # noqa: S101
    return {
        "half_bit_single_nm": result.single.half_period / NM,
        "half_bit_average_nm": result.averaged.half_period / NM,
        "half_bit_restored_nm": result.restored_halves.half_period / NM,
        "true_single_nm": region.true_half_period(result.phases[0]) / NM,
        "true_average_nm": region.true_half_period(result.average.mean) / NM,
        "true_restored_nm": region.true_half_period(result.restored.phase) / NM,
        "max_phase_rad": result.maximum.value,
        "max_phase_error_rad": result.maximum.error,
        "max_phase_true_rad": -float(true_phase.min()),
        "percentile_rad": result.maximum.percentile,
        "percentile_error_rad": result.maximum.percentile_error,
        "percentile_true_rad": -float(np.percentile(true_phase, 100 - HIGH_PERCENTILE)),
        "residual": mean(repeat.residual for repeat in region.measured.repeats),
    }
