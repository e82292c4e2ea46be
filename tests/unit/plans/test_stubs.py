"""One exposure a point, whatever interrupts the RunEngine; and never an open shutter at rest."""

import threading
from collections.abc import Iterator
from itertools import count, cycle
from typing import Any

import pytest
from bluesky import RunEngine
from bluesky.utils import FailedStatus, InvalidCommand, Msg, RunEngineInterrupted
from ophyd.status import DeviceStatus

from ptycho_plugin.devices.hdf5_frames import FrameFile
from ptycho_plugin.errors import DeviceError, InputError
from ptycho_plugin.plans import stubs
from ptycho_plugin.plans.acquisition import acquire
from ptycho_plugin.plans.stubs import expose_point, go_to, value_of

POINTS = [(0.1, -0.2), (0.3, 0.4)]


def scan(beamline: Any, points: Any = POINTS) -> Any:
    def exposures() -> Any:
        for point in points:
            yield from expose_point(beamline, point)

    return acquire(beamline, exposures(), 0.2, {})


def interrupted(plan: Any, at: int, interruption: Msg) -> Iterator[Msg]:
    """Yield a plan's messages, and one more before the message of a number."""
    response, failure = None, None
    for number in count():
        try:
            message = plan.throw(failure) if failure else plan.send(response)
        except StopIteration as end:
            return end.value
        response, failure = None, None
        try:
            if number == at:
                yield interruption
            response = yield message
        except Exception as error:  # noqa: BLE001  the plan decides what to do with it
            failure = error


def message_count(engine: RunEngine, plan: Any) -> int:
    messages: list[Msg] = []
    engine.msg_hook = messages.append
    engine(plan)
    engine.msg_hook = None
    return len(messages)


def assert_exposed_once(world: Any, documents: Any) -> None:
    assert [place for place, _ in world.exposures] == POINTS
    assert all(is_open for _, is_open in world.exposures)
    events = documents.events()
    assert [event["seq_num"] for event in events] == [1, 2]
    assert [event["data"]["flux_counts"] for event in events] == [1000.0, 2000.0]
    assert [datum["indices"]["start"] for datum in documents.of("stream_datum")] == [0, 1]


def test_a_pause_before_any_message_exposes_no_point_twice(
    engine: RunEngine, documents: Any, make_beamline: Any, world: Any
) -> None:
    beamline = make_beamline()
    for at in range(message_count(engine, scan(beamline))):
        world.exposures.clear()
        documents.clear()
        paused = False
        try:
            engine(interrupted(scan(beamline), at, Msg("pause")))
        except RunEngineInterrupted:
            paused = True
            assert not world.is_open, f"the shutter is open in a pause before message {at}"
            engine.resume()
        assert paused
        assert_exposed_once(world, documents)
        assert not world.is_open


def test_pauses_at_any_time_expose_no_point_twice(
    engine: RunEngine, documents: Any, make_beamline: Any, world: Any
) -> None:
    beamline = make_beamline(time_factor=0.2)
    proceed, pauses = (lambda: engine(scan(beamline))), 0
    for delay in cycle((0.02, 0.05, 0.08, 0.11, 0.01, 0.03)):
        timer = threading.Timer(delay, lambda: engine.state == "running" and engine.request_pause())
        timer.start()
        try:
            proceed()
            break
        except RunEngineInterrupted:
            assert not world.is_open
            proceed, pauses = engine.resume, pauses + 1
        finally:
            timer.cancel()
            timer.join()
    assert pauses
    assert_exposed_once(world, documents)


@pytest.mark.parametrize("device", ["detector", "encoder", "flux"])
def test_a_pause_in_the_middle_of_a_reading_loses_nothing(
    engine: RunEngine, documents: Any, make_beamline: Any, world: Any, monkeypatch: Any, device: str
) -> None:
    beamline = make_beamline()
    readable = getattr(beamline, device)
    describe, pauses = readable.describe, []

    def describe_and_pause() -> Any:
        if not pauses:
            pauses.append(engine.loop.create_task(engine._request_pause_coro()))
        return describe()

    monkeypatch.setattr(readable, "describe", describe_and_pause)
    with pytest.raises(RunEngineInterrupted):
        engine(scan(beamline))
    engine.resume()
    assert_exposed_once(world, documents)


