"""A Pilatus 2M: what it does to the photons that reach it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ptycho_plugin.dataset import COUNTER_LIMIT

SHAPE = (1679, 1475)
MODULE_SHAPE = (195, 487)
MODULE_PITCH = (212, 494)
GAP = -1
BAD = -2
SPARSE = 0.1
"""Mean counts in a pixel up to which drawing events is faster than drawing pixels."""


def gaps() -> NDArray[np.bool_]:
    """Return True where there is no module, ``(1679, 1475)``."""
    row_gap, column_gap = (
        np.arange(side) % pitch >= size
        for side, pitch, size in zip(SHAPE, MODULE_PITCH, MODULE_SHAPE, strict=True)
    )
    return row_gap[:, None] | column_gap


class Pilatus2M:
    """A camera with its own bad and hot pixels.

    Parameters
    ----------
    bad_pixels, hot_pixels : int
        How many, at places that the seed decides.
    hot_pixel_counts_per_s : float
        What a hot pixel counts without light.
    seed : int
    """

    def __init__(self, bad_pixels: int, hot_pixels: int, hot_pixel_counts_per_s: float, seed: int) -> None:
        self._gaps = gaps()
        sensitive = np.flatnonzero(~self._gaps)
        odd = np.random.default_rng(seed).choice(sensitive, bad_pixels + hot_pixels, replace=False)
        self._bad, self._hot = odd[:bad_pixels], odd[bad_pixels:]
        self._hot_rate = hot_pixel_counts_per_s

    def read_out(
        self,
        pattern: NDArray[np.float32],
        corner: tuple[int, int],
        background: float,
        exposure_s: float,
        rng: np.random.Generator | None,
    ) -> NDArray[np.int32]:
        """Return one full frame with the camera's marks.

        Parameters
        ----------
        pattern : ndarray, (row, column)
            Expected photons, in raw orientation.
        corner : (int, int)
            Full-frame pixel of the pattern's first one; what leaves the frame is lost.
        background : float
            Expected counts in every pixel besides.
        exposure_s : float
        rng : Generator, optional
            Draws Poisson noise; without it counts are rounded expectations.

        Returns
        -------
        ndarray, (1679, 1475), int32
            `GAP`, `BAD`, or a count of at most `COUNTER_LIMIT`.
        """
        frame = _background(background, rng)
        window, inside = _overlap(pattern, corner)
        frame[window] += _counts(inside, rng)
        frame.ravel()[self._hot] += _counts(np.full(self._hot.size, self._hot_rate * exposure_s), rng)
        np.minimum(frame, COUNTER_LIMIT, out=frame)
        np.copyto(frame, GAP, where=self._gaps)
        frame.ravel()[self._bad] = BAD
        return frame


def _counts(expected: NDArray[np.floating], rng: np.random.Generator | None) -> NDArray[np.int32]:
    counts = np.rint(expected) if rng is None else rng.poisson(expected)
    return np.minimum(counts, COUNTER_LIMIT).astype(np.int32)


def _background(mean: float, rng: np.random.Generator | None) -> NDArray[np.int32]:
    """Return a frame of a uniform mean; sparse, it is drawn event by event and not pixel by pixel."""
    pixels = SHAPE[0] * SHAPE[1]
    if rng is None or mean > SPARSE:
        return _counts(np.full(SHAPE, mean), rng)
    frame = np.zeros(pixels, np.int32)
    hit, hits = np.unique(rng.integers(pixels, size=rng.poisson(mean * pixels)), return_counts=True)
    frame[hit] = hits
    return frame.reshape(SHAPE)


def _overlap(
    pattern: NDArray[np.float32], corner: tuple[int, int]
) -> tuple[tuple[slice, ...], NDArray[np.float32]]:
    """Return where the pattern lies on the frame, and the part of it that does."""
    starts = [max(at, 0) for at in corner]
    stops = [min(at + size, side) for at, size, side in zip(corner, pattern.shape, SHAPE, strict=True)]
    window = tuple(map(slice, starts, stops))
    inside = tuple(slice(a - at, b - at) for a, b, at in zip(starts, stops, corner, strict=True))
    return window, pattern[inside]
