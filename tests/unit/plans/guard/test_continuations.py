"""A scan that was interrupted, whenever and however, goes on where it was: the same call completes it."""

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from bluesky import RunEngine
from bluesky.utils import FailedStatus, Msg, RunEngineInterrupted

from ptycho_plugin.devices.hdf5_frames import FrameFile
from ptycho_plugin.errors import DoseRefusal, InputError, LedgerError
from ptycho_plugin.metadata import ScanMetadata
from ptycho_plugin.plans import DoseGuard, ptycho_scan
from ptycho_plugin.plans import guard as guard_module
from ptycho_plugin.trajectory import ConcentricRings

SMALL = ConcentricRings(height_um=0.5, width_um=0.5)
POINTS = SMALL.offsets_um()
REPEAT = 3

Interrupt = Callable[[RunEngine], object]


def abort(engine: RunEngine) -> None:
    engine.loop.create_task(engine._abort_coro("the test says so"))


def stop(engine: RunEngine) -> None:
    engine.loop.create_task(engine._stop_coro())


def halt(engine: RunEngine) -> None:
    engine.loop.create_task(engine._halt_coro())


def pause(engine: RunEngine) -> None:
    engine.loop.create_task(engine._request_pause_coro())


@pytest.fixture
def scan(film: Any) -> Callable[..., Iterator[Msg]]:
    """Return the same call of a new session's; keyword arguments change it."""

    def scan(**changes: Any) -> Iterator[Msg]:
        guard = DoseGuard(film.beamline, film.ledger, film.region, repeat=changes.pop("repeat", REPEAT))
        return ptycho_scan(film.beamline, **{"trajectory": SMALL, "guard": guard, **changes})

    return scan


def number(at: int) -> Callable[[Msg], bool]:
    numbers = iter(range(10_000))
    return lambda message: next(numbers) == at


def exposure(of: int, film: Any, command: str = "trigger") -> Callable[[Msg], bool]:
    """Return whether a message triggers the detector, or reads it, for a point's exposure."""
    numbers = iter(range(10_000))
    is_it = lambda message: message.command == command and message.obj is film.beamline.detector  # noqa: E731
    return lambda message: is_it(message) and next(numbers) == of


def assert_complete(film: Any, documents: Any, left_out: tuple[int, ...] = ()) -> None:
    """Every point but those left out has one frame, and was exposed once; none else was exposed."""
    assert not film.is_open
    exposures = film.ledger.exposures(film.region)
    exposed = exposures.where(exposures.frame == "saved")
    whole = [point for point in range(len(POINTS)) if point not in left_out]
    assert sorted(exposed.point.tolist()) == whole
    np.testing.assert_allclose(exposed.start_um, POINTS[exposed.point], atol=1e-6)
    seen = [
        ScanMetadata.from_start(start).points[event["seq_num"] - 1]
        for start in documents.of("start")
        for event in documents.events()
        if event["descriptor"]
        in {d["uid"] for d in documents.of("descriptor") if d["run_start"] == start["uid"]}
    ]
    assert sorted(seen) == whole
    progress = film.ledger.scans.progress(film.region, REPEAT)
    assert progress.is_complete
    assert progress.end is not None


def messages(engine: RunEngine, plan: Any) -> int:
    count = 0

    def hook(message: Msg) -> None:
        nonlocal count
        count += 1

    engine.msg_hook = hook
    engine(plan)
    engine.msg_hook = None
    return count


