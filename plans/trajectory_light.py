"""The light of a trajectory: at each of its points, and on the way from each to the next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class TrajectoryLight:
    """Where the beam falls along a trajectory, and for how long.

    Points and the ways between them alternate: row 2 i is point i, row 2 i + 1 the way to point i + 1.

    Parameters
    ----------
    paths_um : ndarray, (row, 2, 2), float64
        Start and end, each a position (row, column); equal at a point.
    seconds : ndarray, (row,), float64
    """

    paths_um: NDArray[np.float64]
    seconds: NDArray[np.float64]

    @classmethod
    def along(
        cls,
        points_um: NDArray[np.float64],
        exposure_s: float,
        transits_s: NDArray[np.float64],
        closing_s: float = 0.0,
    ) -> Self:
        """Return the light of points (point, 2), with the shutter open from the first gate to the last.

        Parameters
        ----------
        points_um : ndarray, (point, 2), float64
        exposure_s : float
            Of each gate.
        transits_s : ndarray, (point - 1,), float64
            From one gate to the next.
        closing_s : float
            For which light comes after the last gate.
        """
        rows = 2 * len(points_um) - 1
        starts, ends = np.repeat(points_um, 2, axis=0)[:rows], np.repeat(points_um, 2, axis=0)[1:]
        seconds = np.full(rows, exposure_s)
        seconds[1::2] = transits_s
        seconds[-1] += closing_s
        paths = np.stack([starts, ends], axis=1)
        paths[::2, 1] = points_um
        return cls(paths, seconds)

    @property
    def transit_s(self) -> float:
        """Seconds on the ways."""
        return float(self.seconds[1::2].sum())

    def shifted(self, by_um: tuple[float, float]) -> Self:
        """Return it elsewhere."""
        return type(self)(self.paths_um + by_um, self.seconds)
