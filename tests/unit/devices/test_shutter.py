import asyncio
import threading
from typing import Any

import pytest
from bluesky.protocols import Movable, Pausable, Stageable

from ptycho_plugin.devices import pausing_shutter
from ptycho_plugin.devices.attenuator import SimulatedAttenuator
from ptycho_plugin.devices.gate import ExposureGate
from ptycho_plugin.devices.shutter import SimulatedShutter
from ptycho_plugin.dose import ShutterTiming
from ptycho_plugin.errors import InputError


@pytest.fixture
def gate(world: Any) -> ExposureGate:
    return ExposureGate(world, time_factor=1.0)


@pytest.fixture
def shutter(world: Any, gate: ExposureGate) -> SimulatedShutter:
    return make_shutter(world, gate)


def make_shutter(
    world: Any, gate: ExposureGate, time_factor: float = 0.0, **timing: float
) -> SimulatedShutter:
    return SimulatedShutter(
        name="shutter", world=world, gate=gate, timing=ShutterTiming(**timing), time_factor=time_factor
    )


def test_it_opens_and_closes(shutter: SimulatedShutter, world: Any) -> None:
    for state in ("open", "closed"):
        shutter.set(state).wait(timeout=5)
        assert shutter.position == state
        assert world.is_open is (state == "open")


@pytest.mark.parametrize(("state", "lag"), [("open", "opening_lag_s"), ("closed", "closing_lag_s")])
def test_it_is_done_as_late_as_it_moves(world: Any, gate: ExposureGate, state: str, lag: str) -> None:
    slow = make_shutter(world, gate, time_factor=1.0, **{lag: 1.0})
    status = slow.set(state)
    assert world.is_open is (state == "open"), "the command is given at once"
    assert not status.done
    make_shutter(world, gate, time_factor=0.0, **{lag: 1.0}).set(state).wait(timeout=5)


def test_it_is_made_closed(world: Any, gate: ExposureGate) -> None:
    world.set_shutter(True)
    make_shutter(world, gate)
    assert not world.is_open


def test_another_word_is_refused(shutter: SimulatedShutter) -> None:
    with pytest.raises(InputError, match=r"'ajar': say 'open' or 'closed'"):
        shutter.set("ajar")


def test_staging_and_unstaging_close_it(shutter: SimulatedShutter, world: Any) -> None:
    for move in (shutter.stage, shutter.unstage):
        shutter.set("open").wait(timeout=5)
        move()
        assert not world.is_open


def test_a_pause_before_the_exposure_is_made_up_for(shutter: SimulatedShutter, world: Any) -> None:
    shutter.set("open").wait(timeout=5)
    asyncio.run(shutter.pause())
    assert not world.is_open
    asyncio.run(shutter.resume())
    assert world.is_open


def test_a_pause_lets_an_exposure_end_and_then_keeps_closed(
    shutter: SimulatedShutter, gate: ExposureGate, world: Any
) -> None:
    shutter.set("open").wait(timeout=5)
    exposure = gate.expose(0.1)
    asyncio.run(shutter.pause())
    assert not gate.is_high
    assert exposure.result(timeout=5)
    assert world.exposures == [((0.0, 0.0), True)]
    asyncio.run(shutter.resume())
    assert not world.is_open


def test_a_pause_closes_it_on_an_exposure_that_hangs(
    shutter: SimulatedShutter, gate: ExposureGate, world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    released = threading.Event()
    monkeypatch.setattr(world, "expose", lambda exposure_s: released.wait(timeout=30))
    monkeypatch.setattr(pausing_shutter, "LATE_S", 0.05)
    shutter.set("open").wait(timeout=5)
    exposure = gate.expose(0.01)
    asyncio.run(shutter.pause())
    assert gate.is_high
    assert not world.is_open
    asyncio.run(shutter.resume())
    assert not world.is_open, "it has begun"
    released.set()
    exposure.result(timeout=5)


def test_a_closed_shutter_stays_closed_over_a_pause(shutter: SimulatedShutter, world: Any) -> None:
    asyncio.run(shutter.pause())
    asyncio.run(shutter.resume())
    assert not world.is_open


def test_it_opens_again_when_the_last_of_two_pauses_is_over(shutter: SimulatedShutter, world: Any) -> None:
    shutter.set("open").wait(timeout=5)
    for _ in range(2):
        asyncio.run(shutter.pause())
    asyncio.run(shutter.resume())
    assert not world.is_open
    asyncio.run(shutter.resume())
    assert world.is_open
    asyncio.run(shutter.pause())
    shutter.set("closed").wait(timeout=5)
    asyncio.run(shutter.resume())
    assert not world.is_open, "a plan that was ended in the pause has closed it"


def test_it_speaks_blueskys_protocols(shutter: SimulatedShutter) -> None:
    for protocol in (Movable, Pausable, Stageable):
        assert isinstance(shutter, protocol)


def test_the_attenuator_weakens_the_beam(world: Any) -> None:
    attenuator = SimulatedAttenuator(name="attenuator", world=world)
    attenuator.set(0.25).wait(timeout=5)
    assert world.transmission == attenuator.position == 0.25
    assert attenuator.read()["attenuator_transmission"]["value"] == 0.25


@pytest.mark.parametrize("value", [0.0, -0.1, 1.1, float("nan")])
def test_an_impossible_transmission_is_refused(world: Any, value: float) -> None:
    with pytest.raises(InputError, match="transmission is above 0 and up to 1"):
        SimulatedAttenuator(name="attenuator", world=world).set(value)


def test_it_says_how_long_it_was_open(gate: ExposureGate, shutter: SimulatedShutter) -> None:
    shutter.set("open").wait(timeout=5)
    asyncio.run(shutter.pause())
    asyncio.run(shutter.resume())
    gate.expose(0.05).result(timeout=5)
    shutter.set("closed").wait(timeout=5)
    shutter.set("closed").wait(timeout=5)
    assert shutter.openings_s == pytest.approx([0.003, 0.053])


def test_after_an_exposure_a_pause_is_not_made_up_for(
    gate: ExposureGate, shutter: SimulatedShutter, world: Any
) -> None:
    shutter.set("open").wait(timeout=5)
    gate.expose(0.01).result(timeout=5)
    asyncio.run(shutter.pause())
    asyncio.run(shutter.resume())
    assert not world.is_open
