"""What arrives late, broken or never while a run is followed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from ptycho_plugin.errors import InputError
from ptycho_plugin.geometry import Geometry
from ptycho_plugin.live import intake as module
from ptycho_plugin.live.frame_files import FrameFiles
from ptycho_plugin.live.intake import LATE_PAUSES_S, Intake
from ptycho_plugin.live.spool import SpoolWriter
from ptycho_plugin.metadata import ScanMetadata
from ptycho_plugin.optics import ZonePlate
from ptycho_plugin.trajectory import ConcentricRings

SCAN = ScanMetadata(
    geometry=Geometry(energy_eV=6200, distance=2.0, detector_pixel=172e-6, frame_side=8),
    beam_centre_px=(5, 5),
    frame_key="image",
    position_keys=("y", "x"),
    trajectory=ConcentricRings(),
    exposure_s=0.1,
    probe=ZonePlate(),
)
START = {"uid": "run", "time": 0.0, **SCAN.to_start()}
EVENT = {"descriptor": "d", "seq_num": [1], "time": [0.5], "data": {"y": [1.0], "x": [2.0]}}


class Run:
    """A run of one exposure, spooled, whose frame may come later."""

    def __init__(self, folder: Path) -> None:
        self.warnings: list[str] = []
        self.spool = SpoolWriter(folder)
        self.path = folder / "frames.h5"
        self.files = FrameFiles(folder)
        self.intake = Intake(folder, self.files, None, self._report)  # type: ignore[arg-type] # no mask

    def _report(self, *, warning: str, **_: Any) -> None:
        self.warnings.append(warning)

    def spool_all(self, event: dict[str, Any] = EVENT) -> None:
        uri = f"file://localhost{self.path}"
        resource = {"uid": "r", "data_key": "image", "uri": uri, "parameters": {"dataset": "/data"}}
        numbers = {"indices": {"start": 0, "stop": 1}, "seq_nums": {"start": 1, "stop": 2}}
        for name, document in (
            ("start", START),
            ("descriptor", {"uid": "d", "data_keys": {"y": {}, "x": {}, "image": {}}}),
            ("stream_resource", resource),
            ("stream_datum", {"stream_resource": "r", **numbers}),
            ("event_page", event),
            ("stop", {"exit_status": "success"}),
        ):
            self.spool.append(name, document)

    def write_frame(self) -> None:
        with h5py.File(self.path, "w", libver="latest") as file:
            file["/data"] = np.ones((1, 10, 10), np.int32)


@pytest.fixture
def run(tmp_path: Path) -> Any:
    run = Run(tmp_path)
    with run.files:
        yield run
    run.spool.close()


@pytest.fixture
def sleep(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[float], None]], None]:
    return lambda function: monkeypatch.setattr(module.time, "sleep", function)


def test_a_frame_that_becomes_readable_after_the_stop_is_taken(run: Run, sleep: Any) -> None:
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            run.write_frame()

    sleep(pause)
    run.spool_all()
    assert run.intake.take() is None
    (late,) = run.intake.take_late()
    assert len(late) == 1
    assert pauses == list(LATE_PAUSES_S[:3])
    assert run.intake.counts["missing"] == 0
    assert run.warnings == []


def test_a_frame_that_never_comes_is_missing_and_told(run: Run, sleep: Any) -> None:
    sleep(lambda seconds: None)
    run.spool_all()
    assert run.intake.take() is None
    assert list(run.intake.take_late()) == []
    assert run.intake.counts["missing"] == 1
    assert len(run.warnings) == 1
    assert "1 frames could not be read" in run.warnings[0]
    assert "frames.h5" in run.warnings[0]


def test_the_batch_that_comes_with_the_stop_is_taken(run: Run) -> None:
    run.write_frame()
    run.spool_all()
    taken = run.intake.take()
    assert taken is not None
    assert len(taken) == 1
    assert run.intake.run.stop is not None


def test_documents_that_cannot_be_used_are_counted_and_warned_of_once(run: Run) -> None:
    run.write_frame()
    run.spool_all(event={**EVENT, "data": {"y": [1.0, 2.0], "x": [2.0]}})
    run.spool.append("event_page", {**EVENT, "seq_num": [1, 2]})
    run.spool.append("event_page", EVENT)
    taken = run.intake.take()
    assert taken is not None
    assert len(taken) == 1
    assert run.intake.counts["malformed"] == 2
    assert len(run.warnings) == 1
    assert "event_page document" in run.warnings[0]


@pytest.mark.parametrize("start", [{}, {"uid": "run", "ptycho": {"geometry": 3}}])
def test_an_unusable_start_document_ends_it(run: Run, start: dict[str, Any]) -> None:
    run.spool.append("start", start)
    with pytest.raises(InputError, match="run"):
        run.intake.take()


def test_frames_of_the_runs_that_it_continues_are_taken_too(tmp_path: Path) -> None:
    first = Run(tmp_path / "first")
    with first.files:
        first.spool_all()
        first.write_frame()
    first.spool.close()
    warnings: list[str] = []
    scan = SCAN.model_copy(update={"continues": ("first", "gone"), "points": (1,)})
    second = SpoolWriter(tmp_path / "second")
    second.append("start", {"uid": "second", "time": 0.0, **scan.to_start()})
    second.close()
    with FrameFiles(tmp_path) as files:
        report = lambda *, warning, **_: warnings.append(warning)  # noqa: E731
        taken = Intake(tmp_path / "second", files, None, report).take()  # type: ignore[arg-type] # no mask
    assert taken is not None
    np.testing.assert_allclose(taken.positions, [[1e-6, 2e-6]])
    assert len(warnings) == 1
    assert "frames of run gone, which this one continues, are left out" in warnings[0]
