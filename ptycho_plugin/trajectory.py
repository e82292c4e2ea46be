"""Where the probe goes: scan trajectories in micrometres, as plans and stages use them."""

from __future__ import annotations

from math import ceil, floor, hypot, pi, radians
from typing import Annotated, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from ptycho_plugin.checked_model import CheckedModel

BOUND_TOLERANCE_UM = 1e-9
"""Two points of the published scan lie exactly on its bound, and belong to it."""

MOST_POINTS = 100_000
"""Of a scan: more have a wrong unit behind them."""

Micrometres = Annotated[float, Field(json_schema_extra={"units": "um"})]


class ConcentricRings(CheckedModel):
    """The centre, then ring i of radius ``i * radial_step_um`` with ``i * points_first_ring`` points.

    Points at angles ``2 pi k / (i * points_first_ring)``, all turned by ``turn_deg``, are kept inside a
    rectangle, its bounds included. The default is the published scan: exactly 324 points.
    """

    kind: Literal["concentric_rings"] = "concentric_rings"
    radial_step_um: Annotated[float, Field(gt=0, json_schema_extra={"units": "um"})] = 0.2
    points_first_ring: Annotated[int, Field(ge=3)] = 5
    height_um: Annotated[float, Field(gt=0, json_schema_extra={"units": "um"})] = 4.0
    width_um: Annotated[float, Field(gt=0, json_schema_extra={"units": "um"})] = 4.0
    turn_deg: Annotated[float, Field(json_schema_extra={"units": "deg"})] = 0.0
    """From columns towards rows. Repeats that are turned against each other do not share the artefacts of
    their points; after ``360 / points_first_ring`` the points come again."""

    @model_validator(mode="after")
    def _points_can_be_counted(self) -> Self:
        density = self.points_first_ring / (2 * pi * self.radial_step_um**2)
        points = density * self.height_um * self.width_um
        if points > MOST_POINTS:
            raise ValueError(
                f"{self.height_um:g} x {self.width_um:g} um in steps of radial_step_um = "
                f"{self.radial_step_um:g} um are about {points:.2g} points, {MOST_POINTS:,} is the limit: "
                "is the step in micrometres?"
            )
        return self

    def offsets_um(self) -> NDArray[np.float64]:
        """Return the points ``(point, 2)`` as ``(row, column)`` offsets from the centre."""
        half = np.array([self.height_um, self.width_um]) / 2
        rings = ceil(hypot(*half) / self.radial_step_um)
        points = np.concatenate([np.zeros((1, 2)), *map(self._ring, range(1, rings + 1))])
        kept: NDArray[np.float64] = points[(np.abs(points) <= half + BOUND_TOLERANCE_UM).all(axis=1)]
        return kept

    def _ring(self, ring: int) -> NDArray[np.float64]:
        count = ring * self.points_first_ring
        angles = 2 * pi * np.arange(count) / count + radians(self.turn_deg)
        return ring * self.radial_step_um * np.stack([np.sin(angles), np.cos(angles)], axis=1)

    @property
    def step_um(self) -> float:
        """Largest distance from one ring, or one point of a ring, to the next."""
        return self.radial_step_um * max(1.0, 2 * pi / self.points_first_ring)


class Raster(CheckedModel):
    """A square lattice about its centre, row by row, every other row backwards.

    As many points as fit between the bounds, which are included.
    """

    kind: Literal["raster"] = "raster"
    step_um: Annotated[float, Field(gt=0, json_schema_extra={"units": "um"})] = 1.0
    height_um: Annotated[float, Field(ge=0, json_schema_extra={"units": "um"})] = 20.0
    width_um: Annotated[float, Field(ge=0, json_schema_extra={"units": "um"})] = 20.0

    @model_validator(mode="after")
    def _points_can_be_counted(self) -> Self:
        points = (self.height_um / self.step_um + 1) * (self.width_um / self.step_um + 1)
        if points > MOST_POINTS:
            raise ValueError(
                f"{self.height_um:g} x {self.width_um:g} um in steps of step_um = {self.step_um:g} um are "
                f"about {points:.2g} points, {MOST_POINTS:,} is the limit: is the step in micrometres?"
            )
        return self

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of points."""
        rows, columns = (
            floor((length + BOUND_TOLERANCE_UM) / self.step_um) + 1
            for length in (self.height_um, self.width_um)
        )
        return rows, columns

    def offsets_um(self) -> NDArray[np.float64]:
        """Return the points ``(point, 2)`` as ``(row, column)`` offsets from the centre."""
        lattice = np.moveaxis(np.indices(self.shape, np.float64), 0, -1)
        lattice[1::2] = lattice[1::2, ::-1]
        middle = (np.array(self.shape) - 1) / 2
        return (lattice.reshape(-1, 2) - middle) * self.step_um

    def image(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return what was found at the points, ``(point, ...)`` in their order, as ``(row, column, ...)``."""
        image = values.reshape(*self.shape, *values.shape[1:]).copy()
        image[1::2] = image[1::2, ::-1]
        return image


class RecordedPositions(CheckedModel):
    """Points that were visited before, in their order, such as those of a replayed file."""

    kind: Literal["recorded_positions"] = "recorded_positions"
    points_um: Annotated[tuple[tuple[Micrometres, Micrometres], ...], Field(min_length=1)]

    def offsets_um(self) -> NDArray[np.float64]:
        """Return the points ``(point, 2)`` as ``(row, column)`` offsets from the scan's centre."""
        return np.array(self.points_um, np.float64)

    @property
    def step_um(self) -> float:
        """Largest step that joins the points to one scan, see `widest_step`."""
        return widest_step(self.offsets_um())


def widest_step(points: NDArray[np.float64]) -> float:
    """Return the longest edge of the minimum spanning tree of points ``(point, 2)``.

    Exposures that share the object over this distance hang together, whatever their order; 0
    where there is only one place.
    """
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import minimum_spanning_tree
    from scipy.spatial import Delaunay

    places = np.unique(points, axis=0)
    extent = np.ptp(places, axis=0).max()
    if extent == 0:
        return 0.0
    # The tree is part of a triangulation, which points on one line have only with others outside it.
    outside = places[0] + 10 * extent * np.array([[-1, -1], [-1, 2], [2, -1]])
    corners = np.concatenate([places, outside])
    starts, ends = Delaunay(corners).vertex_neighbor_vertices
    lengths = np.hypot(*(corners[ends] - np.repeat(corners, np.diff(starts), axis=0)).T)
    edges = csr_array((lengths, ends, starts))[: len(places), : len(places)]
    return float(minimum_spanning_tree(edges).max())


def typical_step(points: NDArray[np.float64]) -> float:
    """Return the median distance from a place to the nearest other one, 0 where there is only one.

    Parameters
    ----------
    points : ndarray, (point, 2)
        Places that come more than once count once.
    """
    from scipy.spatial import cKDTree

    places = np.unique(points, axis=0)
    if len(places) == 1:
        return 0.0
    distances, _ = cKDTree(places).query(places, k=[2])
    return float(np.median(distances))


Trajectory = Annotated[
    ConcentricRings | Raster | RecordedPositions,
    Field(discriminator="kind", description="Where the exposures are, about the scan's centre."),
]
"""Any trajectory, as it is stored in a run's metadata."""
