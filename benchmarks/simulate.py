"""Expected diffraction of a probe that stands anywhere, through one slice or several."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray
from scipy import fft


def expected_frames(
    slices: Sequence[NDArray[np.complex64]],
    modes: NDArray[np.complex64],
    corners_px: NDArray[np.float64],
    side: int,
    between_slices: NDArray[np.complex64] | None = None,
) -> NDArray[np.float32]:
    """Return mean counts: the multi-slice method of Maiden et al., JOSA A 29, 1606 (2012), section 2.

    Parameters
    ----------
    slices : sequence of ndarray, (row, column), complex64
        Transmissions in the order of the beam.
    modes : ndarray, (mode, n, n), complex64
        Mutually incoherent illuminations of the first slice; sum |modes|^2 is the photons of a frame.
    corners_px : ndarray, (frame, 2), float64
        First pixel, with its fraction, of each illumination in the slices.
    side : int
        Rows, and columns, of the middle of the far field that is kept: at most n.
    between_slices : ndarray, (n, n), complex64, optional
        Factors, in the transform's order, that bring a wave from one slice to the next: `fresnel_factors`.

    Returns
    -------
    ndarray, (frame, side, side), float32
        Direct beam at ``[side // 2, side // 2]``.
    """
    far_modes, n = fft.fft2(modes), modes.shape[-1]
    phase_per_px = (-2j * np.pi * fft.fftfreq(n)).astype(np.complex64)
    kept = slice((n - side) // 2, (n + side) // 2)

    def frame(corner: NDArray[np.float64]) -> NDArray[np.float32]:
        whole = np.floor(corner + 0.5).astype(int)
        rows, columns = (np.exp(np.float32(part) * phase_per_px) for part in corner - whole)
        patch = np.s_[whole[0] : whole[0] + n, whole[1] : whole[1] + n]
        waves = fft.ifft2(far_modes * rows[:, None] * columns) * slices[0][patch]
        for transmission in slices[1:]:
            waves = fft.ifft2(fft.fft2(waves) * between_slices) * transmission[patch]
        counts = np.sum(np.abs(fft.fft2(waves, norm="ortho")) ** 2, axis=0)
        return fft.fftshift(counts)[kept, kept]

    with ThreadPoolExecutor() as pool:
        return np.stack(list(pool.map(frame, corners_px)))
