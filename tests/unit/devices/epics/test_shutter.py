"""A close that was not obeyed is commanded again when the process variables are back."""

from threading import Event
from types import SimpleNamespace
from typing import Any

import pytest
from ophyd.sim import make_fake_device

from ptycho_plugin.devices.epics.shutter import EpicsShutter
from ptycho_plugin.errors import DeviceError


@pytest.fixture
def shutter() -> Any:
    said = SimpleNamespace(command="CMD", status="STS")
    idle = SimpleNamespace(is_exposing=False, exposures=0)
    fake = make_fake_device(EpicsShutter)("P:", said, name="shutter", exposures=idle)
    fake.command.setpoint_pvname, fake.status.pvname = "P:CMD", "P:STS"
    fake.status.sim_put(0)
    fake.command.sim_put(0)
    fake.command.subscribe(lambda value, **_: fake.status.sim_put(value), run=False)  # blades obey at once
    return fake


def connect(signal: Any, yes: bool) -> None:
    signal._metadata["connected"] = yes
    heard = Event()
    signal.subscribe(lambda **_: heard.set(), event_type=signal.SUB_META, run=False)
    signal._run_metadata_callbacks()
    assert heard.wait(5)


def becomes(signal: Any, wanted: Any) -> Event:
    seen = Event()
    signal.subscribe(lambda value, **_: value == wanted and seen.set(), run=False)
    return seen


@pytest.mark.parametrize("first_back", ["command", "status"])
def test_a_close_that_could_not_be_commanded(shutter: Any, first_back: str) -> None:
    shutter.set("open").wait(timeout=5)
    signals = (shutter.command, shutter.status)
    for signal in signals:
        connect(signal, False)
    with pytest.raises(DeviceError, match="is not connected, and was to be 0: see that it is closed"):
        shutter.set("closed")
    assert (shutter.position, shutter.command.get()) == ("open", 1)
    closed, obeyed = becomes(shutter.state, "closed"), becomes(shutter.command, 0)
    for signal in signals if first_back == "command" else signals[::-1]:
        assert not obeyed.is_set()
        connect(signal, True)
    assert closed.wait(5)
    assert obeyed.wait(5)
    assert len(shutter.openings_s) == 1


@pytest.mark.parametrize("last", ["open", "closed"])
def test_one_that_was_obeyed_or_is_wanted_no_more_is_not(shutter: Any, last: str) -> None:
    for state in ("open", "closed", "open", last):
        shutter.set(state).wait(timeout=5)
    by_hand = int(last == "closed")
    shutter.command.sim_put(by_hand)
    connect(shutter.command, False)
    connect(shutter.command, True)
    assert shutter.command.get() == by_hand
