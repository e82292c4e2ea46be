"""What a RunEngine's side of the live reconstruction says and hides, without Tiled."""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from ptycho_plugin.callbacks import LiveReconstruction
from ptycho_plugin.callbacks.live_reconstruction import LOG_NAME
from ptycho_plugin.errors import InputError
from ptycho_plugin.live.outcome import OUTCOME_NAME
from ptycho_plugin.live.service import ALONE, LOCK_NAME

NOWHERE = "http://127.0.0.1:9/api/v1?api_key=0secret0"
PROGRESS = {"engine": "e", "iteration": 1, "iterations": 2, "frames": 3, "error": 0.1}
START = {"uid": "run-1", "time": 0.0, "ptycho": {"purpose": "scan"}}
STOP = {"uid": "s", "run_start": "run-1", "time": 1.0, "exit_status": "success"}


@pytest.fixture
def live(tmp_path: Path) -> Iterator[LiveReconstruction]:
    with LiveReconstruction(NOWHERE, tmp_path / "spool", tmp_path) as live:
        yield live


def test_a_run_is_waited_for_by_name(live: LiveReconstruction) -> None:
    with pytest.raises(
        InputError, match=r"^no scan was started since this LiveReconstruction was subscribed: "
    ):
        live.wait()
    live("start", START)
    live("stop", STOP)
    with pytest.raises(InputError, match=r"^run run-0 is none .* has seen: give one of run-1$"):
        live.wait("run-0")
    with pytest.raises(TimeoutError, match=r"^run run-1 is not done after 0 s$"):
        live.wait(timeout=0)
    live._hear("run-1", outcome={"uid": "run-1", "frames": 7, "warnings": ["w"]})
    assert (live.wait().frames, live.wait("run-1").warnings) == (7, ("w",))


def test_a_failing_on_progress_is_not_called_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    calls: list[Any] = []

    def show(progress: Any) -> None:
        calls.append(progress)
        raise ZeroDivisionError

    with LiveReconstruction(NOWHERE, tmp_path / "spool", tmp_path, on_progress=show) as live:
        for _ in range(3):
            live._hear("run-1", progress=PROGRESS)
    assert len(calls) == 1
    assert "on_progress failed" in caplog.text


def test_the_key_is_not_shown(live: LiveReconstruction) -> None:
    shown = Path(f"/proc/{live._service.pid}/cmdline").read_text() + repr(live) + repr(vars(live)["_command"])
    assert "live.service" in shown
    assert "0secret0" not in shown


def test_a_service_that_is_killed_is_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    again = Event()
    started = LiveReconstruction._started
    with LiveReconstruction(NOWHERE, tmp_path / "spool", tmp_path) as live:
        first = live._service.pid

        def see(self: LiveReconstruction) -> Any:
            process = started(self)
            again.set()
            return process

        monkeypatch.setattr(LiveReconstruction, "_started", see)
        os.kill(first, signal.SIGKILL)
        assert again.wait(60)
    assert "ended with status -9 and is started again" in caplog.text
    assert live._service.pid != first
    assert live._service.poll() is not None  # the end waits for it


def test_the_second_session_of_a_spool_waits_and_hears_what_the_first_kept(tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    lock = spool / LOCK_NAME
    with LiveReconstruction(NOWHERE, spool, tmp_path) as first:
        become(lambda: lock.exists() and lock.read_text().startswith(f"{first._service.pid} "))
        with LiveReconstruction(NOWHERE, spool, tmp_path) as second:
            log = spool / LOG_NAME
            become(lambda: f"process {first._service.pid} follows" in log.read_text())
            second("start", START)
            second("stop", STOP)
            kept = {"uid": "run-1", "frames": 7, "warnings": []}
            (spool / "run-1" / OUTCOME_NAME).write_text(json.dumps(kept))
            assert second.wait(timeout=60).frames == 7
            assert first._service.poll() is None  # nobody took it from a session that lives
            first.close()
            become(lambda: lock.read_text().startswith(f"{second._service.pid} "))


def test_a_service_without_an_owner_lets_go(tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    lock = spool / LOCK_NAME
    with LiveReconstruction(NOWHERE, spool, tmp_path) as first:
        first("start", START)  # what keeps it busy: there is no Tiled
        become(lambda: lock.exists() and lock.read_text().startswith(f"{first._service.pid} "))
        first._service.stdin.close()  # type: ignore[union-attr]  # as the end of our process would
        become(lambda: lock.read_text() == f"{first._service.pid} {ALONE}")
        with LiveReconstruction(NOWHERE, spool, tmp_path) as second:
            become(lambda: lock.read_text() == f"{second._service.pid} ")
            first.close()


def become(condition: Callable[[], bool]) -> None:
    """Wait for what another process does."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
