"""Whatever arrives, the RunEngine hears of no error."""

from pathlib import Path
from typing import Any

import pytest

from ptycho_plugin.callbacks import LiveReconstruction
from ptycho_plugin.errors import InputError

START = {"uid": "run-1", "time": 0.0, "ptycho": {"purpose": "scan"}}


@pytest.fixture
def live(tmp_path: Path) -> LiveReconstruction:
    return LiveReconstruction("http://127.0.0.1:9/api/v1?api_key=0secret0", tmp_path / "spool", tmp_path)


@pytest.mark.parametrize(
    ("name", "document"),
    [
        ("descriptor", {"uid": "d", "run_start": "subscribed too late", "data_keys": {}}),
        ("start", {"time": 0.0}),
    ],
)
def test_nothing_is_raised_into_the_scan(
    live: LiveReconstruction, caplog: pytest.LogCaptureFixture, name: str, document: dict[str, Any]
) -> None:
    live(name, document)
    assert "could not be handled" in caplog.text
    with pytest.raises(
        InputError, match=r"^no scan was started since this LiveReconstruction was subscribed: "
    ):
        live.wait()


@pytest.mark.parametrize("uid", ["run-2", "../elsewhere"])
def test_a_worker_that_could_not_start_is_told_and_not_the_run_before(
    live: LiveReconstruction, tmp_path: Path, caplog: pytest.LogCaptureFixture, uid: str
) -> None:
    live("start", START)
    live("stop", {"uid": "s", "run_start": "run-1"})
    (tmp_path / "spool" / "run-2").write_text("a file where the folder should be")
    live("start", {**START, "uid": uid})
    assert "could not be handled" in caplog.text
    outcome = live.wait()
    assert outcome.uid == uid
    assert outcome.error is not None
    assert "could not be started" in outcome.error
    assert live.wait("run-1", timeout=60).uid == "run-1"
    with pytest.raises(
        InputError, match=r"^run run-0 is no scan that this LiveReconstruction has seen: give one of run-1, "
    ):
        live.wait("run-0")


def test_a_document_that_cannot_be_spooled_is_told(live: LiveReconstruction) -> None:
    live("start", START)
    live("stop", {"uid": "s", "run_start": "run-1", "odd": object()})
    outcome = live.wait(timeout=60)
    assert any("did not reach the worker" in warning for warning in outcome.warnings)
    assert outcome.error is not None


def test_a_failing_on_progress_is_not_called_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    calls: list[Any] = []

    def show(progress: Any) -> None:
        calls.append(progress)
        raise ZeroDivisionError

    live = LiveReconstruction("http://127.0.0.1:9/api/v1", tmp_path / "spool", tmp_path, on_progress=show)
    live("start", START)
    feed = live._feeds["run-1"]
    for _ in range(3):
        feed._hear(progress={"engine": "e", "iteration": 1, "iterations": 2, "frames": 3, "error": 0.1})
    live("stop", {"uid": "s", "run_start": "run-1"})
    live.wait(timeout=60)
    assert len(calls) == 1
    assert "on_progress failed" in caplog.text


def test_the_key_is_not_shown(live: LiveReconstruction) -> None:
    live("start", START)
    process = live._feeds["run-1"]._process
    assert not any("0secret0" in str(argument) for argument in process.args)  # type: ignore[union-attr] # a list
    assert "0secret0" not in repr(live) + repr(live._settings)
    live("stop", {"uid": "s", "run_start": "run-1"})
    live.wait(timeout=60)
