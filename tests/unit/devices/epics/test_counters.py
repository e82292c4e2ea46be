"""Counters that wait for a gate: armed, given up in time, patient in a pause."""

import asyncio
from threading import Event
from types import SimpleNamespace
from typing import Any

import pytest
from ophyd.status import Status

from ptycho_plugin.devices.epics import counters
from ptycho_plugin.devices.epics.counters import WITHIN_GATE, EpicsFluxMonitor, _GatedCounter
from ptycho_plugin.devices.statuses import finished, settled
from ptycho_plugin.errors import DeviceError

EXPOSURE_S = 0.05


class Command:
    """Completes when it is told to, or set to 0."""

    connected, setpoint_pvname = True, "P:ARM"

    def __init__(self) -> None:
        self.puts: list[int] = []
        self.armed: Status | None = None
        self.disarmed = Event()

    def set(self, value: int, timeout: float | None) -> Status:
        assert timeout is None, "its clock would run in a pause"
        self.puts.append(value)
        self.armed = Status()
        return self.armed

    def put(self, value: int, use_complete: bool) -> None:
        assert not use_complete
        self.puts.append(value)
        if self.armed is not None and not self.armed.done:
            self.armed.set_finished()
        self.disarmed.set()


class Counter(_GatedCounter):
    def __init__(self) -> None:
        super().__init__(name="flux", exposure_time=SimpleNamespace(get=lambda: EXPOSURE_S))
        self.arm = Command()


@pytest.fixture
def counter(monkeypatch: pytest.MonkeyPatch) -> Counter:
    monkeypatch.setattr(counters, "ANSWER_S", 0.1)
    return Counter()


def test_it_is_done_when_the_gate_has_ended(counter: Counter) -> None:
    counting = counter.trigger()
    counter.arm.armed.set_finished()
    counting.wait(timeout=5)
    counter.unstage()
    assert counter.arm.puts == [1], "nothing is left to disarm"


def test_a_gate_that_never_comes_is_told_and_not_waited_for_any_more(counter: Counter) -> None:
    counting = counter.trigger()
    with pytest.raises(DeviceError, match=r"P:ARM = 1 was not completed within 0.15 s: see that the de"):
        settled(counting)
    assert counter.arm.disarmed.wait(5)
    assert counter.arm.puts == [1, 0]


def test_a_pause_does_not_count(counter: Counter) -> None:
    counting = counter.trigger()
    asyncio.run(counter.pause())
    with pytest.raises(TimeoutError):
        counting.wait(timeout=0.5)
    asyncio.run(counter.resume())
    counter.arm.armed.set_finished()
    counting.wait(timeout=5)
    asyncio.run(counter.pause())
    asyncio.run(counter.resume())
    assert counter.arm.puts == [1]


def test_after_a_pause_it_has_its_whole_time_again_and_no_more(counter: Counter) -> None:
    counting = counter.trigger()
    asyncio.run(counter.pause())
    asyncio.run(counter.resume())
    with pytest.raises(DeviceError, match=r"was not completed within 0\.15 s"):
        settled(counting)


def test_one_that_is_unstaged_while_it_waits_is_disarmed(counter: Counter) -> None:
    counting = counter.trigger()
    counter.unstage()
    counting.wait(timeout=5)
    assert counter.arm.puts == [1, 0]


class Preset:
    connected, pvname, setpoint_pvname = True, "P:S.TP", "P:S.TP"

    def __init__(self, seconds: float) -> None:
        self.values = [seconds]

    def get(self) -> float:
        return self.values[-1]

    def set(self, value: float, timeout: float) -> Any:
        self.values.append(value)
        return finished(self)


def test_a_scaler_counts_within_the_gate_and_is_left_as_it_was() -> None:
    flux: Any = SimpleNamespace(preset=Preset(1.0), _settings=counters.Settings())
    for _ in range(2):
        EpicsFluxMonitor._prepare(flux, EXPOSURE_S)
    assert flux.preset.values == [1.0, WITHIN_GATE * EXPOSURE_S]
    flux._settings.restore()
    assert flux.preset.get() == 1.0
