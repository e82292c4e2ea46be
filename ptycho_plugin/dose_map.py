"""A map of the dose in a region of a sample: what is drawn, published and read back."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil

import numpy as np
from numpy.typing import NDArray

from ptycho_plugin.dose import Grid


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class DoseMap:
    """Dose at the surface of a region, after the electrons' blur.

    Parameters
    ----------
    dose : ndarray, (row, column), float64
        In gray.
    grid : Grid
        Places of its pixels on the object, from the region's centre.
    points : ndarray, (exposure, 2), float64
        Middles of the exposures' paths (row, column) on the object, from the region's centre in metres.
    peak : float
        Largest dose in gray, of the map as it was computed: one that was binned may show less.
    material : str
        That takes the dose.
    electron_range : float
        In metres, as in `DoseModel`.
    budget : float, optional
        In gray: what the region may take.
    """

    dose: NDArray[np.float64]
    grid: Grid
    points: NDArray[np.float64]
    peak: float
    material: str
    electron_range: float
    budget: float | None = None

    @property
    def remaining(self) -> float | None:
        """What the worst point may still take, in gray; negative where it is over the budget."""
        return None if self.budget is None else self.budget - self.peak

    def binned(self, most_px: int) -> DoseMap:
        """Return the map on square pixels that are larger, so that there are few of them.

        Parameters
        ----------
        most_px : int
            Rows and columns at most. Each new pixel is the mean of a block of old ones.
        """
        bins = ceil(max(self.grid.shape) / most_px)
        if bins == 1:
            return self
        rows, columns = (ceil(length / bins) for length in self.grid.shape)
        (height, width), (row, column) = self.grid.shape, self.grid.corner
        whole = np.pad(self.dose, ((0, rows * bins - height), (0, columns * bins - width)))
        means = whole.reshape(rows, bins, columns, bins).mean(axis=(1, 3))
        middle = (bins - 1) / 2 * self.grid.pixel
        grid = Grid((rows, columns), bins * self.grid.pixel, (row + middle, column + middle))
        return replace(self, dose=means, grid=grid)
