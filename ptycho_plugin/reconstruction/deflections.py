"""Whether the beam's deflections, frame by frame, are those of a sample seen the right way round.

The centroid of a far field, less the probe's own, is the mean slope of the sample's phase under the probe
(differential phase contrast: Muller et al., Nat. Commun. 5, 5653 (2014)). Over the scan it is the gradient of
the phase blurred by the probe: its curl is 0. Read transposed, mirrored or turned by 90 degrees, it is not
(4D-STEM finds its rotation by the least curl: Savitzky et al., Microsc. Microanal. 27, 712 (2021)). Turned by
180 degrees, or with both position signs reversed, it is a gradient still: nothing is said of these.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

NEAR = 0.5
"""Of the probe's diameter: as far as the deflection is a plane. On the standard case the curl of transposed
frames was 2, 5, 7 and 9 times that of right ones at 0.2, 0.4, 0.5 and 0.7 diameters."""
FEWEST, MOST = 6, 30
"""Neighbours of a place, itself included."""
NARROW = 0.02
"""Of the probe's diameter: narrower neighbourhoods, as of a line or of a stage that stands, tell no slope."""


class Curls(NamedTuple):
    """Mean squared curl of the deflections, in units of what Poisson noise gives it, read in four ways."""

    as_read: float
    mirrored: float
    transposed: float
    turned: float
    """By 90 degrees."""

    @property
    def least_other(self) -> float:
        """The least curl of another way to read them."""
        return min(self[1:])


def curls_of(
    deflections: NDArray[np.float64],
    variances: NDArray[np.float64],
    positions_px: NDArray[np.float64],
    diameter_px: float,
) -> Curls | None:
    """Return the curls of deflections; None where places are too few, or on a line.

    Each place and its neighbours are fitted by a plane, whose slopes J[i, k] = d deflection_k / d position_i
    give the curl J01 - J10; a mirror changes the sign of one deflection, a transpose exchanges them.

    Parameters
    ----------
    deflections, variances : ndarray, (frame, 2), float64
        Centroids, and what noise gives them: `FrameLook`.
    positions_px : ndarray, (frame, 2), float64
    diameter_px : float
        Of the probe, in object pixels.
    """
    from scipy.spatial import cKDTree

    if len(positions_px) < FEWEST:
        return None
    tree = cKDTree(positions_px)
    near = np.median(tree.query_ball_point(positions_px, NEAR * diameter_px, return_length=True))
    count = int(np.clip(near, FEWEST, min(MOST, len(positions_px))))
    neighbours = tree.query(positions_px, count)[1]
    places, values = (_centred(points[neighbours]) for points in (positions_px, deflections))
    spread = np.einsum("nki,nkj->nij", places, places)
    wide = np.linalg.eigvalsh(spread)[:, 0] > count * (NARROW * diameter_px) ** 2
    if wide.sum() < FEWEST:
        return None
    inverse = np.linalg.inv(spread[wide])
    slopes = inverse @ np.einsum("nki,nkj->nij", places[wide], values[wide])
    (rows, across), (along, columns) = np.moveaxis(slopes, 0, -1)
    ways = across - along, across + along, rows - columns, rows + columns
    variance = variances.mean(axis=0)
    noise = np.mean(inverse[:, 0, 0] * variance[1] + inverse[:, 1, 1] * variance[0])
    return Curls(*(float(np.mean(way**2) / noise) for way in ways)) if noise > 0 else None


def _centred(groups: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(groups - groups.mean(axis=1, keepdims=True))
