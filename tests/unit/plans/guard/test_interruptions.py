"""Whatever interrupts a plan, the ledger says what the sample received, and no point is exposed twice."""

from collections.abc import Callable
from typing import Any

import bluesky.preprocessors as bpp
import numpy as np
import pytest
from bluesky import RunEngine
from bluesky.utils import FailedStatus, Msg, RunEngineInterrupted
from ophyd import Signal

from ptycho_plugin.devices.hdf5_frames import FrameFile


def test_a_run_is_in_the_ledger_as_the_sample_received_it(
    engine: RunEngine, film: Any, documents: Any, guard: Any, plan: Any
) -> None:
    (uid,) = engine(guard(plan()))
    film.assert_complete(documents)
    exposures = film.ledger.exposures(film.region)
    assert set(exposures.run_uid) == {uid}
    assert set(exposures.repeat) == {2}
    assert exposures.open_s == pytest.approx(film.exposure_s + 0.004)


Interrupt = Callable[[RunEngine], object]


def hard_pause(engine: RunEngine) -> object:
    return engine.loop.create_task(engine._request_pause_coro())


def deferred_pause(engine: RunEngine) -> object:
    return engine.loop.create_task(engine._request_pause_coro(defer=True))


def abort(engine: RunEngine) -> object:
    return engine.loop.create_task(engine._abort_coro("the test says so"))


def stop(engine: RunEngine) -> object:
    return engine.loop.create_task(engine._stop_coro())


def moments(engine: RunEngine, plan: Any, number: int) -> list[int]:
    """Run a plan, and return some numbers of its messages in the run, and that of the run's closing."""
    commands: list[str] = []
    engine.msg_hook = lambda message: commands.append(message.command)
    engine(plan)
    engine.msg_hook = None
    closing = commands.index("close_run")
    in_run = range(commands.index("open_run"), closing)
    return [*sorted(np.random.default_rng(7).choice(in_run, number, replace=False).tolist()), closing]


def run_interrupted(engine: RunEngine, plan: Any, at: int, interrupt: Interrupt) -> None:
    """Run a plan that is interrupted while, or just after, the message of a number is at work."""
    numbers = iter(range(10_000))
    engine.msg_hook = lambda message: interrupt(engine) if next(numbers) == at else None
    try:
        engine(plan)
    finally:
        engine.msg_hook = None


def test_a_pause_at_any_message_exposes_no_point_twice_and_loses_none(
    engine: RunEngine, film: Any, documents: Any, guard: Any, plan: Any
) -> None:
    some = moments(engine, guard(plan()), 8)
    for at in some:
        with pytest.raises(RunEngineInterrupted):
            run_interrupted(engine, guard(plan()), at, hard_pause)
        assert not film.is_open, f"the shutter is open in a pause at message {at}"
        engine.resume()
    film.assert_complete(documents, 1 + len(some))


def test_a_suspender_exposes_no_point_twice_and_loses_none(
    engine: RunEngine, film: Any, documents: Any, guard: Any, plan: Any
) -> None:
    while_suspended = []

    async def beam_is_back() -> None:
        while_suspended.append(film.is_open)

    some = moments(engine, guard(plan()), 4)
    for at in some:
        suspend = lambda engine: engine.request_suspend(beam_is_back)  # noqa: E731
        run_interrupted(engine, guard(plan()), at, suspend)
    assert while_suspended == [False] * len(some)
    film.assert_complete(documents, 1 + len(some))


def test_a_deferred_pause_exposes_no_point_twice_and_loses_none(
    engine: RunEngine, film: Any, documents: Any, guard: Any
) -> None:
    with pytest.raises(RunEngineInterrupted):
        run_interrupted(engine, guard(film.careless()), 30, deferred_pause)
    assert not film.is_open
    engine.resume()
    film.assert_complete(documents)


@pytest.mark.parametrize("end", [abort, stop])
def test_a_run_that_is_ended_leaves_the_shutter_closed_and_nothing_unsettled(
    engine: RunEngine, film: Any, guard: Any, plan: Any, end: Interrupt
) -> None:
    for at in moments(engine, guard(plan()), 5):
        with pytest.raises(RunEngineInterrupted):
            run_interrupted(engine, guard(plan()), at, end)
        assert engine.state == "idle"
        assert engine.rewindable
        film.assert_told()


