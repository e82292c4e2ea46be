"""Resolution of a map by Fourier ring correlation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ptycho_plugin.errors import InputError

EDGE = 0.25
"""Part of each side over which the soft mask falls to 0: an eighth at either end."""
Threshold = Literal["half_bit", "one_bit", "one_seventh"]
BITS = {"half_bit": 0.5, "one_bit": 1.0}
"""Information that thresholds ask for."""
FIRST_RING = 3
"""Rings of lower frequency hold too few pixels for a crossing to mean anything."""


@dataclass(frozen=True, slots=True)
class RingCorrelation:
    """Correlation of two maps, frequency ring by frequency ring.

    Parameters
    ----------
    frequency : ndarray, (ring,), float64
        In cycles per pixel, 0 to 0.5.
    correlation : ndarray, (ring,), float64
    pixels : ndarray, (ring,), int64
        Fourier pixels in each ring.
    """

    frequency: NDArray[np.float64]
    correlation: NDArray[np.float64]
    pixels: NDArray[np.int64]

    def threshold(self, name: Threshold) -> NDArray[np.float64]:
        """Return a threshold (ring,) for two maps of independent noise: `threshold`."""
        return threshold(name, self.pixels)

    def threshold_to_truth(self, name: Threshold) -> NDArray[np.float64]:
        """Return a threshold (ring,) for one map and the truth, which has no noise.

        Two noisy maps correlate as the square of what each does with the truth.
        """
        return np.sqrt(self.threshold(name))

    def half_period(self, threshold: ArrayLike, pixel: float) -> float:
        """Return the resolution: where the correlation first falls below a threshold.

        Parameters
        ----------
        threshold : array_like, () or (ring,)
        pixel : float
            Side of a map's pixel.

        Returns
        -------
        float
            pixel / (f / f_max), in the unit of ``pixel``: half the period of the frequency f at the
            crossing, interpolated linearly between rings. f_max is 0.5 cycles per pixel, so a
            correlation that never falls below gives one pixel. Half the full-period figure.
        """
        above = self.correlation - np.broadcast_to(threshold, self.correlation.shape)
        below = np.flatnonzero(above[FIRST_RING:] < 0)
        if below.size == 0:
            return pixel
        ring = int(below[0]) + FIRST_RING
        inside, outside = above[ring - 1], above[ring]
        # The rings before the first one looked at may lie below too: then there is no crossing.
        part = inside / (inside - outside) if inside >= 0 else 1.0
        step = self.frequency[ring] - self.frequency[ring - 1]
        return float(pixel * 0.5 / (self.frequency[ring - 1] + part * step))

    def has_anything(self, threshold: ArrayLike) -> bool:
        """Return whether the lowest frequency that counts is above a threshold: else nothing is resolved.

        Parameters
        ----------
        threshold : array_like, () or (ring,)
        """
        level = np.broadcast_to(threshold, self.correlation.shape)
        return bool(self.correlation[FIRST_RING] >= level[FIRST_RING])


def ring_correlation(first: NDArray[np.inexact], second: NDArray[np.inexact]) -> RingCorrelation:
    """Correlate two registered maps on rings of equal spatial frequency.

    Parameters
    ----------
    first, second : ndarray, (row, column), float or complex
        Square and of one shape. The mean is removed and a soft-edged mask applied.

    Returns
    -------
    RingCorrelation
        One ring per Fourier pixel of radius, up to the Nyquist frequency.

    Raises
    ------
    InputError
        If the maps are not square and alike, not finite, or constant.
    """
    if first.ndim != 2 or first.shape != second.shape or first.shape[0] != first.shape[1]:
        raise InputError(
            f"maps of {first.shape} and {second.shape} px cannot be correlated: crop both to one square"
        )
    side = first.shape[0]
    ring = fourier_rings(first.shape).ravel()
    rings = side // 2 + 1
    a, b = (windowed_transform(image).ravel() for image in (first, second))

    def total(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.bincount(ring, values, minlength=rings)[:rings].astype(np.float64)

    power = total(np.abs(a) ** 2) * total(np.abs(b) ** 2)
    if not (np.isfinite(power).all() and power.any()):
        raise InputError("a map is constant or holds a value that is not finite: it has no resolution")
    cross = total((a * b.conj()).real)
    correlation = np.divide(cross, np.sqrt(power), out=np.zeros(rings), where=power > 0)
    return RingCorrelation(np.arange(rings) / side, correlation, pixels_in_rings(side))


def threshold(name: Threshold, pixels: NDArray[np.integer]) -> NDArray[np.float64]:
    """Return a threshold (ring,) for two maps of independent noise.

    Parameters
    ----------
    name : {"half_bit", "one_bit", "one_seventh"}
        So much information in each Fourier pixel of the two maps' average, or a correlation of 1/7:
        their average then correlates by a half with the truth.
    pixels : ndarray, (ring,), integer
        Fourier pixels in each ring: `pixels_in_rings`.

    Raises
    ------
    InputError
        For another one.

    Notes
    -----
    (s + 2 sqrt(s / n) + 1 / sqrt(n)) / (s + 1 + 2 sqrt(s / n)) for n pixels in a ring and a signal to
    noise of s in one map, (2^bits - 1) / 2: van Heel and Schatz, Journal of Structural Biology 151,
    250 (2005), equation 17 for half a bit. 1/7: Rosenthal and Henderson, Journal of Molecular Biology
    333, 721 (2003).
    """
    if name == "one_seventh":
        return np.full(pixels.shape, 1 / 7)
    if name not in BITS:
        raise InputError(f"threshold '{name}' is not known: give one of {', '.join(get_args(Threshold))}")
    signal, root = (2 ** BITS[name] - 1) / 2, np.sqrt(pixels)
    both = 2 * np.sqrt(signal) / root
    return np.asarray((signal + both + 1 / root) / (signal + 1 + both))


def pixels_in_rings(side: int) -> NDArray[np.int64]:
    """Return the Fourier pixels (ring,) in each ring of a square map, up to the Nyquist frequency."""
    return np.bincount(fourier_rings((side, side)).ravel())[: side // 2 + 1]


def windowed_transform(image: NDArray[np.inexact]) -> NDArray[np.complex128]:
    """Return the transform (row, column) of a map without its mean, under a soft-edged mask."""
    from scipy.signal.windows import tukey  # a second that what only plans a scan need not wait at start

    window = np.outer(*(tukey(side, EDGE) for side in image.shape))
    return np.asarray(np.fft.fft2((image - image.mean()) * window))


def fourier_rings(shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Return the ring of each Fourier pixel (row, column): its frequency in steps of the longer side's."""
    rows, columns = (np.fft.fftfreq(side) * max(shape) for side in shape)
    return np.round(np.hypot(rows[:, None], columns)).astype(np.int64)
