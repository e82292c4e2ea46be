"""From the repeated maps of a region to what is told of it, step by step."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ptycho_plugin.checked_model import CheckedModel
from ptycho_plugin.errors import InputError
from ptycho_plugin.geometry import M_PER_NM
from ptycho_plugin.materials import Material
from ptycho_plugin.postprocess.averaging import Average, average, halves
from ptycho_plugin.postprocess.flattening import Flattened, flattened, unwrapped
from ptycho_plugin.postprocess.frc import Threshold
from ptycho_plugin.postprocess.matter import MaximumShift, electron_density, mass_per_area, maximum_shift
from ptycho_plugin.postprocess.registration import DISTINCT, MARGIN_PX, align_repeats, distinctness, inner
from ptycho_plugin.postprocess.resolution import (
    SAME_RESTORATION,
    SAME_SOURCE,
    Resolution,
    resolution,
    resolution_of_repeats,
    shared_noise,
)
from ptycho_plugin.postprocess.restoration import Restored, restore
from ptycho_plugin.postprocess.restoration_options import RestorationOptions
from ptycho_plugin.provenance import provenance

PACKAGES = ("numpy", "scipy", "scikit-image")
LEAST_SIDE_PX = 2 * MARGIN_PX + 8
"""Of a map: within the border that a shift may spoil, a smaller one holds hardly a ring."""

Image = NDArray[np.float64]


class PostprocessingOptions(CheckedModel):
    """What is done to the repeats of a region."""

    threshold: Threshold = "half_bit"
    """Of the ring correlation, by which a resolution is told."""
    restoration: RestorationOptions | None = RestorationOptions()
    """None leaves it out."""
    material: Material | None = None
    """Of which the matter is, if its mass shall be told."""
    matrix: Material | None = None
    """What it has displaced; None for vacuum."""


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class RegionMaps:
    """The repeats of one region, in their order.

    Parameters
    ----------
    transmissions : ndarray, (repeat, row, column), complex
        Square, and of the same place to a few pixels: `ptycho_plugin.postprocess.repeats.window_about`.
    photons : ndarray, (repeat,), float64
        On the sample, in any unit: the inverse of which the variance of a map's noise is.
    sources : tuple of str
        What each was made of, such as the uid of a run; empty where nobody knows.
    pixel : float
        In metres.
    energy_eV : float

    Raises
    ------
    InputError
        If there are fewer than two maps, they are not square or too small, one is constant, not finite or no
        transmission, or photons, pixel or energy are not above zero.
    """

    transmissions: NDArray[np.complexfloating]
    photons: NDArray[np.float64]
    sources: tuple[str, ...]
    pixel: float
    energy_eV: float

    def __post_init__(self) -> None:
        if not isinstance(self.transmissions, np.ndarray):
            sides = ", ".join(str(np.shape(one)) for one in self.transmissions)
            raise InputError(f"maps of {sides} px are no stack: cut one window from all, and give one array")
        shape = self.transmissions.shape
        if len(shape) != 3 or shape[0] < 2 or shape[1] != shape[2]:
            raise InputError(f"maps of shape {shape} are no repeats: give (repeat, side, side), two or more")
        if not len(self.photons) == len(self.sources) == shape[0]:
            raise InputError(
                f"{len(self.photons)} numbers of photons and {len(self.sources)} sources do not fit "
                f"{shape[0]} repeats: give one of each for each"
            )
        if shape[1] < LEAST_SIDE_PX:
            raise InputError(
                f"maps of {shape[1]} px leave nothing within a border of {MARGIN_PX} px: scan a larger area, "
                f"for {LEAST_SIDE_PX} px or more"
            )
        if not np.iscomplexobj(self.transmissions):
            raise InputError(
                f"maps of {self.transmissions.dtype} are no transmissions: of phases, give exp(1j * phase)"
            )
        for name, values in (("photons", self.photons), ("pixel", self.pixel), ("energy_eV", self.energy_eV)):
            if not (np.isfinite(values).all() and np.greater(values, 0).all()):
                raise InputError(f"{name} of {np.array(values).tolist()} cannot be: give what is above zero")
        self._check_images()

    def _check_images(self) -> None:
        for number, image in enumerate(self.transmissions):
            if not np.isfinite(image).all():
                raise InputError(
                    f"repeat {number} holds values that are not finite: crop all to what was illuminated"
                )
            if np.ptp(np.angle(image)) == 0:
                raise InputError(f"repeat {number} is constant: leave it out")


@dataclass(frozen=True, eq=False, slots=True, kw_only=True, repr=False)
class RegionResult:
    """What is told of a region; rows and columns are those that all repeats cover.

    It prints without its arrays.

    Parameters
    ----------
    phases : ndarray, (repeat, row, column), float64
        Registered, in rad, zero on the ground, negative where there is matter.
    drift_px : ndarray, (repeat, 2), float64
        By which each repeat lies away from the first, (row, column).
    distinctness : ndarray, (repeat,), float64
        Of each from noise, beside all others: see `ptycho_plugin.postprocess.registration.distinctness`.
    average : Average
        Of the phases.
    flat : Flattened
        The average's ground.
    single : Resolution
        Of one map, by all pairs.
    averaged : Resolution
        Of the average of half the repeats, by two disjoint halves.
    restored : Restored or None
        The average, restored.
    restored_halves : Resolution or None
        Of two halves that were restored alike.
    maximum : MaximumShift
        Of the single maps.
    maps : RegionMaps
        What it was made of.
    options : PostprocessingOptions
    """

    phases: Image
    drift_px: Image
    distinctness: NDArray[np.float64]
    average: Average
    flat: Flattened
    single: Resolution
    averaged: Resolution
    restored: Restored | None
    restored_halves: Resolution | None
    maximum: MaximumShift
    maps: RegionMaps
    options: PostprocessingOptions

    def __repr__(self) -> str:
        count, rows, columns = self.phases.shape
        return (
            f"<RegionResult of {count} repeats, {rows} x {columns} px of {self.maps.pixel / M_PER_NM:.1f} nm>"
        )

    @property
    def lost(self) -> list[int]:
        """Which repeats, counted from 0, do not show what the others do beyond doubt where they were sought.

        Or would do so farther away: a shift that is as long as it can be is none that was found.
        """
        at_the_end = np.abs(self.drift_px).max(axis=1) >= MARGIN_PX
        return np.flatnonzero(at_the_end | (self.distinctness < DISTINCT)).tolist()

    @property
    def drift(self) -> Image:
        """By which each repeat lies away from the first, (repeat, 2), in metres."""
        return self.drift_px * self.maps.pixel

    @property
    def electron_density(self) -> Image:
        """Projected, (row, column), in 1/m2, in excess of the ground: of the average."""
        return electron_density(self.average.mean, self.maps.energy_eV)

    @property
    def mass_per_area(self) -> Image:
        """Of the options' material, (row, column), in kg/m2: of the average.

        Raises
        ------
        InputError
            If the options name no material.
        """
        if self.options.material is None:
            raise InputError("the mass cannot be told without a material: give one in the options")
        energy_eV = self.maps.energy_eV
        return mass_per_area(self.average.mean, self.options.material, self.options.matrix, energy_eV)

    def provenance(self) -> Mapping[str, Any]:
        """Return what made it, as JSON values."""
        return provenance(
            options=self.options.model_dump(mode="json"),
            source={"runs": list(self.maps.sources)},
            packages=PACKAGES,
        )


def postprocess(
    maps: RegionMaps,
    options: PostprocessingOptions = PostprocessingOptions(),  # noqa: B008  frozen
    ground: NDArray[np.bool_] | None = None,
) -> RegionResult:
    """Register, flatten, average, judge and restore the repeats of a region.

    Parameters
    ----------
    maps : RegionMaps
    options : PostprocessingOptions
    ground : ndarray of bool, (row, column), optional
        Pixels, of the first repeat, that are known to hold no matter.

    Raises
    ------
    InputError
        If a map or the ground cannot be used.
    """
    _check_ground(ground, maps.transmissions.shape[1:])
    registered, drift_px, distinct = register(maps)
    phases = relative_phases(registered, maps.photons)
    first, second = halves(phases, maps.photons)
    mean = average(phases, maps.photons)
    flat = flattened(mean.mean, (first - second) / 2, None if ground is None else inner(ground))
    plane, warning = mean.mean - flat.phase, _warning(maps)
    phases, first, second = phases - plane, first - plane, second - plane
    mean = Average(flat.phase, mean.standard_error)
    restored, restored_halves = restoration(mean, first, second, maps.pixel, options)
    return RegionResult(
        phases=phases,
        drift_px=drift_px,
        distinctness=distinct,
        average=mean,
        flat=flat,
        single=resolution_of_repeats(phases, maps.pixel, options.threshold, warning=warning),
        averaged=resolution(first, second, maps.pixel, options.threshold, warning=warning),
        restored=restored,
        restored_halves=restored_halves,
        maximum=maximum_shift(phases),
        maps=maps,
        options=options,
    )


def register(maps: RegionMaps) -> tuple[NDArray[np.complex128], Image, Image]:
    """Return the maps brought onto the first, (repeat, row, column), without their border.

    Beside them, the drift, (repeat, 2) in pixels, is the way from the first to each; the distinctness,
    (repeat,), tells whether each shows what the others do.
    """
    alignments = align_repeats(maps.transmissions)
    total = np.sum([one.image for one in alignments], axis=0)
    drift_px = -np.stack([one.shift_px for one in alignments])
    distinct = np.array([distinctness(one.image, total - one.image) for one in alignments])
    return np.stack([inner(one.image) for one in alignments]), drift_px, distinct


def relative_phases(registered: NDArray[np.complexfloating], weights: NDArray[np.float64]) -> Image:
    """Return phases (repeat, row, column) in rad, unwrapped all alike.

    That of the average is unwrapped, if it must be, and each map's difference from it is added.
    """
    mean = np.average(registered, axis=0, weights=weights)
    return np.asarray(unwrapped(mean) + np.angle(registered * mean.conj()))


def restoration(
    mean: Average, first: Image, second: Image, pixel: float, options: PostprocessingOptions
) -> tuple[Restored | None, Resolution | None]:
    """Return the average restored, and the resolution of its two halves, restored alike.

    The halves' noise is sqrt(2) times the average's, and so is the strength that they are restored with.
    """
    if options.restoration is None:
        return None, None
    noise_sigma = float(np.sqrt(np.mean(mean.standard_error**2)))
    restored = restore(mean.mean, options.restoration, noise_sigma=noise_sigma, halves=(first, second))
    strength = sqrt(2) * restored.lambda1
    alike = partial(restore, options=options.restoration, strength=strength)
    with ThreadPoolExecutor(2) as pool:
        a, b = (half.phase for half in pool.map(alike, (first, second)))
    return restored, resolution(a, b, pixel, options.threshold, warning=SAME_RESTORATION)


def _check_ground(ground: NDArray[np.bool_] | None, shape: tuple[int, ...]) -> None:
    if ground is not None and (ground.shape != shape or ground.dtype != np.bool_):
        raise InputError(
            f"a ground of {ground.dtype}, {ground.shape} px, does not fit maps of {shape} px: "
            "give a bool for each pixel of the first"
        )


def _warning(maps: RegionMaps) -> str | None:
    """Return why the repeats' noise may not be independent."""
    for (one, source), (other, other_source) in combinations(
        zip(maps.transmissions, maps.sources, strict=True), 2
    ):
        if shared_noise(source, other_source) or np.array_equal(one, other):
            return SAME_SOURCE
    return None
