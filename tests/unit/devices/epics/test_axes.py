"""How a move ends: there, elsewhere, excused, or with an axis that has gone; and where an axis may go."""

from threading import Event
from types import SimpleNamespace
from typing import Any

import pytest

from ptycho_plugin.devices.epics.axes import _inner, _moved
from ptycho_plugin.devices.statuses import finished, settled
from ptycho_plugin.devices.travel import TravelLimitError, check_travel
from ptycho_plugin.errors import DeviceError


class Gone(SimpleNamespace):
    @property
    def position(self) -> float:
        raise ConnectionError("y is not connected")


def axis(kind: type = SimpleNamespace, **facts: Any) -> Any:
    return kind(name="y", egu="um", **({"has_given_up": False} | facts))


def end(axis: Any, target: float = 2.0, *, excused: bool = False) -> None:
    excuse = Event()
    if excused:
        excuse.set()
    settled(_moved(axis, "P:Y", target, finished("move"), excuse))


def test_it_is_done_where_it_was_to_go() -> None:
    end(axis(position=2.0, target=2.0))


def test_a_set_point_in_single_precision_is_the_one_that_was_set() -> None:
    end(axis(position=12_345.678, target=12_345.677734375), 12_345.678)


def test_one_that_was_stopped_has_not_arrived() -> None:
    with pytest.raises(DeviceError, match=r"y did not arrive at 2 um: P:Y is at 1.5 \(it was stopped\)"):
        end(axis(position=1.5, target=1.5))


def test_one_that_a_pause_stopped_is_left_to_the_pause() -> None:
    end(axis(position=1.5, target=1.5), excused=True)


def test_one_whose_record_gave_up_has_not_arrived() -> None:
    with pytest.raises(DeviceError, match=r"P:Y is at 1.5 \(its record gave up\); see what holds it"):
        end(axis(position=1.5, target=2.0, has_given_up=True))


def test_an_axis_that_has_gone_ends_the_move_with_its_process_variable() -> None:
    with pytest.raises(DeviceError, match=r"y did not arrive at 2 um: P:Y does not answer \(y is not conn"):
        end(axis(Gone))


@pytest.mark.parametrize(
    ("record", "file", "both"),
    [
        ((-50.0, 50.0), (-30.0, 80.0), (-30.0, 50.0)),
        ((0.0, 0.0), (-30.0, 80.0), (-30.0, 80.0)),
        ((-50.0, 50.0), None, (-50.0, 50.0)),
        ((0.0, 0.0), None, (0.0, 0.0)),
    ],
)
def test_an_axis_keeps_the_limits_of_its_record_and_of_the_file(record: Any, file: Any, both: Any) -> None:
    assert _inner(record, file) == both


@pytest.mark.parametrize("position", [-40.0, 0.0, 70.0])
def test_limits_that_exclude_each_other_allow_nothing(position: float) -> None:
    with pytest.raises(TravelLimitError, match="y cannot go to"):
        check_travel("y", position, _inner((-50.0, 50.0), (60.0, 80.0)), "um")
