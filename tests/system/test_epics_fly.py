"""Hardware-timed scans over Channel Access: what the twin says the sample received, the ledger says."""

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bluesky import RunEngine
from bluesky.utils import FailedStatus, Msg, RunEngineInterrupted

from ptycho_plugin.errors import LostFrameError
from ptycho_plugin.live.frame_files import FrameFiles
from ptycho_plugin.plans import fly as fly_module
from ptycho_plugin.plans import ptycho_fly_scan
from ptycho_plugin.trajectory import ConcentricRings

SMALL = ConcentricRings(height_um=0.9, width_um=0.9)
POINTS = SMALL.offsets_um()
EXPOSURE_S = 0.06
FAR_UM = 40.0
"""From the first point."""


pytestmark = pytest.mark.usefixtures("healthy")


def fly(guarded: Any) -> Iterator[Msg]:
    return guarded.scan(SMALL, EXPOSURE_S, plan=ptycho_fly_scan)


def assert_told(guarded: Any, line: Any, run_documents: Any, before: float) -> Any:
    """The ledger's photons of the last run are those that the sample received."""
    assert line.get("SHUTTER:STATUS") == 0
    exposures = guarded.ledger.exposures_of_run(run_documents.run.start["uid"])
    told, sigma = exposures.photons.sum(), exposures.photons_uncertainty.sum()
    assert set(exposures.status) <= {"done", "withdrawn"}
    assert abs(told - (line.get("TWIN:PHOTONS") - before)) <= 3 * sigma
    return exposures.where(exposures.kind == "scan")


def assert_in_step(run_documents: Any) -> None:
    """Each frame has the position of its point."""
    planned = POINTS[list(run_documents.run.scan.points)]
    places = np.reshape([exposure.stage_um for exposure in run_documents.joined], (-1, 2))
    np.testing.assert_allclose(places, planned[: len(places)], atol=0.01)
    assert [exposure.frame for exposure in run_documents.joined] == list(range(len(places)))


def at_gate(wired: Any, number: int, interrupt: Callable[[], object]) -> Callable[[Msg], None]:
    """Interrupt once so many gates of the trajectory have ended."""
    kicked: list[bool] = []

    def hook(message: Msg) -> None:
        kicked.extend([True] if message.command == "kickoff" else [])
        if kicked and len(wired.scanner.captured) >= number:
            kicked.clear()
            interrupt()

    return hook


def test_a_trajectory_over_the_wire_is_told_as_the_twin_counts_it(
    engine: RunEngine,
    wired: Any,
    guarded: Any,
    line: Any,
    run_documents: Any,
) -> None:
    before = line.get("TWIN:PHOTONS")
    engine(fly(guarded))
    exposures = assert_told(guarded, line, run_documents, before)
    assert set(exposures.frame) == {"saved"}
    assert guarded.ledger.scans.progress(guarded.region, 1).is_complete
    assert len(run_documents.joined) == len(POINTS)
    assert_in_step(run_documents)
    (uri, dataset, _, _), *_ = run_documents.joined
    with FrameFiles(Path("/")) as files:
        sums = [
            files.read(uri, dataset, index, (slice(None), slice(None))).clip(0).sum()
            for index in range(len(POINTS))
        ]
    assert np.array(sums) == pytest.approx(np.full(len(POINTS), sums[0]), rel=0.1)
    assert wired.detector.cam.trigger_mode.get(as_string=True) == "Internal"  # as it was found


def test_a_pause_over_the_wire_stops_before_the_next_gate(
    engine: RunEngine,
    wired: Any,
    guarded: Any,
    line: Any,
    run_documents: Any,
) -> None:
    before = line.get("TWIN:PHOTONS")
    engine.msg_hook = at_gate(wired, 2, lambda: engine.loop.create_task(engine._request_pause_coro()))
    with pytest.raises(RunEngineInterrupted):
        engine(fly(guarded))
    engine.msg_hook = None
    assert line.get("SHUTTER:STATUS") == 0
    assert 2 <= len(wired.scanner.captured) < len(POINTS)
    in_pause = line.get("TWIN:PHOTONS")
    time.sleep(0.2)
    assert line.get("TWIN:PHOTONS") == in_pause
    engine.resume()
    assert_told(guarded, line, run_documents, before)
    assert guarded.ledger.scans.progress(guarded.region, 1).done == tuple(range(len(POINTS)))
    assert len(run_documents.joined) == len(POINTS)
    assert_in_step(run_documents)