def test_a_frame_is_read_when_it_is_on_disk_and_not_before(
    engine: RunEngine, documents: Any, make_beamline: Any, world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    append, paused = FrameFile.append, [threading.Event() for _ in POINTS]

    def slow_append(file: FrameFile, frame: Any) -> None:
        engine.request_pause()
        paused[len(file)].wait(timeout=10)
        threading.Event().wait(0.2)
        append(file, frame)

    monkeypatch.setattr(FrameFile, "append", slow_append)
    proceed = lambda: engine(scan(make_beamline()))  # noqa: E731  replaced below
    for seen in paused:
        with pytest.raises(RunEngineInterrupted):
            proceed()
        assert not world.is_open
        seen.set()
        proceed = engine.resume
    proceed()
    assert_exposed_once(world, documents)


def test_the_shutter_is_open_for_the_exposure_only(engine: RunEngine, make_beamline: Any, world: Any) -> None:
    states = []
    engine.msg_hook = lambda message: states.append((message.command, world.is_open))
    engine(scan(make_beamline()))
    assert {command for command, is_open in states if is_open} == {"wait", "trigger", "set"}
    assert all(not is_open for command, is_open in states if command in ("read", "save", "checkpoint"))


@pytest.mark.parametrize("end", ["abort", "stop", "halt"])
def test_the_shutter_is_closed_however_a_pause_ends(
    engine: RunEngine, make_beamline: Any, world: Any, end: str
) -> None:
    beamline = make_beamline()
    for at in range(message_count(engine, scan(beamline, POINTS[:1]))):
        with pytest.raises(RunEngineInterrupted):
            engine(interrupted(scan(beamline, POINTS[:1]), at, Msg("pause")))
        getattr(engine, end)()
        engine.rewindable = True  # which a halt leaves as the plan had it
        assert not world.is_open


def test_the_shutter_is_closed_when_any_message_fails(
    engine: RunEngine, make_beamline: Any, world: Any
) -> None:
    beamline = make_beamline()
    for at in range(message_count(engine, scan(beamline, POINTS[:1]))):
        with pytest.raises(InvalidCommand):
            engine(interrupted(scan(beamline, POINTS[:1]), at, Msg("no such command")))
        assert not world.is_open


def test_a_dead_camera_ends_the_run_and_closes_the_shutter(
    engine: RunEngine, documents: Any, make_beamline: Any, world: Any
) -> None:
    world.fails_at = 2
    with pytest.raises(FailedStatus):
        engine(scan(make_beamline()))
    assert not world.is_open
    assert documents.of("stop")[0]["exit_status"] == "fail"
    assert len(documents.events()) == 1


def test_a_suspender_exposes_no_point_twice(
    engine: RunEngine, documents: Any, make_beamline: Any, world: Any
) -> None:
    while_suspended = []

    async def beam_is_back() -> None:
        while_suspended.append(world.is_open)

    def suspend(message: Msg) -> None:
        if message.command == "trigger" and len(world.exposures) == 1 and not while_suspended:
            engine.request_suspend(beam_is_back)

    engine.msg_hook = suspend
    engine(scan(make_beamline()))
    assert while_suspended
    assert not any(while_suspended)
    assert_exposed_once(world, documents)


def test_the_set_and_the_measured_position_are_both_recorded(
    engine: RunEngine, documents: Any, make_beamline: Any
) -> None:
    engine(scan(make_beamline()))
    for (row, column), event in zip(POINTS, documents.events(), strict=True):
        data = event["data"]
        assert (data["stage_y_setpoint"], data["stage_x_setpoint"]) == (row, column)
        assert (data["encoder_y"], data["encoder_x"]) == pytest.approx((row + 1e-3, column + 1e-3))


def test_an_unknown_place_is_named(engine: RunEngine, make_beamline: Any) -> None:
    with pytest.raises(InputError, match="no place 'attic': it has sample, specimen, empty"):
        engine(go_to(make_beamline(), "attic"))


def test_a_plan_can_be_looked_at_without_running_it(make_beamline: Any, world: Any) -> None:
    messages = list(expose_point(make_beamline(), (0.0, 0.0)))
    assert [m.obj.name for m in messages if m.command == "trigger"] == ["encoder", "flux", "pilatus"]
    assert not world.exposures


def test_counts_that_never_come_do_not_hold_the_shutter_open(
    engine: RunEngine, make_beamline: Any, world: Any, monkeypatch: Any
) -> None:
    beamline = make_beamline()
    never, seen = DeviceStatus(beamline.encoder), []
    monkeypatch.setattr(stubs, "LATE_S", 0.1)
    monkeypatch.setattr(beamline.encoder, "trigger", lambda: never)

    def give_up(message: Msg) -> None:
        if message.command == "sleep":  # of the loop that waits for what has not come
            seen.append(world.is_open)
            never.set_exception(DeviceError("no gate"))

    engine.msg_hook = give_up
    with pytest.raises((FailedStatus, DeviceError)):
        engine(scan(beamline))
    assert seen == [False]


@pytest.mark.parametrize("cancelled", [0, 1])
def test_a_value_that_a_pause_cancelled_is_no_zero(
    engine: RunEngine, make_beamline: Any, cancelled: int
) -> None:
    beamline, values = make_beamline(), []
    beamline.detector.exposure_time.put(0.3)

    def plan() -> Any:
        values.append((yield from value_of(beamline.detector.exposure_time)))

    def cancelling() -> Any:
        inner, response, left = plan(), None, cancelled
        while True:
            try:
                message = inner.send(response)
            except StopIteration:
                return
            response = yield message
            if message.command == "read" and left:
                response, left = None, left - 1

    engine(cancelling())
    assert values == [0.3]
