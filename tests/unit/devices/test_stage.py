import threading
from typing import Any

import pytest
from ophyd.utils import LimitError

from ptycho_plugin.devices.stage import SimulatedAxis
from ptycho_plugin.devices.travel import TravelLimitError


@pytest.fixture
def make_axis(world: Any) -> Any:
    def make(**changes: Any) -> SimulatedAxis:
        settings = {"limits_um": (-5.0, 5.0), "velocity_um_s": 100.0, "settle_s": 0.0, "time_factor": 0.0}
        return SimulatedAxis(name="stage_y", world=world, axis="stage_row", **{**settings, **changes})

    return make


def test_a_move_reaches_the_world_and_is_read_beside_its_setpoint(make_axis: Any, world: Any) -> None:
    axis = make_axis()
    axis.set(1.25).wait(timeout=5)
    assert world.expose(0.1).position_um[0] == pytest.approx(1.25 + 1e-3)
    reading = axis.read()
    assert reading["stage_y"]["value"] == reading["stage_y_setpoint"]["value"] == axis.position == 1.25
    assert {key: described["units"] for key, described in axis.describe().items()} == {
        "stage_y": "um",
        "stage_y_setpoint": "um",
    }
    assert axis.hints == {"fields": ["stage_y"]}


@pytest.mark.parametrize("position", [-5.01, 7.0, float("nan")])
def test_a_position_outside_the_limits_is_named(make_axis: Any, position: float) -> None:
    axis = make_axis()
    with pytest.raises(TravelLimitError, match=f"go to {position:g} um: its limits are -5 to 5 um"):
        axis.set(position)
    assert isinstance(TravelLimitError(), LimitError)
    assert axis.position == 0.0


def test_the_limits_themselves_can_be_reached(make_axis: Any) -> None:
    axis = make_axis()
    for position in axis.limits:
        axis.set(position).wait(timeout=5)
        assert axis.position == position


def test_a_move_takes_its_time_and_settles(make_axis: Any) -> None:
    axis = make_axis(velocity_um_s=20.0, settle_s=0.05, time_factor=1.0)
    done = threading.Event()
    status = axis.set(1.0)
    status.add_callback(lambda _: done.set())
    assert not status.done
    assert 0 <= axis.position < 1.0
    assert done.wait(timeout=10)
    assert status.success
    assert axis.position == 1.0


def test_stop_leaves_the_axis_on_its_way(make_axis: Any, world: Any) -> None:
    axis = make_axis(velocity_um_s=0.1, time_factor=1.0)
    status = axis.set(5.0)
    axis.stop()
    assert isinstance(status.exception(timeout=5), RuntimeError)
    assert 0 <= axis.position < 5.0
    assert axis.read()["stage_y"]["value"] == axis.position
    assert world.expose(0.1).position_um[0] == pytest.approx(axis.position + 1e-3)


def test_a_paused_engine_stops_an_axis_without_failure(make_axis: Any) -> None:
    axis = make_axis(velocity_um_s=0.1, time_factor=1.0)
    status = axis.set(5.0)
    axis.stop(success=True)
    assert status.exception(timeout=5) is None
    axis.stop()


def test_a_new_move_gives_up_the_old_one(make_axis: Any) -> None:
    axis = make_axis(velocity_um_s=10.0, time_factor=1.0)
    first = axis.set(5.0)
    second = axis.set(0.0)
    assert first.exception(timeout=5) is not None
    second.wait(timeout=10)
    assert axis.position == 0.0
