"""Settings are given back, whatever becomes of those that change them."""

from typing import Any

import pytest
from ophyd.status import Status

from ptycho_plugin.devices.epics import settings
from ptycho_plugin.devices.epics.settings import Settings
from ptycho_plugin.errors import DeviceError


class Record:
    """Takes what it is given at once, and says so unless it is slow."""

    connected = True

    def __init__(self, name: str, value: Any) -> None:
        self.pvname = self.setpoint_pvname = name
        self.values = [value]
        self.is_slow = False

    def get(self) -> Any:
        return self.values[-1]

    def set(self, value: Any, timeout: float) -> Status:
        self.values.append(value)
        status = Status(timeout=timeout)
        if not self.is_slow:
            status.set_finished()
        return status


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "ANSWER_S", 0.05)


def test_each_has_what_it_had_before_it_was_first_set() -> None:
    mode, number = Record("MODE", "Continuous"), Record("NUMBER", 7)
    changed = Settings()
    for value in ("Single", "Multiple"):
        changed.change(mode, value)
    changed.change(number, 1)
    changed.restore()
    assert (mode.get(), number.get()) == ("Continuous", 7)
    changed.restore()
    assert number.values == [7, 1, 7]


def test_a_put_that_is_obeyed_late_is_given_back_as_well() -> None:
    path, changed = Record("PATH", "/found"), Settings()
    path.is_slow = True
    with pytest.raises(DeviceError, match=r"PATH = '/ours' was not completed within 0.05 s"):
        changed.change(path, "/ours")
    path.is_slow = False
    changed.restore()
    assert path.get() == "/found"


def test_one_that_does_not_answer_keeps_none_of_the_others() -> None:
    first, dead, last = (Record(name, 0) for name in ("FIRST", "DEAD", "LAST"))
    changed = Settings()
    for record in (first, dead, last):
        changed.change(record, 1)
    dead.connected = False
    with pytest.raises(DeviceError, match="DEAD is not connected, and was to be 0: set it back to 0 by hand"):
        changed.restore()
    assert (first.get(), dead.get(), last.get()) == (0, 1, 0)
