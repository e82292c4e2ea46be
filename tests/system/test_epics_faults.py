"""What fails in mid-scan over Channel Access ends with the shutter closed, and run and ledger as it was."""

import threading
from typing import Any

import pytest
from bluesky import RunEngine
from bluesky.utils import FailedStatus, Msg, RunEngineInterrupted

from ptycho_plugin.errors import PtychoError
from ptycho_plugin.ioc import IocProcess
from ptycho_plugin.plans import ring_current_suspender
from ptycho_plugin.trajectory import ConcentricRings

pytestmark = pytest.mark.usefixtures("healthy")

SMALL = ConcentricRings(height_um=0.6, width_um=0.6)
POINTS = len(SMALL.offsets_um())
EXPOSURE_S = 0.02
HALF_WAY = POINTS // 2
PATIENCE_S = 4.0
"""Our devices' with the beamline's."""


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    from ptycho_plugin.devices.epics import answers, axes, counters, frames, settings, shutter

    for module in (answers, axes, counters, frames, settings):
        monkeypatch.setattr(module, "ANSWER_S", PATIENCE_S)
    monkeypatch.setattr(shutter, "MOVE_S", 2.0)


def at_point(engine: RunEngine, wired: Any, number: int, act: Any, command: str = "set") -> None:
    """Act just before a message of a point: its move, or its exposure."""
    device = wired.stage.y if command == "set" else wired.detector
    left = [number]

    def hook(message: Msg) -> None:
        if message.command == command and message.obj is device:
            left[0] -= 1
            if left[0] == 0:
                act()

    engine.msg_hook = hook


def assert_goes_on(engine: RunEngine, guarded: Any, run_documents: Any, line: Any, left: int) -> None:
    """The same call makes the points that are left, and no other."""
    engine.msg_hook = None
    engine(guarded.scan(SMALL, EXPOSURE_S))
    assert run_documents.stop["exit_status"] == "success"
    assert len(run_documents.joined) == left
    assert line.get("SHUTTER:STATUS") == 0


def test_a_stage_that_stalls(
    engine: RunEngine, wired: Any, guarded: Any, line: Any, run_documents: Any
) -> None:
    before = line.get("TWIN:PHOTONS")
    at_point(engine, wired, HALF_WAY, lambda: line.put("TWIN:FAULT", "stall PIEZO:Y"))
    with pytest.raises(FailedStatus) as failed:
        engine(guarded.scan(SMALL, EXPOSURE_S))
    assert "stage_y did not arrive" in str(failed.value.__cause__)
    assert line.becomes("SHUTTER:STATUS", 0)
    assert run_documents.stop["exit_status"] == "fail"
    assert "stage_y did not arrive" in run_documents.stop["reason"]
    assert len(run_documents.joined) == HALF_WAY - 1
    guarded.assert_told(line.get("TWIN:PHOTONS") - before)
    line.put("TWIN:FAULT", "none")
    assert_goes_on(engine, guarded, run_documents, line, POINTS - HALF_WAY + 1)
    guarded.assert_told(line.get("TWIN:PHOTONS") - before)


def test_a_pause_in_the_middle_of_a_move_and_one_of_an_armed_counter(
    engine: RunEngine, wired: Any, guarded: Any, line: Any, run_documents: Any, monkeypatch: Any
) -> None:
    trigger = wired.encoder.trigger

    def pause() -> None:
        engine.loop.create_task(engine._request_pause_coro())

    def go_far(message: Msg) -> None:
        if message.command == "set" and message.obj is wired.stage.y:
            engine.msg_hook = None
            line.when(lambda: wired.stage.y.moving, lambda: engine.loop.call_soon_threadsafe(pause))

    def arm_and_pause() -> Any:
        monkeypatch.setattr(wired.encoder, "trigger", trigger)
        pause()
        return trigger()

    wired.stage.y.set(-30.0).wait(timeout=10)
    engine.msg_hook = go_far
    with pytest.raises(RunEngineInterrupted):
        engine(guarded.scan(SMALL, EXPOSURE_S))
    assert not wired.stage.y.moving
    assert line.get("SHUTTER:STATUS") == 0
    monkeypatch.setattr(wired.encoder, "trigger", arm_and_pause)
    with pytest.raises(RunEngineInterrupted):
        engine.resume()
    threading.Event().wait(PATIENCE_S + 1)
    engine.resume()
    assert run_documents.stop["exit_status"] == "success"
    assert len(run_documents.joined) == POINTS
    assert guarded.ledger.exposures(guarded.region).frame.tolist() == ["saved"] * POINTS