def test_a_camera_that_fails_after_its_exposure_leaves_it_counted(
    engine: RunEngine, film: Any, documents: Any, guard: Any, plan: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(file: FrameFile, frame: Any) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(FrameFile, "append", full_disk)
    with pytest.raises(FailedStatus):
        engine(guard(plan()))
    exposures = film.assert_told()
    assert exposures.status.tolist() == ["done"]
    assert not documents.events()
    (done,) = documents.events("dose")
    assert done["data"]["dose_photons"] == exposures.photons.sum()
    assert done["data"]["dose_uncertain"] == 0


def test_an_event_of_another_stream_is_no_frame(
    engine: RunEngine, film: Any, guard: Any, plan: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(file: FrameFile, frame: Any) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(FrameFile, "append", full_disk)
    ring = Signal(name="ring", value=300.0)
    with pytest.raises(FailedStatus):  # and then the ring is read once more, as the run ends
        engine(guard(bpp.baseline_wrapper(plan(), [ring], name="ring")))
    assert film.assert_told().frame.tolist() == ["lost"]


def test_a_subscriber_that_takes_no_event_leaves_its_exposure_counted(
    engine: RunEngine, film: Any, guard: Any, plan: Any
) -> None:
    def full_disk(name: str, document: Any) -> None:
        if "flux_counts" in document.get("data", ()):
            raise OSError("no space left")

    engine.subscribe(full_disk, "event")
    with pytest.raises(OSError, match="no space left"):
        engine(guard(plan()))
    assert film.assert_told().frame.tolist() == ["lost"]


def test_a_camera_that_dies_leaves_its_exposure_uncertain_at_the_upper_bound(
    engine: RunEngine, film: Any, guard: Any, plan: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dead(exposure_s: float) -> Any:
        raise RuntimeError("the camera died")

    monkeypatch.setattr(film.beamline.shutter._world, "expose", dead)
    with pytest.raises(FailedStatus):
        engine(guard(plan()))
    assert not film.is_open
    exposures = film.ledger.exposures(film.region)
    assert exposures.status.tolist() == ["under way"]
    assert exposures.photons.sum() > film.received


def test_a_shutter_that_stayed_open_over_a_dead_camera_is_counted_for_all_that_time(
    engine: RunEngine, film: Any, guard: Any, plan: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_s = 10.0

    def hangs(exposure_s: float) -> Any:
        film.beamline.shutter._passed_before_s -= open_s  # so long it was open
        raise RuntimeError("the camera died")

    monkeypatch.setattr(film.beamline.shutter._world, "expose", hangs)
    with pytest.raises(FailedStatus):
        engine(guard(plan()))
    exposures = film.ledger.exposures(film.region)
    assert exposures.frame.tolist() == ["lost"]
    assert exposures.photons.sum() >= open_s * film.truth.photons_per_second
    assert exposures.photons_uncertainty.tolist() == exposures.photons.tolist()


def test_without_a_guard_bluesky_exposes_again(engine: RunEngine, film: Any) -> None:
    def pause_once(message: Msg) -> None:
        if message.command == "trigger" and message.obj is film.beamline.detector:
            engine.msg_hook = None
            hard_pause(engine)

    engine.msg_hook = pause_once
    with pytest.raises(RunEngineInterrupted):
        engine(film.careless())
    with pytest.raises(RuntimeError, match="multiple indices"):
        engine.resume()
    assert film.received > 1.9 * film.exposure_s * film.truth.photons_per_second


def test_a_halt_closes_the_shutter_and_leaves_the_exposure_uncertain(
    engine: RunEngine, film: Any, guard: Any
) -> None:
    def halt(engine: RunEngine) -> object:
        return engine.loop.create_task(engine._halt_coro())

    def hook(message: Msg) -> None:
        if message.command == "trigger" and message.obj is film.beamline.detector:
            halt(engine)

    engine.msg_hook = hook
    with pytest.raises(RunEngineInterrupted):
        engine(guard(film.careless()))
    engine.rewindable = True  # which a halt leaves as the guard had it
    assert not film.is_open
    assert film.ledger.exposures(film.region).photons.sum() >= film.received
    engine.msg_hook = None
    engine(guard(film.careless()))
    assert film.ledger.exposures(film.region).status.tolist() == ["uncertain", *["done"] * len(film.points)]


def test_a_suspension_in_a_suspension_exposes_no_point_twice_and_none_in_the_dark(
    engine: RunEngine, film: Any, documents: Any, guard: Any, plan: Any
) -> None:
    while_suspended = []

    async def beam_is_back() -> None:
        while_suspended.append(film.is_open)

    class SuspendTwice:
        """At the message of a number, and when the RunEngine waits for the beam."""

        def __init__(self, at: int) -> None:
            self._left, self._again = at, 1

        def __call__(self, message: Msg) -> None:
            self._left -= 1
            if self._left < 0 and message.command == "wait_for":
                self._again -= 1
            elif self._left != -1:
                return
            if self._again >= 0:
                engine.request_suspend(beam_is_back)

    commands: list[str] = []
    engine.msg_hook = lambda message: commands.append(message.command)
    engine(guard(plan()))
    triggers = [at for at, command in enumerate(commands) if command == "trigger"]
    for at in (triggers[2] - 1, triggers[2], triggers[5] - 1):
        engine.msg_hook = SuspendTwice(at)
        engine(guard(plan()))
        engine.msg_hook = None
    assert while_suspended == [False] * 6
    film.assert_complete(documents, 4)
