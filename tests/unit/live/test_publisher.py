"""When maps are shown, and that no result is lost with Tiled."""

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from ptycho_plugin.dataset import PtychoDataset
from ptycho_plugin.errors import DivergenceError, PublishingError
from ptycho_plugin.io.atomic import KeptFile
from ptycho_plugin.live import publisher as module
from ptycho_plugin.live.publisher import RESULT_FILE, Publisher
from ptycho_plugin.reconstruction.options import ReconstructionOptions
from ptycho_plugin.reconstruction.result import Result
from ptycho_plugin.reconstruction.whole_scan import reconstruct


class Writer:
    """Takes results, until Tiled is gone."""

    path = "reconstructions/run"
    file: KeptFile | None = None

    def __init__(self) -> None:
        self.live: list[Result] = []
        self.error: Exception | None = None
        self.attempts = 0
        self.said: tuple[Any, str] = {}, ""

    def provenance(self, result: Result) -> dict[str, Any]:
        return {"source": {"run_uid": "run"}}

    def write_live(self, result: Result) -> None:
        self.write_final(result, {})
        self.live.append(result)

    def write_final(self, result: Result, md: Any, status: str = "final") -> None:
        self.attempts += 1
        self.said = md, status
        if self.error:
            raise self.error


GONE = PublishingError("Tiled is gone")


class Reports(list[dict[str, Any]]):
    def __call__(self, **message: Any) -> None:
        self.append(message)


@pytest.fixture
def result(small_scan: PtychoDataset) -> Result:
    options = ReconstructionOptions(difference_map_iterations=1, maximum_likelihood_iterations=1)
    return reconstruct(small_scan, options)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def test_maps_come_every_few_seconds_and_the_first_at_once(
    tmp_path: Path, result: Result, clock: list[float]
) -> None:
    writer, reports = Writer(), Reports()
    publisher = Publisher(writer, tmp_path, reports, started=0.0)  # type: ignore[arg-type] # a fake
    for seconds in (0.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0):
        clock[0] += seconds
        publisher.show(lambda: result)
    assert len(writer.live) == 3
    assert [list(report["outcome"]) for report in reports] == [["first_map_s"]]


@pytest.mark.parametrize("error", [GONE, ValueError("no JSON"), KeyError("status")])
def test_without_tiled_the_work_goes_on_and_the_result_is_kept(
    tmp_path: Path, result: Result, clock: list[float], error: Exception
) -> None:
    writer, reports = Writer(), Reports()
    writer.error = error
    publisher = Publisher(writer, tmp_path, reports, started=0.0)  # type: ignore[arg-type] # a fake
    for _ in range(3):
        clock[0] += 10
        publisher.show(lambda: result)
    assert [list(report) for report in reports] == [["warning"]]
    with pytest.raises(PublishingError, match=RESULT_FILE):
        publisher.finish(result, {})
    with h5py.File(tmp_path / RESULT_FILE) as file:
        np.testing.assert_array_equal(file["object"], result.object)
        assert json.loads(file["provenance"][()]) == writer.provenance(result)


def test_a_result_that_its_file_holds_is_not_written_twice(tmp_path: Path, result: Result) -> None:
    writer = Writer()
    writer.error, writer.file = GONE, KeptFile(tmp_path / "run.0123.h5", "0123", 4)
    publisher = Publisher(writer, tmp_path, Reports(), started=0.0)  # type: ignore[arg-type] # a fake
    with pytest.raises(PublishingError, match=r"Tiled is gone; the final result is in .*run\.0123\.h5"):
        publisher.finish(result, {})
    assert not (tmp_path / RESULT_FILE).exists()


def test_what_was_good_before_a_divergence_is_kept(tmp_path: Path, result: Result) -> None:
    writer = Writer()
    publisher = Publisher(writer, tmp_path, Reports(), started=0.0)  # type: ignore[arg-type] # a fake
    diverged = DivergenceError("it diverged", result)
    assert publisher.keep(diverged) == "the last good state is in Tiled, reconstructions/run"
    assert writer.said == ({"error": "it diverged"}, "diverged")
    writer.error = GONE
    assert publisher.keep(diverged) == f"Tiled is gone; the diverged result is in {tmp_path / RESULT_FILE}"
    with h5py.File(tmp_path / RESULT_FILE) as file:
        np.testing.assert_array_equal(file["object"], result.object)


def test_tiled_that_comes_back_takes_the_final_result(
    tmp_path: Path, result: Result, clock: list[float]
) -> None:
    writer = Writer()
    writer.error = GONE
    publisher = Publisher(writer, tmp_path, Reports(), started=0.0)  # type: ignore[arg-type] # a fake
    publisher.show(lambda: result)
    writer.error = None
    assert publisher.finish(result, {}) == "reconstructions/run"
    assert not (tmp_path / RESULT_FILE).exists()


def test_failed_maps_are_tried_again_after_growing_pauses_with_one_warning_a_streak(
    tmp_path: Path, result: Result, clock: list[float]
) -> None:
    writer, reports = Writer(), Reports()
    writer.error = GONE
    publisher = Publisher(writer, tmp_path, reports, started=0.0)  # type: ignore[arg-type] # a fake

    def attempts(seconds: int) -> int:
        before = writer.attempts
        for _ in range(seconds):
            publisher.show(lambda: result)
            clock[0] += 1
        return writer.attempts - before

    assert attempts(300) == 8  # at 0, 6, 18, 42, 90, 150, 210, 270 s
    assert [list(report) for report in reports] == [["warning"]]
    writer.error = None
    assert attempts(60) > 1
    assert list(reports[-1]["outcome"]) == ["first_map_s"]
    writer.error = GONE
    attempts(10)
    assert [list(report) for report in reports] == [["warning"], ["outcome"], ["warning"]]
