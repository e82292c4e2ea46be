"""The resolution of maps by their Fourier ring correlation, with its uncertainty and what may flatter it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from ptycho_plugin.errors import InputError
from ptycho_plugin.postprocess.frc import (
    RingCorrelation,
    Threshold,
    fourier_rings,
    ring_correlation,
    windowed_transform,
)

RESAMPLES = 200
"""Enough for an uncertainty to a twelfth."""
WITHIN_SIGMA = (15.87, 84.13)
"""Percentiles that a normal distribution has a standard deviation below and above its middle."""
SAME_SOURCE = "both maps were made of the same data: their noise correlates, and the figure flatters"
SAME_RESTORATION = (
    "both maps were restored alike: the prior makes the same edges of them, and the figure flatters"
)
NOTHING_IN_COMMON = (
    "the maps do not tell the same at the lowest frequency that is looked at: no resolution can be told"
)


@dataclass(frozen=True, eq=False, slots=True)
class Resolution:
    """Where two maps, or all pairs of some, cease to tell the same.

    Parameters
    ----------
    half_period, sigma : float
        In metres, with its standard uncertainty: `RingCorrelation.half_period`.
    threshold : {"half_bit", "one_bit", "one_seventh"}
    rings : RingCorrelation
        The curve; of several pairs its mean.
    crosses : bool
        Whether the curve falls below the threshold at all. If not, the resolution is one pixel or better.
    warning : str or None
        Why the figure flatters, where it does, or means nothing.
    """

    half_period: float
    sigma: float
    threshold: Threshold
    rings: RingCorrelation
    crosses: bool
    warning: str | None = None

    @property
    def resolved(self) -> bool:
        """Whether the maps tell the same at all: if not, the half period is the lowest frequency's."""
        return self.rings.has_anything(self.rings.threshold(self.threshold))


def resolution(
    first: NDArray[np.floating],
    second: NDArray[np.floating],
    pixel: float,
    threshold: Threshold = "half_bit",
    *,
    warning: str | None = None,
    seed: int = 0,
) -> Resolution:
    """Return the resolution of two registered maps.

    Parameters
    ----------
    first, second : ndarray, (row, column), float
        Square and of one shape.
    pixel : float
        Side of their pixels in metres.
    threshold : {"half_bit", "one_bit", "one_seventh"}
    warning : str, optional
        What is known to flatter: `SAME_SOURCE`, `SAME_RESTORATION`.
    seed : int
        Of the bootstrap.

    Raises
    ------
    InputError
        As of `ring_correlation`.

    Notes
    -----
    The uncertainty is a bootstrap over the Fourier pixels of each ring: B. Efron, Annals of Statistics 7, 1
    (1979). It is half of what the middle 68 % of the resamples span: in one of them a ring of few pixels may
    fall below the threshold at a tenth of the frequency, which a standard deviation would take for all.
    The mask makes neighbouring pixels correlate a little, which it does not know of.
    """
    rings = ring_correlation(first, second)
    return _resolution(rings, pixel, threshold, warning, _of_resampled_pixels(first, second, rings, seed))


def resolution_of_repeats(
    maps: NDArray[np.floating],
    pixel: float,
    threshold: Threshold = "half_bit",
    *,
    warning: str | None = None,
    seed: int = 0,
) -> Resolution:
    """Return the resolution of single maps by the mean correlation of all their pairs.

    Parameters
    ----------
    maps : ndarray, (repeat, row, column), float
        Registered, two or more.
    pixel, threshold, warning, seed
        As for `resolution`.

    Raises
    ------
    InputError
        If there are fewer than two, and as of `ring_correlation`.

    Notes
    -----
    The uncertainty is a bootstrap over repeats where there are three or more: pairs share maps, and are
    not independent.
    """
    if len(maps) < 2:
        raise InputError("one map alone has no resolution by correlation: give two repeats or more")
    if len(maps) == 2:
        return resolution(maps[0], maps[1], pixel, threshold, warning=warning, seed=seed)
    pairs = {(i, j): ring_correlation(maps[i], maps[j]) for i, j in combinations(range(len(maps)), 2)}
    curves = {pair: rings.correlation for pair, rings in pairs.items()}
    rings = replace(pairs[0, 1], correlation=np.mean(list(curves.values()), axis=0))

    def resampled() -> Iterator[NDArray[np.float64]]:
        rng = np.random.default_rng(seed)
        for _ in range(RESAMPLES):
            drawn = np.sort(rng.integers(len(maps), size=len(maps)))
            chosen = [curves[i, j] for i, j in combinations(drawn.tolist(), 2) if i != j]
            if chosen:  # unless the same repeat was drawn each time
                yield np.mean(chosen, axis=0)

    return _resolution(rings, pixel, threshold, warning, resampled)


def shared_noise(first: str, second: str) -> str | None:
    """Return a warning if two maps have one source, such as the uid of a run."""
    return SAME_SOURCE if first and first == second else None


def _resolution(
    rings: RingCorrelation,
    pixel: float,
    threshold: Threshold,
    warning: str | None,
    resampled: Callable[[], Iterator[NDArray[np.float64]]],
) -> Resolution:
    level = rings.threshold(threshold)
    half_period = rings.half_period(level, pixel)
    found = [replace(rings, correlation=curve).half_period(level, pixel) for curve in resampled()]
    if not rings.has_anything(level):
        warning = NOTHING_IN_COMMON
    low, high = np.percentile(found, WITHIN_SIGMA)
    sigma = float(high - low) / 2
    return Resolution(half_period, sigma, threshold, rings, half_period > pixel, warning)


def _of_resampled_pixels(
    first: NDArray[np.floating], second: NDArray[np.floating], rings: RingCorrelation, seed: int
) -> Callable[[], Iterator[NDArray[np.float64]]]:
    """Return what yields the curve of two maps, with each ring's Fourier pixels drawn anew."""
    number = len(rings.frequency)
    ring = fourier_rings(first.shape).ravel()
    # Of each pixel and its conjugate, which are one measurement, the upper one.
    chosen = (ring < number) & (np.arange(ring.size) < ring.size // 2 + len(first) // 2)
    ring = ring[chosen]
    a, b = (windowed_transform(image).ravel()[chosen] for image in (first, second))
    terms = np.stack([(a * b.conj()).real, np.abs(a) ** 2, np.abs(b) ** 2])

    def resampled() -> Iterator[NDArray[np.float64]]:
        rng = np.random.default_rng(seed)
        for _ in range(RESAMPLES):
            times = rng.poisson(1.0, ring.size)
            cross, *powers = (np.bincount(ring, times * term, minlength=number) for term in terms)
            power = np.sqrt(powers[0] * powers[1])
            yield np.divide(cross, power, out=np.zeros(number), where=power > 0)

    return resampled
