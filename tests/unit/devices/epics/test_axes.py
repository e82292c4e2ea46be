"""How a move ends: there, elsewhere, or with an axis that has gone."""

from types import SimpleNamespace
from typing import Any

import pytest

from ptycho_plugin.devices.epics.axes import _moved
from ptycho_plugin.devices.statuses import finished, settled
from ptycho_plugin.errors import DeviceError


class Gone(SimpleNamespace):
    @property
    def position(self) -> float:
        raise ConnectionError("y is not connected")


def axis(kind: type = SimpleNamespace, **facts: Any) -> Any:
    return kind(name="y", egu="um", **facts)


def test_it_is_done_where_it_was_to_go() -> None:
    settled(_moved(axis(position=2.0, target=2.0), "P:Y", 2.0, finished("move")))


def test_one_that_was_stopped_has_not_arrived() -> None:
    with pytest.raises(DeviceError, match=r"y did not arrive at 2 um: P:Y is at 1.5 \(it was stopped\)"):
        settled(_moved(axis(position=1.5, target=1.5), "P:Y", 2.0, finished("move")))


def test_an_axis_that_has_gone_ends_the_move_with_its_process_variable() -> None:
    with pytest.raises(DeviceError, match=r"y did not arrive at 2 um: P:Y does not answer \(y is not conn"):
        settled(_moved(axis(Gone), "P:Y", 2.0, finished("move")))
