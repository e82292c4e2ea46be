"""A plan waits while the beam is away, and goes on when it is back."""

import threading
from collections.abc import Callable
from typing import Any

import bluesky.plan_stubs as bps
import pytest
from bluesky import RunEngine
from bluesky.suspenders import SuspenderBase
from ophyd import Signal

from ptycho_plugin.plans import front_end_suspender, ring_current_suspender, top_up_suspender

MAKE: dict[str, tuple[Callable[[Signal], SuspenderBase], float, float]] = {
    "ring current": (lambda s: ring_current_suspender(s, 100.0, 150.0, settle_s=0.0), 90.0, 160.0),
    "front end": (lambda s: front_end_suspender(s, settle_s=0.0), 0.0, 1.0),
    "top-up": (lambda s: top_up_suspender(s, 0.5, settle_s=0.0), 0.3, 60.0),
}


@pytest.mark.parametrize("what", MAKE)
def test_a_plan_waits_for_the_beam(engine: RunEngine, what: str) -> None:
    make, away, back = MAKE[what]
    signal = Signal(name="beam", value=back)
    suspender, seen = make(signal), []
    engine.install_suspender(suspender)
    timer = threading.Timer(0.1, signal.put, (back,))

    def plan() -> Any:
        signal.put(away)
        timer.start()
        yield from bps.sleep(0.01)
        seen.append(signal.get())

    engine(plan())
    timer.join()
    assert seen == [back]
    engine.remove_suspender(suspender)


def test_the_current_must_have_recovered(engine: RunEngine) -> None:
    signal = Signal(name="current", value=200.0)
    suspender = ring_current_suspender(signal, 100.0, 150.0)
    engine.install_suspender(suspender)
    signal.put(90.0)
    signal.put(120.0)
    assert suspender.tripped
    signal.put(151.0)
    assert not suspender.tripped
    engine.remove_suspender(suspender)
