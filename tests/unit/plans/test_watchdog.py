"""It acts when it is not fed, and only then."""

import threading
from collections.abc import Iterator

import pytest
from bluesky.protocols import Pausable
from ophyd.status import Status

from ptycho_plugin.errors import StalledPlanError
from ptycho_plugin.plans.watchdog import ShutterWatch, Watchdog

SHORT_S, LONG_S = 0.02, 600.0


class Bell:
    def __init__(self) -> None:
        self.rung = threading.Semaphore(0)

    def __call__(self) -> None:
        self.rung.release()

    def rings(self, timeout: float = 10.0) -> bool:
        return self.rung.acquire(timeout=timeout)


@pytest.fixture
def bell() -> Bell:
    return Bell()


@pytest.fixture
def watchdog(bell: Bell) -> Iterator[Watchdog]:
    watchdog = Watchdog(bell)
    yield watchdog
    watchdog.rest()


def test_it_acts_each_time_that_it_goes_hungry(watchdog: Watchdog, bell: Bell) -> None:
    watchdog.watch(SHORT_S)
    assert bell.rings()
    assert bell.rings()


def test_it_does_not_act_while_it_is_fed_rests_or_is_let_off(watchdog: Watchdog, bell: Bell) -> None:
    watchdog.watch(LONG_S)
    watchdog.feed()
    assert not bell.rings(2 * SHORT_S)
    watchdog.watch(SHORT_S)
    watchdog.pause()
    while bell.rings(0):
        pass
    assert not bell.rings(3 * SHORT_S)
    watchdog.resume()
    assert bell.rings()
    watchdog.rest()
    assert not [thread for thread in _watching() if thread.join(timeout=10)]
    assert not _watching()


def _watching() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "watchdog"]


def test_the_run_engine_can_pause_it(watchdog: Watchdog) -> None:
    assert isinstance(watchdog, Pausable)


class StuckShutter:
    """Told to close, it does not: what became of it is known some time after."""

    def __init__(self, bell: Bell) -> None:
        self.openings_s = []
        self._bell = bell

    def set(self, value: str) -> Status:
        self.openings_s.append(1.0)
        self._bell()
        return Status(self, timeout=SHORT_S)


def test_blades_that_are_stuck_are_told(bell: Bell, caplog: pytest.LogCaptureFixture) -> None:
    watch = ShutterWatch(StuckShutter(bell), SHORT_S)
    watch.watch_exposure(0.0)
    assert bell.rings()
    assert bell.rings(), "it is tried again"
    watch.rest()
    assert "could not be closed on a plan that stands still: close it by hand" in caplog.text
    with pytest.raises(StalledPlanError):
        watch.check()
