"""A trajectory under the guard: reserved as a whole, and told as the sample received it, whatever ends it."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import bluesky.plan_stubs as bps
import numpy as np
import pytest
from bluesky import RunEngine
from bluesky.utils import FailedStatus, Msg, RunEngineInterrupted

from ptycho_plugin.devices.beamline import GatedPoints
from ptycho_plugin.devices.hdf5_frames import FrameFile
from ptycho_plugin.errors import DeviceError, DoseRefusal, InputError, LostFrameError, StalledPlanError
from ptycho_plugin.ledger import Budget, Exposures
from ptycho_plugin.live.join import RunDocuments
from ptycho_plugin.metadata import ScanMetadata
from ptycho_plugin.plans import DoseGuard, ptycho_fly_scan, ptycho_scan
from ptycho_plugin.plans import fly as fly_module
from ptycho_plugin.plans.landing import NOT_REACHED
from ptycho_plugin.trajectory import ConcentricRings

SMALL = ConcentricRings(height_um=0.5, width_um=0.5)
POINTS = SMALL.offsets_um()
REPEAT = 3

Interrupt = Callable[[RunEngine], object]


def pause(engine: RunEngine) -> object:
    return engine.loop.create_task(engine._request_pause_coro())


def abort(engine: RunEngine) -> object:
    return engine.loop.create_task(engine._abort_coro("the test says so"))


def stop(engine: RunEngine) -> object:
    return engine.loop.create_task(engine._stop_coro())


def halt(engine: RunEngine) -> object:
    return engine.loop.create_task(engine._halt_coro())


@pytest.fixture
def scan(film: Any) -> Callable[..., Iterator[Msg]]:
    """Return the same call of a new session's; keyword arguments change it."""

    def scan(plan: Any = ptycho_fly_scan, **changes: Any) -> Iterator[Msg]:
        patience = {"patience_s": changes.pop("patience_s", 10.0), "repeat": changes.pop("repeat", REPEAT)}
        guard = DoseGuard(film.beamline, film.ledger, film.region, **patience)
        return plan(film.beamline, **{"trajectory": SMALL, "guard": guard, **changes})

    return scan


