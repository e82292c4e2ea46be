"""Frames in memory, in blocks that stay in the processor's cache while they are worked on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ptycho_plugin.reconstruction.fourier import detector_order, shift_phases

FRAMES_PER_BLOCK = 6
ON_GRID_PX = 1e-4
"""Positions nearer than this to a whole pixel need no sub-pixel shift."""


@dataclass(frozen=True, slots=True)
class Block:
    """A few frames, where they lie in the object, and their waves.

    Detector-plane arrays are in the transform's order.

    Parameters
    ----------
    amplitudes : ndarray, (frame, row, column), float32
        Square root of the counts.
    measured : ndarray of bool, (frame, row, column)
        False where there is no measurement.
    noise_power : ndarray, (frame,), float32
        Expected sum of (sqrt(n) - sqrt(I))^2 for Poisson counts n of mean I.
    corners : ndarray, (frame, 2), int64
        First object pixel ``(row, column)`` of each frame's patch.
    shifts : ndarray, (frame, 2, side), complex64, or None
        Far-field factors, of rows and of columns, of the sub-pixel part of the positions; None on
        the pixel grid.
    exit_waves : ndarray, (frame, mode, row, column), complex64
        Room for the engine: exit waves, or their far fields.
    power : float
        Counts of all frames.
    """

    amplitudes: NDArray[np.float32]
    measured: NDArray[np.bool_]
    noise_power: NDArray[np.float32]
    corners: NDArray[np.int64]
    shifts: NDArray[np.complex64] | None
    exit_waves: NDArray[np.complex64]
    power: float

    @property
    def frames(self) -> int:
        """Frames in this block."""
        return len(self.corners)


def make_blocks(
    intensities: NDArray[np.float32],
    positions_px: NDArray[np.float64],
    noise: NDArray[np.float32],
    modes: int,
) -> Iterator[Block]:
    """Yield blocks of frames; the exit waves are left for an engine to fill.

    Parameters
    ----------
    intensities : ndarray, (frame, row, column), float32
        Counts with the direct beam at ``[side//2, side//2]``, negative where not measured.
    positions_px : ndarray, (frame, 2), float64
        Top-left pixel, with its fraction, of each frame's patch in the object.
    noise : ndarray, (row, column), float32
        Expected (sqrt(n) - sqrt(I))^2 of each pixel: see `expected_noise`.
    modes : int
        Probe modes.
    """
    noise = detector_order(noise)
    for start in range(0, len(intensities), FRAMES_PER_BLOCK):
        part = slice(start, start + FRAMES_PER_BLOCK)
        counts = detector_order(intensities[part])
        measured = counts >= 0
        counts = np.where(measured, counts, np.float32(0))
        corners, shifts = _split(positions_px[part], counts.shape[-1])
        yield Block(
            amplitudes=np.sqrt(counts),
            measured=measured,
            noise_power=np.einsum("frc,rc->f", measured, noise).astype(np.float32),
            corners=corners,
            shifts=shifts,
            exit_waves=np.zeros((len(counts), modes, *counts.shape[1:]), np.complex64),
            power=float(counts.sum(dtype=np.float64)),
        )


def expected_noise(mean_frame: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the expected (sqrt(n) - sqrt(I))^2 of Poisson counts n of mean I.

    It tends to 1/4 for many counts and to I for few.
    """
    return np.minimum(mean_frame, np.float32(0.25))


def _split(
    positions_px: NDArray[np.float64], side: int
) -> tuple[NDArray[np.int64], NDArray[np.complex64] | None]:
    """Return whole pixels, and the far-field factors of what is left where that matters."""
    corners = np.floor(positions_px + 0.5).astype(np.int64)
    fractions = positions_px - corners
    if np.abs(fractions).max() <= ON_GRID_PX:
        return corners, None
    return corners, shift_phases(fractions, side)
