"""A phantom of edges and corners: squares, a fan, octapods up to thrice as large as they are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree
from skimage.draw import polygon

SIDE = 240
FINE = 8
"""Parts of a pixel's side that polygons are drawn on: no step lies on the map's own grid alone."""
CONTRAST_RAD, POD_CONTRAST_RAD = -0.1, -0.06
CORNER_PX = 2.5
"""Around a polygon's vertex."""

Image = NDArray[np.float64]


@dataclass(frozen=True, eq=False, slots=True)
class Phantom:
    """Maps (row, column), in rad.

    Parameters
    ----------
    true : ndarray of float64
        Means over pixels.
    blurred : ndarray of float64
        The same behind the point-spread function, which was applied to the finely drawn phantom.
    edges, corners : ndarray of bool
        Pixels beside a step, without those about a corner; and these.
    """

    true: Image
    blurred: Image
    edges: NDArray[np.bool_]
    corners: NDArray[np.bool_]

    @property
    def regions(self) -> dict[str, NDArray[np.bool_]]:
        """Where errors are told."""
        return {"all": np.ones(self.true.shape, bool), "edges": self.edges, "corners": self.corners}


def phantom(psf_sigma_px: float = 1.0) -> Phantom:
    """Draw the phantom."""
    fine = np.zeros((SIDE * FINE, SIDE * FINE))
    vertices = []
    for contrast, shape in _polygons():
        fine[polygon(*(shape.T * FINE), fine.shape)] += contrast
        vertices.append(shape)
    true = _binned(fine)
    steps = ndimage.maximum_filter(true, 3) > ndimage.minimum_filter(true, 3) + 1e-9
    centres = np.moveaxis(np.indices(true.shape), 0, -1) + 0.5
    corners = cKDTree(np.concatenate(vertices)).query(centres)[0] < CORNER_PX
    blurred = _binned(ndimage.gaussian_filter(fine, psf_sigma_px * FINE))
    return Phantom(true, blurred, steps & ~corners, corners)


def _polygons() -> Iterator[tuple[float, Image]]:
    """Yield phase and vertices (vertex, 2) of each polygon, in pixels."""
    for i, half in enumerate((16.0, 10.0, 6.0, 4.0, 2.5, 1.5)):
        row, column = 30 + i // 3 * 44, 30 + i % 3 * 44
        yield CONTRAST_RAD, _rectangle((row, column), 2 * half, 2 * half, 0.0)
        yield CONTRAST_RAD, _rectangle((SIDE - row, column), 2 * half, 2 * half, 20.0 + 7 * i)
    for angle in range(0, 360, 40):
        yield CONTRAST_RAD, _blade((60, SIDE - 90), 10.0, 58.0, angle, angle + 20)
    rng = np.random.default_rng(5)
    for _ in range(24):
        centre = rng.uniform(SIDE / 2 + 14, SIDE - 14), rng.uniform(SIDE / 2 + 14, SIDE - 14)
        length, turn = rng.uniform(6.0, 16.0), rng.uniform(0, 180)
        for angle in range(0, 180, 45):  # two pods in one line
            yield POD_CONTRAST_RAD, _rectangle(centre, length, length / 6.5, turn + angle)


def _rectangle(centre: tuple[float, float], length: float, width: float, turn_deg: float) -> Image:
    along = _direction(turn_deg) * length / 2
    across = _direction(turn_deg + 90) * width / 2
    return np.array(centre) + np.stack([along + across, along - across, -along - across, across - along])


def _blade(centre: tuple[float, float], inner: float, outer: float, from_deg: float, to_deg: float) -> Image:
    one, other = _direction(from_deg), _direction(to_deg)
    return np.array(centre) + np.stack([inner * one, outer * one, outer * other, inner * other])


def _direction(angle_deg: float) -> Image:
    return np.array([np.sin(np.deg2rad(angle_deg)), np.cos(np.deg2rad(angle_deg))])


def _binned(fine: Image) -> Image:
    return np.asarray(fine.reshape(SIDE, FINE, SIDE, FINE).mean(axis=(1, 3)))