@pytest.fixture
def slow(film: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A trajectory that takes its time: 20 ms a gate, and 13 ms to the next."""
    monkeypatch.setattr(film.beamline.scanner._gate, "_time_factor", 1.0)
    monkeypatch.setattr(fly_module, "COLLECT_S", 0.02)


EXPOSURE_S = 0.02


def at_gate(film: Any, number: int) -> Callable[[Msg], bool]:
    """Return whether a message comes when so many gates of the trajectory have ended."""
    scanner, kicked = film.beamline.scanner, []

    def is_it(message: Msg) -> bool:
        kicked.extend([message] if message.command == "kickoff" else [])
        return bool(kicked) and len(scanner.captured) >= number

    return is_it


def scanned(exposures: Exposures) -> Exposures:
    return exposures.where(exposures.kind == "scan")


def assert_in_step(documents: Any) -> None:
    """Every event has its frame, and its position is that of its point."""
    for start in documents.of("start"):
        uids = {doc["uid"] for doc in documents.of("descriptor") if doc["run_start"] == start["uid"]}
        points = ScanMetadata.from_start(start).points
        events = [event for event in documents.events() if event["descriptor"] in uids]
        assert [event["seq_num"] for event in events] == list(range(1, len(events) + 1))
        places = [(event["data"]["encoder_y"], event["data"]["encoder_x"]) for event in events]
        np.testing.assert_allclose(
            np.reshape(places, (-1, 2)), POINTS[list(points)][: len(events)], atol=1e-6
        )
    assert len(documents.frames()) == len(documents.events())


def assert_complete(film: Any, documents: Any) -> None:
    """Every point of the repeat was exposed once, and is in the documents."""
    exposures = scanned(film.assert_told())
    saved = exposures.where(exposures.frame == "saved")
    assert (
        sorted(saved.point)
        == list(range(len(POINTS)))
        == sorted(
            ScanMetadata.from_start(start).points[number]
            for start in documents.of("start")
            for number in range(events_of(documents, start))
        )
    )
    assert film.ledger.scans.progress(film.region, REPEAT).is_complete
    assert_in_step(documents)


def events_of(documents: Any, start: Any) -> int:
    uids = {doc["uid"] for doc in documents.of("descriptor") if doc["run_start"] == start["uid"]}
    return sum(event["descriptor"] in uids for event in documents.events())


def test_a_trajectory_is_in_the_ledger_as_the_sample_received_it(
    engine: RunEngine, film: Any, documents: Any, scan: Any
) -> None:
    engine(scan())
    exposures = film.assert_told()
    ways = exposures.where(exposures.kind == "transit")
    np.testing.assert_allclose(scanned(exposures).start_um, POINTS, atol=1e-6)
    np.testing.assert_allclose(ways.start_um, POINTS[:-1], atol=1e-6)
    np.testing.assert_allclose(ways.end_um, POINTS[1:], atol=1e-6)
    assert ways.open_s == pytest.approx(film.beamline.transits_s(POINTS))
    between = film.beamline.transits_s(POINTS).sum() * film.truth.photons_per_second
    assert ways.photons.sum() == pytest.approx(between, rel=0.1)
    assert_complete(film, documents)
    (event,) = documents.events("dose")
    assert event["data"]["dose_exposures"] == len(POINTS)
    assert event["data"]["dose_photons"] == pytest.approx(exposures.photons.sum())


def test_the_start_document_says_what_it_is(engine: RunEngine, film: Any, documents: Any, scan: Any) -> None:
    engine(scan())
    (start,) = documents.of("start")
    assert start["plan_name"] == "ptycho_fly_scan"
    assert start["hardware_timed"] is True
    (descriptor,) = (doc for doc in documents.of("descriptor") if doc["name"] == "primary")
    (dimension,) = start["hints"]["dimensions"]
    assert {*dimension[0], start["ptycho"]["frame_key"]} < descriptor["data_keys"].keys()
    said = start["preflight"]
    assert said["duration"]["value"] == pytest.approx(
        6 * 0.2 + film.beamline.transits_s(POINTS).sum() + 0.004
    )
    assert said["transit"]["value"] == pytest.approx(film.beamline.transits_s(POINTS).sum() / 1.274, rel=0.01)


def test_without_a_guard_it_scans_too(engine: RunEngine, film: Any, documents: Any) -> None:
    engine(ptycho_fly_scan(film.beamline, trajectory=SMALL))
    assert len(documents.events()) == len(documents.frames()) == len(POINTS)
    assert documents.of("stop")[0]["exit_status"] == "success"


def test_what_may_not_fit_is_refused_with_the_numbers_before_anything_is_armed(
    engine: RunEngine, film: Any, scan: Any
) -> None:
    film.ledger.samples.set_budget(film.region, Budget(dose=17.0e3, material="PMMA", formula="C5H8O2"))
    with pytest.raises(DoseRefusal, match=r"may take region 'A' .* to 18.3\d kGy, from 0 kGy .* and 17 kGy"):
        engine(scan())
    assert film.received == 0
    assert film.beamline.scanner._loaded is None or not film.beamline.scanner._armed
    assert len(film.ledger.exposures(film.region)) == 0
    engine(scan(ptycho_scan))  # point by point there is room


def test_a_trajectory_that_leaves_the_region_is_refused(engine: RunEngine, film: Any, scan: Any) -> None:
    with pytest.raises(DoseRefusal, match=r"which reaches 1.5 um"):
        engine(scan(centre_um=(1.4, 0.0)))
    assert film.received == 0


def test_a_beamline_without_a_scanner_is_told(engine: RunEngine, film: Any) -> None:

    for changes, said in (
        ({"scanner": None}, "has no trajectory scanner"),
        ({"stage_timing": None}, "how fast"),
    ):
        with pytest.raises(InputError, match=said):
            engine(ptycho_fly_scan(replace(film.beamline, **changes), trajectory=SMALL))


def test_another_trajectory_than_the_reserved_one_cannot_start(engine: RunEngine, film: Any) -> None:
    def unreserved() -> Iterator[Msg]:
        yield from bps.open_run()
        yield from bps.prepare(film.beamline.scanner, GatedPoints(POINTS, 0.01), wait=True)
        yield from bps.mv(film.beamline.scanner, "armed")
        yield from bps.kickoff(film.beamline.scanner)

    with pytest.raises(DoseRefusal, match="then open the shutter"):
        engine(DoseGuard(film.beamline, film.ledger, film.region)(unreserved()))
    exposures = film.ledger.exposures(film.region)
    assert set(exposures.status) == {"withdrawn"}


@pytest.mark.usefixtures("slow")
@pytest.mark.parametrize("gate", [0, 1, 3])
def test_a_pause_stops_at_the_next_gate_and_the_rest_is_a_trajectory_of_its_own(
    engine: RunEngine, film: Any, documents: Any, scan: Any, run_until: Any, capsys: Any, gate: int
) -> None:
    with pytest.raises(RunEngineInterrupted):
        run_until(scan(exposure_s=EXPOSURE_S), at_gate(film, gate), pause)
    assert not film.is_open
    assert not film.beamline.scanner.is_running
    assert gate <= len(film.beamline.scanner.captured) <= gate + 2 < len(POINTS)
    assert "a new trajectory goes on with the points that are left" in capsys.readouterr().out
    before = film.received
    time.sleep(0.1)
    assert film.received == before
    engine.resume()
    assert_complete(film, documents)
    assert documents.of("stop")[0]["exit_status"] == "success"


def test_a_pause_at_any_message_exposes_no_point_twice_and_loses_none(
    engine: RunEngine, film: Any, documents: Any, scan: Any, at_random_messages: Any
) -> None:
    for repeat, at in at_random_messages(scan, pause, seed=5):
        assert not film.is_open, f"the shutter is open in a pause at message {at}"
        if engine.state == "paused":
            engine.resume()
        assert film.ledger.scans.progress(film.region, repeat).done == tuple(range(len(POINTS))), at
    film.assert_told()
    assert_in_step(documents)


@pytest.mark.usefixtures("slow")
def test_a_suspender_waits_with_the_shutter_closed(
    engine: RunEngine, film: Any, documents: Any, scan: Any, run_until: Any
) -> None:
    while_suspended = []

    async def beam_is_back() -> None:
        while_suspended.append((film.is_open, film.beamline.scanner.is_running))

    run_until(
        scan(exposure_s=EXPOSURE_S), at_gate(film, 2), lambda engine: engine.request_suspend(beam_is_back)
    )
    assert while_suspended == [(False, False)]
    assert_complete(film, documents)


@pytest.mark.usefixtures("slow")
@pytest.mark.parametrize("end", [abort, stop])
@pytest.mark.parametrize("first", [ptycho_fly_scan, ptycho_scan])
def test_the_same_call_goes_on_point_by_point_or_in_one_go(
    engine: RunEngine, film: Any, documents: Any, scan: Any, run_until: Any, end: Interrupt, first: Any
) -> None:
    second = ptycho_scan if first is ptycho_fly_scan else ptycho_fly_scan
    triggers = iter(range(100))
    third_step = lambda message: (  # noqa: E731
        message.command == "trigger" and message.obj is film.beamline.detector and next(triggers) == 2
    )
    at = at_gate(film, 3) if first is ptycho_fly_scan else third_step
    with pytest.raises(RunEngineInterrupted):
        run_until(scan(first, exposure_s=EXPOSURE_S), at, end)
    film.assert_told()
    progress = film.ledger.scans.progress(film.region, REPEAT)
    assert 3 <= len(progress.done) < len(POINTS)
    assert progress.lost == progress.uncertain == ()
    stage = film.beamline.stage
    assert (stage.y.position, stage.x.position) == (-film.region.reach_um, 0.0)
    engine(scan(second, exposure_s=EXPOSURE_S))
    assert_complete(film, documents)


def test_an_abort_at_any_message_goes_on_and_loses_nothing(
    engine: RunEngine, film: Any, documents: Any, scan: Any, at_random_messages: Any
) -> None:
    for repeat, at in at_random_messages(scan, abort, seed=6):
        assert engine.state == "idle"
        assert engine.rewindable
        progress = film.ledger.scans.progress(film.region, repeat)
        assert progress.lost == progress.uncertain == (), f"after message {at}"
        if not progress.is_complete:
            engine(scan(repeat=repeat))
        assert film.ledger.scans.progress(film.region, repeat).done == tuple(range(len(POINTS))), at
    film.assert_told()
    assert_in_step(documents)


@pytest.mark.usefixtures("slow")
def test_a_halt_stops_the_trajectory_and_counts_what_it_did(
    engine: RunEngine, film: Any, scan: Any, run_until: Any
) -> None:
    with pytest.raises(RunEngineInterrupted):
        run_until(scan(exposure_s=EXPOSURE_S), at_gate(film, 2), halt)
    engine.rewindable = True  # which a halt leaves as the guard had it
    assert not film.beamline.scanner.is_running
    exposures = film.assert_told()
    assert NOT_REACHED in exposures.reason
    assert scanned(exposures).where(scanned(exposures).status == "done").point.tolist()[:2] == [0, 1]


@pytest.mark.usefixtures("slow")
def test_a_halt_stops_the_trajectory_also_where_the_shutter_does_not_answer(
    film: Any, scan: Any, run_until: Any, monkeypatch: pytest.MonkeyPatch, engine: RunEngine
) -> None:
    def halt_deaf(engine: RunEngine) -> object:
        monkeypatch.setattr(film.beamline.shutter, "set", Mock(side_effect=DeviceError("not connected")))
        return halt(engine)

    with pytest.raises((RunEngineInterrupted, DeviceError)):
        run_until(scan(exposure_s=EXPOSURE_S), at_gate(film, 2), halt_deaf)
    engine.rewindable = True  # which a halt leaves as the guard had it
    assert not film.beamline.scanner.is_running
    assert "under way" in film.ledger.exposures(film.region).status, "nobody knows what came since"


@pytest.mark.usefixtures("slow")
def test_a_trajectory_that_is_late_has_its_shutter_closed(
    engine: RunEngine, film: Any, documents: Any, scan: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    shine = film.beamline.scanner._gate.shine
    monkeypatch.setattr(
        film.beamline.scanner._gate,
        "shine",
        lambda seconds, start, *rest: shine(seconds if start == tuple(POINTS[0]) else 5.0, start, *rest),
    )
    with pytest.raises(StalledPlanError, match=r"closed on a trajectory that was 0.5 s late"):
        engine(scan(exposure_s=EXPOSURE_S, patience_s=0.5))
    exposures = film.assert_told()
    ways = exposures.where((exposures.kind == "transit") & (exposures.status == "done"))
    assert 0.02 < ways.open_s.max() < 2.0
    assert film.ledger.scans.progress(film.region, REPEAT).left
    assert documents.of("stop")[0]["exit_status"] == "fail"
    assert_in_step(documents)


@pytest.mark.usefixtures("slow")
@pytest.mark.parametrize("missing", [0, 2, 5])
def test_a_frame_that_is_missing_shifts_none_against_its_position(
    engine: RunEngine, film: Any, documents: Any, scan: Any, monkeypatch: pytest.MonkeyPatch, missing: int
) -> None:
    monkeypatch.setattr(fly_module, "FRAME_LATE_S", 0.2)
    numbers, append = iter(range(100)), FrameFile.append

    def drop(file: FrameFile, frame: Any) -> None:
        if next(numbers) != missing:
            append(file, frame)

    monkeypatch.setattr(FrameFile, "append", drop)
    with pytest.raises(LostFrameError, match=r"6 gates, and the detector wrote 5 frames: after the first"):
        engine(scan(exposure_s=0.06))
    (done,) = documents.of("stop")
    assert done["exit_status"] == "fail"
    assert "6 gates, and the detector wrote 5 frames" in done["reason"]
    assert len(documents.events()) <= missing
    assert_in_step(documents)
    (rest,) = documents.events("unmatched")
    assert len(documents.events()) + len(rest["data"]["encoder_y"]) == len(POINTS)
    exposures = scanned(film.assert_told())
    saved = len(documents.events())
    assert exposures.frame.tolist() == ["saved"] * saved + ["lost"] * (len(POINTS) - saved)


def test_a_frame_too_many_is_no_frame_of_the_scan(
    engine: RunEngine, film: Any, documents: Any, scan: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fly_module, "FRAME_LATE_S", 0.2)
    numbers, append = iter(range(100)), FrameFile.append

    def twice(file: FrameFile, frame: Any) -> None:
        append(file, frame)
        if next(numbers) == 0:
            append(file, frame)

    monkeypatch.setattr(FrameFile, "append", twice)
    with pytest.raises(LostFrameError, match=r"6 gates, and the detector wrote 7 frames"):
        engine(scan())
    assert not documents.events()
    assert set(scanned(film.assert_told()).frame) == {"lost"}


def test_a_gate_that_is_cut_stays_uncertain_and_the_rest_was_not_exposed(
    engine: RunEngine, film: Any, documents: Any, scan: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, numbers = film.beamline.shutter._world, iter(range(100))
    expose = world.expose

    def dies(exposure_s: float) -> Any:
        if next(numbers) == 3:
            raise RuntimeError("the camera died")
        return expose(exposure_s)

    monkeypatch.setattr(world, "expose", dies)
    with pytest.raises(FailedStatus):
        engine(scan())
    assert documents.of("stop")[0]["reason"] == "the camera died"
    exposures = film.ledger.exposures(film.region)
    assert scanned(exposures).status.tolist()[:3] == ["done"] * 3
    assert scanned(exposures).status.tolist()[4:] == ["withdrawn"] * 2
    assert scanned(exposures).status[3] not in ("done", "withdrawn")
    assert exposures.photons.sum() > film.received
    assert film.ledger.scans.progress(film.region, REPEAT).uncertain == (3,)
    assert len(documents.events()) == 3
    assert_in_step(documents)


def test_a_scanner_that_does_not_say_leaves_all_uncertain_at_its_upper_bound(
    engine: RunEngine, film: Any, scan: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def silent(scanner: Any) -> Any:
        raise TimeoutError("no answer")

    monkeypatch.setattr(type(film.beamline.scanner), "captured", property(silent))
    with pytest.raises(TimeoutError):
        engine(scan())
    exposures = film.ledger.exposures(film.region)
    assert set(exposures.status) == {"under way"}
    assert exposures.photons.sum() > film.received
    assert not film.is_open


def test_a_plan_that_is_only_looked_at_flies_nothing(film: Any) -> None:
    plan = ptycho_fly_scan(film.beamline, trajectory=SMALL)
    assert {message.command for message in plan} >= {"open_run", "close_run"}
    assert film.received == 0


KILLED = """
import os, signal, sys
from bluesky import RunEngine
from ptycho_plugin.devices import simulated_beamline
from ptycho_plugin.ledger import Ledger
from ptycho_plugin.geometry import Geometry
from ptycho_plugin.optics import ZonePlate
from ptycho_plugin.plans import DoseGuard, ptycho_fly_scan
from ptycho_plugin.trajectory import ConcentricRings

_, folder, path, calibration, geometry, optic = sys.argv
geometry, optic = Geometry.model_validate_json(geometry), ZonePlate.model_validate_json(optic)
beamline = simulated_beamline(folder, time_factor=1, geometry=geometry, optic=optic)
beamline.flux.calibration.set(calibration).wait(5)
for axis, value in zip((beamline.coarse.y, beamline.coarse.x), beamline.place_um("sample")):
    axis.set(value).wait(5)
ledger = Ledger(path)
(region,) = ledger.samples.regions("film")
guard = DoseGuard(beamline, ledger, region, repeat=3)
engine = RunEngine()

def kill(message):
    if message.command == "sleep" and ledger.exposures(region).status.tolist().count("done") >= 2:
        print(beamline.shutter._world.photons_on_sample, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)

engine.msg_hook = kill
small = ConcentricRings(height_um=0.5, width_um=0.5)
engine(ptycho_fly_scan(beamline, trajectory=small, exposure_s=0.2, guard=guard))
"""


def test_a_killed_process_leaves_uncertain_what_nobody_knows(
    engine: RunEngine, film: Any, documents: Any, scan: Any, tmp_path: Path
) -> None:
    arguments = [
        tmp_path / "frames",
        tmp_path / "film.ledger",
        film.calibration().model_dump_json(),
        film.beamline.geometry.model_dump_json(),
        film.beamline.optic.model_dump_json(),
    ]
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, *map(str, arguments)], capture_output=True, text=True, timeout=120
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    received = float(killed.stdout.splitlines()[-1])
    exposures = film.ledger.exposures(film.region)
    progress = film.ledger.scans.progress(film.region, REPEAT)
    assert set(exposures.status) == {"done", "uncertain"}
    assert len(progress.done) >= 2
    assert sorted((*progress.done, *progress.uncertain)) == list(range(len(POINTS)))
    assert exposures.photons.sum() > received
    with pytest.raises(DoseRefusal, match="or again=True for points"):
        engine(scan())
    engine(scan(again=True))
    assert film.ledger.scans.progress(film.region, REPEAT).done == tuple(range(len(POINTS)))
    assert len(documents.events()) == len(progress.uncertain)


@pytest.mark.usefixtures("slow")
def test_frames_and_positions_are_there_while_it_runs(engine: RunEngine, film: Any, scan: Any) -> None:
    run, during = RunDocuments(), []

    def join(name: str, document: Any) -> None:
        exposures = run.add(name, document)
        if film.beamline.scanner.is_running:
            during.extend(exposures)

    engine.subscribe(join)
    engine(scan(exposure_s=0.1))
    assert len(during) >= 2
    assert run.missing == run.repeated == 0
    assert [exposure.frame for exposure in during] == list(range(len(during)))
