"""The object array that a scan fills: where it begins, how large it is, what was lit."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ptycho_plugin.errors import ReconstructionError

MARGIN_PX = 16
"""Room around the planned scan for a stage that misses its set positions."""
LARGEST_SIDE_PX = 30_000
TRUSTED_SHARE = 0.1
"""Share of the largest illumination from which on an object pixel can be judged."""


@dataclass(frozen=True, slots=True)
class Field:
    """An object array laid around planned positions.

    Parameters
    ----------
    pixel : float
        Object pixel in metres.
    side : int
        Rows, and columns, of a frame.
    origin_px : ndarray, (2,), int64
        Position ``(row, column)``, in pixels, of a frame whose patch begins at ``[0, 0]``.
    shape : (int, int)
    """

    pixel: float
    side: int
    origin_px: NDArray[np.int64]
    shape: tuple[int, int]

    @classmethod
    def around(cls, planned: NDArray[np.float64], pixel: float, side: int) -> Field:
        """Return the field of positions ``(n, 2)`` in metres, with `MARGIN_PX` to spare on each side.

        Raises
        ------
        ReconstructionError
            If it would be larger than any scan.
        """
        planned_px = planned / pixel
        first = np.floor(planned_px.min(axis=0)).astype(np.int64) - MARGIN_PX
        last = np.ceil(planned_px.max(axis=0)).astype(np.int64) + MARGIN_PX
        rows, columns = (int(extent) + side for extent in last - first)
        if max(rows, columns) > LARGEST_SIDE_PX:
            raise ReconstructionError(
                f"the scan would fill {rows} x {columns} object pixels, {LARGEST_SIDE_PX} a side is the "
                "limit; check the positions' unit, and for a stray position"
            )
        return cls(pixel, side, first, (rows, columns))

    def moved_to(self, measured: NDArray[np.float64], planned: NDArray[np.float64]) -> Field:
        """Return the field moved by the whole pixels between measured and planned positions.

        An interferometer's zero need not be the stage's.
        """
        offset_px = (np.median(measured, axis=0) - np.median(planned, axis=0)) / self.pixel
        return replace(self, origin_px=self.origin_px + np.rint(offset_px).astype(np.int64))

    def covers(self, positions: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return which patches at positions ``(n, 2)`` in metres lie in the field."""
        px = positions / self.pixel - self.origin_px
        inside: NDArray[np.bool_] = np.all((px >= 0) & (px <= np.array(self.shape) - self.side), axis=1)
        return inside

    def to_px(self, positions: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return top-left pixels ``(n, 2)``, with fractions, of patches at positions in metres."""
        return positions / self.pixel - self.origin_px

    def trusted(self, probe: NDArray[np.complex64], positions_px: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return where ``(row, column)`` the illumination reaches `TRUSTED_SHARE` of its largest value."""
        light = np.sum(np.abs(probe) ** 2, axis=0)
        total = np.zeros(self.shape, np.float32)
        for row, column in np.rint(positions_px).astype(int):
            total[row : row + self.side, column : column + self.side] += light
        return total >= TRUSTED_SHARE * total.max()
