"""Transforms between the sample and the detector plane, and sub-pixel shifts.

Transforms are orthonormal, so that photons are conserved. Detector-plane arrays are kept in
the transform's own order (zero angle first); frames are brought into it once, when they are
added.
"""

from __future__ import annotations

import numpy as np
import scipy.fft
from numpy.typing import NDArray


def to_detector(wave: NDArray[np.complex64]) -> NDArray[np.complex64]:
    """Return the far field of waves ``(..., row, column)``, which it takes the place of."""
    far: NDArray[np.complex64] = scipy.fft.fft2(wave, norm="ortho", overwrite_x=True)
    return far


def to_sample(far: NDArray[np.complex64]) -> NDArray[np.complex64]:
    """Return the waves of far fields ``(..., row, column)``, which they take the place of."""
    wave: NDArray[np.complex64] = scipy.fft.ifft2(far, norm="ortho", overwrite_x=True)
    return wave


def detector_order(frames: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return frames with the direct beam at ``[side//2, side//2]`` in the transform's order."""
    return np.fft.ifftshift(frames, axes=(-2, -1))


def shift_phases(fractions: NDArray[np.float64], side: int) -> NDArray[np.complex64]:
    """Return the far-field factors that move a wave by fractions of a pixel.

    The factor of a far-field pixel is the product of its row's and its column's.

    Parameters
    ----------
    fractions : ndarray, (frame, 2), float64
        Shift ``(row, column)`` in pixels; a growing shift moves to growing indices.
    side : int
        Rows and columns of the wave.

    Returns
    -------
    ndarray, (frame, 2, side), complex64
        Factors of the rows, then of the columns.
    """
    return np.exp(-2j * np.pi * fractions[:, :, None] * np.fft.fftfreq(side)).astype(np.complex64)
