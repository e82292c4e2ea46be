"""The two processes of the soak, as the harness holds them."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

PATIENCE_S = 120.0
"""For an answer of a scanning process."""
POLL_S = 0.002


class ScanProcess:
    """A scanning process; when one is killed, another comes.

    Parameters
    ----------
    port : int
        Of the beam.
    ledger : Path
    folder : Path
        Takes documents, frames and what is printed.
    """

    def __init__(self, port: int, ledger: Path, folder: Path) -> None:
        command = [sys.executable, "-m", "benchmarks.soak.scanner", str(port), str(ledger), str(folder)]
        self._errors = (folder / "errors.txt").open("a")
        self._process = subprocess.Popen(  # noqa: S603 (our own interpreter and module)
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, text=True
        )
        self._answers: queue.Queue[dict[str, Any]] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()
        self._life = int(self._answer()["ready"])

    def _listen(self) -> None:
        assert self._process.stdout is not None  # noqa: S101
        for line in self._process.stdout:
            self._answers.put(json.loads(line))

    def begin(self, **call: Any) -> None:
        """Send a call."""
        assert self._process.stdin is not None  # noqa: S101
        self._process.stdin.write(json.dumps(call) + "\n")
        self._process.stdin.flush()

    def end(self) -> dict[str, Any]:
        """Return how the call ended."""
        return self._answer()

    def is_over(self, within_s: float = 0.0) -> bool:
        """Return whether the call ends within a time."""
        deadline = time.monotonic() + within_s
        while self._answers.empty() and time.monotonic() < deadline:
            time.sleep(POLL_S)
        return not self._answers.empty()

    def kill(self) -> None:
        """Send it SIGKILL, and wait for the next life."""
        os.kill(self._life, signal.SIGKILL)
        while "ready" not in (answer := self._answer()):  # it may have ended its call in this very moment
            continue
        self._life = int(answer["ready"])

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None  # noqa: S101
        self._process.stdin.close()
        with self._process:
            pass
        self._errors.close()

    def _answer(self) -> dict[str, Any]:
        return self._answers.get(timeout=PATIENCE_S)


class BeamProcess:
    """The beam's process, its log, and its notices of exposures that begin."""

    def __init__(self, log: Path) -> None:
        command = [sys.executable, "-m", "benchmarks.soak.beam", str(log)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: S603
        assert self._process.stdout is not None  # noqa: S101
        self.port = int(json.loads(self._process.stdout.readline())["port"])
        self._log = log
        self._read = 0
        self.exposing: queue.Queue[int] = queue.Queue()
        """Numbers of exposures that begin."""
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self._process.stdout is not None  # noqa: S101
        for line in self._process.stdout:
            self.exposing.put(json.loads(line)["exposing"])

    def forget_exposing(self) -> None:
        """Forget the exposures that have begun so far."""
        while not self.exposing.empty():
            self.exposing.get()

    def openings(self) -> list[dict[str, Any]]:
        """Return the openings of the shutter since the last time."""
        with self._log.open(encoding="utf-8") as file:
            file.seek(self._read)
            lines = file.readlines()
            self._read = file.tell()
        return [json.loads(line) for line in lines]

    def close(self) -> None:
        """End it."""
        self._process.terminate()
        with self._process:
            pass
