"""Where the stage waits when a scan has ended early."""

from typing import Any

import numpy as np
import pytest
from bluesky import RunEngine
from bluesky.utils import FailedStatus

from ptycho_plugin.plans import ptycho_scan
from ptycho_plugin.trajectory import ConcentricRings

SMALL = ConcentricRings(height_um=0.5, width_um=0.5)
POINTS = SMALL.offsets_um()
LIMITS_UM = (-5.0, 5.0)


def position(world: Any) -> tuple[float, float]:
    return tuple(float(value) for value in world._pair("stage"))


@pytest.mark.parametrize("centre", [(0.0, 0.0), (-4.7, 0.0), (4.7, 4.7), (-4.7, -4.7)])
def test_a_scan_that_fails_is_parked_beside_its_points_with_the_shutter_closed(
    engine: RunEngine, make_beamline: Any, world: Any, centre: tuple[float, float]
) -> None:
    world.fails_at = 3
    moves = []
    move = world.move

    def told(axis: str, value_um: float) -> None:
        moves.append(world.is_open)
        move(axis, value_um)

    world.move = told
    with pytest.raises(FailedStatus):
        engine(ptycho_scan(make_beamline(), trajectory=SMALL, centre_um=centre))
    place = np.array(position(world))
    beside = np.maximum((POINTS + centre).min(axis=0) - place, place - (POINTS + centre).max(axis=0))
    assert beside.max() == pytest.approx(SMALL.step_um)
    assert np.all((place >= LIMITS_UM[0]) & (place <= LIMITS_UM[1]))
    assert not world.is_open
    assert not any(moves)


def test_a_scan_that_succeeds_stays_at_its_last_point(
    engine: RunEngine, make_beamline: Any, world: Any
) -> None:
    engine(ptycho_scan(make_beamline(), trajectory=SMALL))
    assert position(world) == pytest.approx(tuple(POINTS[-1]))


def test_where_nothing_outside_can_be_reached_it_is_parked_at_the_nearest_limit(
    engine: RunEngine, make_beamline: Any, world: Any
) -> None:
    wide = ConcentricRings(radial_step_um=0.2, height_um=9.9, width_um=9.9)
    world.fails_at = 1
    with pytest.raises(FailedStatus):
        engine(ptycho_scan(make_beamline(), trajectory=wide))
    assert np.abs(position(world)).max() == LIMITS_UM[1]