@pytest.mark.parametrize("end", [abort, stop])
def test_a_scan_that_was_ended_at_any_message_goes_on_and_loses_nothing(
    engine: RunEngine, film: Any, documents: Any, scan: Any, end: Interrupt, run_until: Any
) -> None:
    total = messages(engine, scan(repeat=1))
    rng = np.random.default_rng(3)
    for repeat, at in enumerate(sorted(rng.choice(total - 2, 8, replace=False).tolist()), start=10):
        with pytest.raises(RunEngineInterrupted):
            run_until(scan(repeat=repeat), number(at), end)
        assert engine.state == "idle"
        assert not film.is_open
        assert engine.rewindable
        progress = film.ledger.scans.progress(film.region, repeat)
        assert progress.lost == progress.uncertain == (), f"after message {at}"
        if not progress.is_complete:
            engine(scan(repeat=repeat))
        progress = film.ledger.scans.progress(film.region, repeat)
        assert progress.done == tuple(range(len(POINTS)))
    exposures = film.assert_told()
    assert np.count_nonzero(exposures.frame == "saved") == 9 * len(POINTS) == len(documents.events())
    assert "lost" not in exposures.frame


@pytest.mark.parametrize("at", ["trigger", "wait", "read", "save"])
@pytest.mark.parametrize("paused_first", [False, True])
def test_an_abort_in_an_exposure_keeps_its_frame_and_parks_the_stage(
    engine: RunEngine, film: Any, documents: Any, scan: Any, at: str, paused_first: bool, run_until: Any
) -> None:
    seen = []

    def in_the_first_exposure(message: Msg) -> bool:
        seen.append(message)
        triggered = any(m.command == "trigger" and m.obj is film.beamline.detector for m in seen)
        return triggered and message.command == at

    with pytest.raises(RunEngineInterrupted):
        run_until(scan(), in_the_first_exposure, pause if paused_first else abort)
    if paused_first:
        assert not film.is_open
        engine.abort()
    assert film.ledger.scans.progress(film.region, REPEAT).done == (0,)
    assert len(documents.events()) == 1
    assert documents.of("stop")[0]["exit_status"] == "abort"
    stage = film.beamline.stage
    assert (stage.y.position, stage.x.position) == (-film.region.reach_um, 0.0)
    documents.clear()
    engine(scan())
    start = ScanMetadata.from_start(documents.of("start")[0])
    assert start.points == tuple(range(1, len(POINTS)))
    assert start.continues == tuple(
        run.uid for run in film.ledger.scans.progress(film.region, REPEAT).runs[:1]
    )
    assert documents.of("start")[0]["num_points"] == len(POINTS) - 1


