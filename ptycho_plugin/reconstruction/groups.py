"""Points in compact groups."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def halved(points: NDArray[np.number], times: int) -> list[NDArray[np.intp]]:
    """Return the indices of points ``(n, 2)`` in compact groups, halved across their longer side."""
    groups = [np.arange(len(points))]
    for _ in range(times):
        groups = [half for group in groups for half in _halves(points, group)]
    return groups


def _halves(points: NDArray[np.number], group: NDArray[np.intp]) -> list[NDArray[np.intp]]:
    axis = int(np.ptp(points[group], axis=0).argmax())
    order = group[np.argsort(points[group, axis], kind="stable")]
    return [np.sort(half) for half in np.array_split(order, 2)]
