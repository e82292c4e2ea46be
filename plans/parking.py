"""Where the stage waits, with the shutter closed, when a scan has ended early."""

from __future__ import annotations

import logging
from collections.abc import Iterable

import bluesky.plan_stubs as bps
import numpy as np
from bluesky.utils import MsgGenerator
from numpy.typing import NDArray

from ptycho_plugin.devices import Beamline
from ptycho_plugin.ledger.rigid import Position
from ptycho_plugin.plans.stubs import close_shutter

logger = logging.getLogger(__name__)


def park(beamline: Beamline, place_um: Position) -> MsgGenerator[None]:
    """Close the shutter, then bring the piezo stage to a place; what fails is logged, and raises nothing.

    It follows on an error or an interruption, which must not be hidden by a second one.
    """
    try:
        yield from close_shutter(beamline)
        yield from bps.mv(beamline.stage.y, place_um[0], beamline.stage.x, place_um[1])
    except Exception:
        logger.exception("the stage could not be parked at (%g, %g) um", *place_um)


def edge_of(points_um: NDArray[np.float64], margin_um: float) -> list[Position]:
    """Return the middles of the four sides of a box about points (row, column), at a margin from them."""
    low, high = points_um.min(axis=0) - margin_um, points_um.max(axis=0) + margin_um
    middle = (low + high) / 2
    return [(low[0], middle[1]), (high[0], middle[1]), (middle[0], low[1]), (middle[0], high[1])]


def within_travel(beamline: Beamline, places_um: Iterable[Position]) -> Position:
    """Return the place that the piezo stage can reach; of several the first, of none the nearest to it."""
    limits = beamline.stage.y.limits, beamline.stage.x.limits
    reachable = [_clipped(place, limits) for place in places_um]
    return min(zip(places_um, reachable, strict=True), key=lambda pair: np.hypot(*np.subtract(*pair)))[1]


def _clipped(place_um: Position, limits: tuple[tuple[float, float], tuple[float, float]]) -> Position:
    row, column = (
        min(max(value, low), high) if low < high else value
        for value, (low, high) in zip(place_um, limits, strict=True)
    )
    return float(row), float(column)