@pytest.mark.parametrize("at", ["trigger", "wait"])
def test_an_abort_lets_the_exposure_end_before_the_shutter_closes(
    engine: RunEngine, film: Any, scan: Any, at: str, run_until: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutter, seen, closed_on = film.beamline.shutter, [], []
    gate, drive = shutter._gate, shutter._drive
    monkeypatch.setattr(gate, "_time_factor", 1.0)  # an exposure that takes no time cannot be cut

    def watched(state: str) -> Any:
        if state == "closed":
            closed_on.append(gate.is_high)
        return drive(state)

    def in_the_first_exposure(message: Msg) -> bool:
        seen.append(message)
        triggered = any(m.command == "trigger" and m.obj is film.beamline.detector for m in seen)
        return triggered and message.command == at

    monkeypatch.setattr(shutter, "_drive", watched)
    with pytest.raises(RunEngineInterrupted):
        run_until(scan(), in_the_first_exposure, abort)
    assert closed_on
    assert not any(closed_on)
    assert film.ledger.scans.progress(film.region, REPEAT).done == (0,)
    film.assert_told()


def test_an_abort_before_the_detector_exposes_leaves_the_point_to_the_next_run(
    engine: RunEngine, film: Any, documents: Any, scan: Any, run_until: Any
) -> None:
    opening = lambda message: message.command == "set" and message.args == ("open",)  # noqa: E731
    with pytest.raises(RunEngineInterrupted):
        run_until(scan(), opening, pause)
    engine.abort()
    exposures = film.assert_told()
    assert exposures.frame.tolist() == ["none"]
    timing = film.beamline.shutter_timing
    sigma_s = np.hypot(0.1 * timing.closing_lag_s, timing.jitter_s)
    assert exposures.photons == pytest.approx(film.truth.photons_per_second * timing.closing_lag_s)
    assert exposures.photons_uncertainty == pytest.approx(film.truth.photons_per_second * sigma_s)
    engine(scan())
    assert_complete(film, documents)


@pytest.mark.parametrize("at", ["trigger", "wait", "sleep"])
def test_an_abort_does_not_wait_for_ever_for_a_frame(
    engine: RunEngine, film: Any, scan: Any, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    monkeypatch.setattr(guard_module, "GRACE_S", 0.1)
    released = threading.Event()
    world = film.beamline.shutter._world
    expose = world.expose

    def hangs(exposure_s: float) -> Any:
        released.wait(timeout=30)
        return expose(exposure_s)

    monkeypatch.setattr(world, "expose", hangs)
    seen: list[Msg] = []

    def hook(message: Msg) -> None:
        seen.append(message)
        triggered = any(m.command == "trigger" and m.obj is film.beamline.detector for m in seen)
        if triggered and message.command == at and not aborted:
            aborted.append(time.monotonic())
            abort(engine)
        if message.command == "unstage":  # which waits for the camera, dead or alive
            released.set()

    aborted: list[float] = []
    engine.msg_hook = hook
    if at == "sleep":
        monkeypatch.setitem(engine._command_registry, "wait", _done)  # so that the guard itself waits
    with pytest.raises(RunEngineInterrupted):
        engine(scan())
    assert time.monotonic() - aborted[0] < 10
    assert not film.is_open
    assert film.ledger.scans.progress(film.region, REPEAT).uncertain == (0,)


async def _done(message: Msg) -> None:
    """Wait for nothing."""


def test_a_halt_in_an_exposure_leaves_its_point_out_until_it_is_asked_for(
    engine: RunEngine, film: Any, documents: Any, scan: Any, capsys: Any, monkeypatch: Any, run_until: Any
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(RunEngineInterrupted):
        run_until(scan(), exposure(2, film), halt)
    assert not film.is_open
    capsys.readouterr()
    engine(scan())
    said = capsys.readouterr().out
    assert "2 of 6 points are done in an earlier run, 3 are exposed now; left out, unless again=" in said
    assert "point 2: may have been exposed" in said
    (first, second) = [ScanMetadata.from_start(start) for start in documents.of("start")]
    assert first.points == tuple(range(len(POINTS)))
    assert second.points == tuple(range(3, len(POINTS)))
    assert second.uncertain == (2,)
    assert_complete(film, documents, left_out=(2,))
    with pytest.raises(DoseRefusal, match=r"repeat 3 of .* is complete: .* or again=True for point 2"):
        engine(scan())
    with pytest.raises(InputError, match=r"again names point 1: .* which are point 2"):
        engine(scan(again=[1]))
    engine(scan(again=True))
    assert_complete(film, documents)
    with pytest.raises(DoseRefusal, match=r"is complete: give the guard another repeat number$"):
        engine(scan(again=True))


def test_again_is_held_to_the_budget(engine: RunEngine, film: Any, scan: Any, run_until: Any) -> None:
    with pytest.raises(RunEngineInterrupted):
        run_until(scan(), exposure(0, film), halt)
    engine(scan())
    spent = film.peak()
    film.ledger.samples.set_budget(film.region, film.budget.model_copy(update={"dose": 1.05 * spent}))
    before = film.received
    with pytest.raises(DoseRefusal, match="the scan would take"):
        engine(scan(again=[0]))
    assert film.received == before


def test_the_budget_is_held_against_the_points_that_are_left(
    engine: RunEngine, film: Any, scan: Any, run_until: Any
) -> None:
    engine(scan(repeat=1))
    once = film.peak()
    with pytest.raises(RunEngineInterrupted):
        run_until(scan(), exposure(3, film), abort)
    film.ledger.samples.set_budget(film.region, film.budget.model_copy(update={"dose": 2.2 * once}))
    with pytest.raises(DoseRefusal, match="the scan would take"):
        engine(scan(repeat=4))
    engine(scan())
    assert film.peak() == pytest.approx(2 * once, rel=0.05)


def test_a_frame_that_was_not_written_is_lost_and_listed(
    engine: RunEngine, film: Any, documents: Any, scan: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    append = FrameFile.append

    def full_disk(file: FrameFile, frame: Any) -> None:
        if len(file) == 2:
            raise OSError("no space left")
        append(file, frame)

    with monkeypatch.context() as patched:
        patched.setattr(FrameFile, "append", full_disk)
        with pytest.raises(FailedStatus):
            engine(scan())
    film.assert_told()
    engine(scan())
    assert ScanMetadata.from_start(documents.of("start")[1]).lost == (2,)
    assert_complete(film, documents, left_out=(2,))
    stage = film.beamline.stage
    assert (stage.y.position, stage.x.position) == tuple(POINTS[-1]), "a scan that ended well is not parked"


def test_another_scan_is_refused_before_the_shutter_opens(
    engine: RunEngine, film: Any, scan: Any, run_until: Any
) -> None:
    with pytest.raises(RunEngineInterrupted):
        run_until(scan(), exposure(1, film), abort)
    before = film.received
    other = ConcentricRings(height_um=0.5, width_um=0.5, turn_deg=10)
    for change, said in (
        ({"exposure_s": 0.1}, r"exposure_s = 0\.1, it was 0\.2"),
        ({"centre_um": (0.1, 0.0)}, r"centre \(0\.1, 0\) um from where"),
        ({"trajectory": other}, "trajectory"),
    ):
        with pytest.raises(LedgerError, match=f"repeat 3 of .* cannot go on: .*{said}"):
            engine(scan(**change))
    with pytest.raises(InputError, match="again is for a scan that goes on"):
        engine(scan(guard=None, again=True))
    assert film.received == before
    engine(scan(exposure_s=0.1, repeat=4))


def test_a_closed_region_is_not_scanned(engine: RunEngine, film: Any, documents: Any, scan: Any) -> None:
    film.ledger.scans.close(film.region, "damage: 12 % of the contrast is lost")
    with pytest.raises(DoseRefusal, match=r"is closed: damage: 12 % .* reopen it"):
        engine(scan())
    assert not documents.of("start")
    film.ledger.scans.reopen(film.region, "a last look")
    engine(scan())


def test_without_a_repeat_number_every_scan_begins_anew(engine: RunEngine, film: Any, scan: Any) -> None:
    for _ in range(2):
        engine(scan(repeat=None))
    assert len(film.ledger.exposures(film.region)) == 2 * len(POINTS)


def test_a_pause_says_what_each_answer_does(
    engine: RunEngine, film: Any, scan: Any, capsys: Any, run_until: Any
) -> None:
    with pytest.raises(RunEngineInterrupted):
        run_until(scan(), exposure(1, film), pause)
    said = [line for line in capsys.readouterr().out.splitlines() if "The shutter is closed." in line]
    assert len(said) == 1
    assert all(f"RE.{answer}()" in said[0] for answer in ("resume", "abort", "stop", "halt"))
    engine.resume()


def test_a_stage_that_cannot_be_parked_hides_no_error(
    engine: RunEngine, film: Any, scan: Any, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    axis = film.beamline.stage.y
    move = axis.set

    def stuck(value: float) -> Any:
        if value == -film.region.reach_um:
            raise RuntimeError("the piezo is stuck")
        return move(value)

    def full_disk(file: FrameFile, frame: Any) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(axis, "set", stuck)
    monkeypatch.setattr(FrameFile, "append", full_disk)
    with pytest.raises(FailedStatus):
        engine(scan())
    assert "the stage could not be parked at (-1.5, 0) um" in caplog.text
