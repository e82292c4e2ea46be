"""A probe on the grid of another crop of the same detector."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def resample_probe(probe: NDArray[np.complex64], side: int) -> NDArray[np.complex64]:
    """Return the probe as a crop of another side sees it.

    A probe pixel is lambda z / (N p): another N p changes the pixel and keeps the window
    lambda z / p. The probe's far field lies on the detector's pixels, so it is cut or padded
    there and nothing is interpolated.

    Parameters
    ----------
    probe : ndarray, (mode, row, column), complex64
        Centred on ``[side//2, side//2]``, as everywhere.
    side : int
        Rows and columns of the other crop.

    Returns
    -------
    ndarray, (mode, side, side), complex64
        With the same power over all modes.
    """
    if probe.shape[-1] == side:
        return probe
    axes = (-2, -1)
    centred = np.fft.ifftshift(probe.astype(np.complex128), axes)
    far_field = _about_centre(np.fft.fftshift(np.fft.fft2(centred), axes), side)
    resampled = np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(far_field, axes)), axes)
    resampled *= np.sqrt(_power(probe) / _power(resampled))
    return resampled.astype(np.complex64)


def _about_centre(field: NDArray[Any], side: int) -> NDArray[Any]:
    """Cut or pad with zeros, so that index ``n//2`` of the last two axes stays the centre."""
    shared = min(side, field.shape[-1])
    result = np.zeros((*field.shape[:-2], side, side), field.dtype)
    result[_middle(side, shared)] = field[_middle(field.shape[-1], shared)]
    return result


def _middle(side: int, width: int) -> tuple[Any, ...]:
    start = side // 2 - width // 2
    return ..., slice(start, start + width), slice(start, start + width)


def _power(probe: NDArray[Any]) -> float:
    return float(np.sum(np.abs(probe) ** 2, dtype=np.float64))