@pytest.mark.parametrize("fault", ["miss_trigger", "drop_frame"])
def test_a_frame_that_never_comes(
    engine: RunEngine, wired: Any, guarded: Any, line: Any, run_documents: Any, fault: str
) -> None:
    at_point(engine, wired, HALF_WAY, lambda: line.put("TWIN:FAULT", fault), "trigger")
    with pytest.raises((FailedStatus, PtychoError)):
        engine(guarded.scan(SMALL, EXPOSURE_S))
    assert line.becomes("SHUTTER:STATUS", 0)
    assert run_documents.stop["exit_status"] == "fail"
    assert "PTYCHO:" in run_documents.stop["reason"]
    exposures = guarded.ledger.exposures(guarded.region)
    assert exposures.frame.tolist() == ["saved"] * (HALF_WAY - 1) + ["lost"]
    assert_goes_on(engine, guarded, run_documents, line, POINTS - HALF_WAY)


def test_a_beam_that_is_lost_is_waited_for(
    engine: RunEngine, wired: Any, guarded: Any, line: Any, run_documents: Any
) -> None:
    from ophyd import EpicsSignalRO

    current = EpicsSignalRO(f"{line.prefix}RING:CURRENT", name="ring_current", auto_monitor=True)
    current.wait_for_connection(timeout=10)
    suspender = ring_current_suspender(current, 50.0, settle_s=0.1)
    engine.install_suspender(suspender)
    before, seen = line.get("TWIN:PHOTONS"), []

    def lose() -> None:
        line.put("TWIN:FAULT", "beam_loss")
        assert line.holds(lambda: suspender.tripped)

    def come_back() -> None:
        seen.append(line.holds(lambda: line.get("SHUTTER:STATUS") == 0))
        line.put("TWIN:FAULT", "none")

    at_point(engine, wired, HALF_WAY, lose)
    waiting = line.when(lambda: suspender.tripped, come_back)
    engine(guarded.scan(SMALL, EXPOSURE_S))
    waiting.join(timeout=20)
    engine.remove_suspender(suspender)
    assert seen == [True]
    assert run_documents.stop["exit_status"] == "success"
    assert len(run_documents.joined) == POINTS
    guarded.assert_told(line.get("TWIN:PHOTONS") - before)


def test_a_beam_that_stays_lost_ends_as_an_abort(
    engine: RunEngine, wired: Any, guarded: Any, line: Any, run_documents: Any
) -> None:
    def lose() -> None:
        line.put("TWIN:FAULT", "beam_loss")
        engine.loop.call_soon_threadsafe(engine.loop.create_task, engine._abort_coro("the beam is lost"))

    at_point(engine, wired, HALF_WAY, lose)
    with pytest.raises(RunEngineInterrupted):
        engine(guarded.scan(SMALL, EXPOSURE_S))
    assert line.becomes("SHUTTER:STATUS", 0)
    assert run_documents.stop["exit_status"] == "abort"
    line.put("TWIN:FAULT", "none")
    assert_goes_on(engine, guarded, run_documents, line, POINTS - len(run_documents.joined))


@pytest.mark.parametrize("moment", ["set", "trigger"])
def test_an_ioc_that_dies_and_comes_back(
    engine: RunEngine,
    ioc: IocProcess,
    wired: Any,
    guarded: Any,
    line: Any,
    run_documents: Any,
    moment: str,
) -> None:
    at_point(engine, wired, HALF_WAY, ioc.kill, moment)
    with pytest.raises((FailedStatus, PtychoError, TimeoutError)):
        engine(guarded.scan(SMALL, EXPOSURE_S))
    assert run_documents.stop["exit_status"] == "fail"
    made = len(run_documents.joined)
    assert made == HALF_WAY - 1
    ioc.start()
    assert line.becomes("SHUTTER:STATUS", 0)
    axes = (wired.stage.y, wired.stage.x, wired.coarse.y, wired.coarse.x)
    devices = (*axes, wired.detector, wired.encoder, wired.flux, wired.shutter, wired.attenuator)
    assert line.holds(lambda: all(device.connected for device in (*devices, *wired.others)))
    exposures = guarded.ledger.exposures(guarded.region)
    told = exposures.where(exposures.frame == "saved")
    assert len(told) == made
    assert exposures.photons.sum() >= made * 5e6 * EXPOSURE_S * 0.9
    left_out = len(exposures) - made
    assert left_out <= 1
    assert_goes_on(engine, guarded, run_documents, line, POINTS - made - left_out)
