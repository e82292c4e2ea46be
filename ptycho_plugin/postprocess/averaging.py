"""The average of repeated maps, and how well each of its pixels is known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import gaussian_filter

from ptycho_plugin.errors import InputError

POOLING_PX = 3.0
"""Standard deviation of the Gaussian that variances are shared over: two repeats tell little of one pixel."""


@dataclass(frozen=True, eq=False, slots=True)
class Average:
    """A weighted average of maps.

    Parameters
    ----------
    mean, standard_error : ndarray, (row, column), float64
        In the maps' unit.
    """

    mean: NDArray[np.float64]
    standard_error: NDArray[np.float64]


def average(maps: NDArray[np.floating], weights: ArrayLike) -> Average:
    """Return the weighted average of registered maps, with its standard error by their scatter.

    Parameters
    ----------
    maps : ndarray, (repeat, row, column), float
    weights : array_like, (repeat,)
        In inverse proportion to the variances of the maps' noise, as photons are; whatever their unit.

    Returns
    -------
    Average

    Raises
    ------
    InputError
        If there is one map alone, or there are not as many positive weights as maps.

    Notes
    -----
    With weights w that sum to one, sum w (x - mean)^2 / (n - 1) estimates the square of the error without
    bias. It is averaged over neighbouring pixels, since noise is alike there.
    """
    relative = np.asarray(weights, np.float64)
    if len(maps) < 2:
        raise InputError("one map alone has no scatter: give two repeats or more")
    if relative.shape != (len(maps),) or not (np.isfinite(relative).all() and (relative > 0).all()):
        raise InputError(f"weights {relative.tolist()} do not fit {len(maps)} maps: give each a number > 0")
    relative = relative / relative.sum()
    mean = np.asarray(np.tensordot(relative, maps, axes=1), np.float64)
    squares = np.tensordot(relative, (maps - mean) ** 2, axes=1) / (len(maps) - 1)
    return Average(mean, np.sqrt(gaussian_filter(squares, POOLING_PX)))


def halves(maps: NDArray[np.floating], weights: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the weighted averages of every other repeat: what drifts falls on both alike.

    Parameters
    ----------
    maps, weights
        As for `average`.
    """
    relative = np.asarray(weights, np.float64)
    first, second = (
        np.asarray(np.average(maps[start::2], axis=0, weights=relative[start::2])) for start in (0, 1)
    )
    return first, second