def test_a_pause_on_the_way_to_the_first_point_is_no_failure(
    engine: RunEngine, wired: Any, guarded: Any, line: Any, run_documents: Any
) -> None:
    engine(fly(guarded))  # whose gates are not those of the next one

    def pause_on_the_way(message: Msg) -> None:
        if message.command == "set" and message.obj is wired.scanner:
            engine.msg_hook = None
            pause = lambda: engine.loop.create_task(engine._request_pause_coro())  # noqa: E731
            moves = lambda: abs(line.get("PIEZO:Y:RBV")) < FAR_UM  # noqa: E731
            line.when(moves, lambda: engine.loop.call_soon_threadsafe(pause))

    line.put("PIEZO:Y:SET", -FAR_UM)
    before = line.get("TWIN:PHOTONS")
    engine.msg_hook = pause_on_the_way
    with pytest.raises(RunEngineInterrupted):
        engine(guarded.scan(SMALL, EXPOSURE_S, plan=ptycho_fly_scan, repeat=2))
    assert line.text("TRAJ:STATE") == "Aborted"
    engine.resume()
    assert_told(guarded, line, run_documents, before)
    assert guarded.ledger.scans.progress(guarded.region, 2).done == tuple(range(len(POINTS)))
    assert_in_step(run_documents)


def test_a_long_way_to_the_first_point_is_waited_for(
    engine: RunEngine, wired: Any, guarded: Any, line: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules[type(wired.scanner).__module__], "LATE_S", 0.1)
    line.put("PIEZO:Y:SET", -FAR_UM)
    engine(fly(guarded))
    assert guarded.ledger.scans.progress(guarded.region, 1).is_complete


def test_what_somebody_else_aborts_is_not_started_again(
    engine: RunEngine, wired: Any, guarded: Any, line: Any, run_documents: Any
) -> None:
    before = line.get("TWIN:PHOTONS")
    engine.msg_hook = at_gate(wired, 2, lambda: line.put("TRAJ:ABORT", 1))
    with pytest.raises(FailedStatus):
        engine(fly(guarded))
    engine.msg_hook = None
    assert "PTYCHO:TRAJ is in state Aborted: aborted before point" in run_documents.stop["reason"]
    assert_told(guarded, line, run_documents, before)
    assert 2 <= len(run_documents.joined) < len(POINTS)
    assert_in_step(run_documents)


@pytest.mark.parametrize("fault", ["miss_trigger", "drop_frame"])
def test_a_frame_that_is_missing_over_the_wire_shifts_none(
    engine: RunEngine,
    wired: Any,
    guarded: Any,
    line: Any,
    run_documents: Any,
    fault: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fly_module, "FRAME_LATE_S", 1.0)
    before = line.get("TWIN:PHOTONS")
    engine.msg_hook = at_gate(wired, 2, lambda: line.put("TWIN:FAULT", fault))
    said = f"{len(POINTS)} gates, and the detector wrote {len(POINTS) - 1} frames"
    with pytest.raises(LostFrameError, match=said):
        engine(fly(guarded))
    engine.msg_hook = None
    assert run_documents.stop["exit_status"] == "fail"
    assert said in run_documents.stop["reason"]
    exposures = assert_told(guarded, line, run_documents, before)
    assert set(exposures.frame) <= {"saved", "lost"}
    assert len(run_documents.joined) == np.count_nonzero(exposures.frame == "saved") < len(POINTS)
    assert_in_step(run_documents)


def test_a_stage_that_stalls_in_mid_path_ends_the_run_in_the_dark(
    engine: RunEngine,
    wired: Any,
    guarded: Any,
    line: Any,
    run_documents: Any,
) -> None:
    before = line.get("TWIN:PHOTONS")
    engine.msg_hook = at_gate(wired, 2, lambda: line.put("TWIN:FAULT", "stall PIEZO:Y"))
    with pytest.raises(Exception, match="Status"):
        engine(fly(guarded))
    engine.msg_hook = None
    assert "PIEZO:Y did not arrive at point" in run_documents.stop["reason"]
    assert line.get("SHUTTER:STATUS") == 0
    exposures = guarded.ledger.exposures_of_run(run_documents.run.start["uid"])
    assert exposures.photons.sum() > line.get("TWIN:PHOTONS") - before
    progress = guarded.ledger.scans.progress(guarded.region, 1)
    assert len(progress.done) >= 2
    assert progress.left
    assert_in_step(run_documents)
    line.put("TWIN:FAULT", "none")
    engine(fly(guarded))
    progress = guarded.ledger.scans.progress(guarded.region, 1)
    assert sorted((*progress.done, *progress.uncertain, *progress.lost)) == list(range(len(POINTS)))
    assert_in_step(run_documents)
