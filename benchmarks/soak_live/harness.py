"""One run after the other, in each of which something is killed."""

from __future__ import annotations

import json
import os
import queue
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil

from benchmarks.soak_live.audit import Findings, Reference, audit, reference
from ptycho_plugin.live.outcome import OUTCOME_NAME
from ptycho_plugin.live.service import LOCK_NAME
from ptycho_plugin.publishing.server import LocalTiledServer

KINDS = ("worker", "tiled", "all", "worker", "engine", "tiled", "service", "worker", "tiled", "worker")
"""What is killed, in turn."""
PATIENCE_S = 240.0
POLL_S = 0.05
AFTER_THE_SCAN = 0.3
"""Part of the kills of which the moment lies after the scan, while the recipe is finished or published."""


class Engine:
    """The RunEngine's process; what it says is on the disk."""

    def __init__(self, folder: Path, tiled: str) -> None:
        command = [sys.executable, "-m", "benchmarks.soak_live.engine", str(folder)]
        with (folder / "engine.log").open("a") as errors:
            self._process = subprocess.Popen(  # noqa: S603  (our own interpreter and module)
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True
            )
        self._said: queue.Queue[dict[str, Any]] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()
        self._write(tiled)
        self.next_said()

    def _listen(self) -> None:
        assert self._process.stdout is not None  # noqa: S101
        for line in self._process.stdout:
            if line.endswith("\n"):
                self._said.put(json.loads(line))
        self._said.put({"said": "end"})

    def _write(self, line: str) -> None:
        assert self._process.stdin is not None  # noqa: S101
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def begin(self) -> str:
        """Have it scan; return the run's uid, which is on the disk."""
        self._write("scan")
        return str(self.next_said()["run"])

    def next_said(self) -> dict[str, Any]:
        """Return what it said next; that it has ended, where it has."""
        return self._said.get(timeout=PATIENCE_S)

    @property
    def is_down(self) -> bool:
        """Whether it has ended."""
        return self._process.poll() is not None

    def kill(self) -> None:
        """Send it SIGKILL."""
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        """End it, and its service."""
        assert self._process.stdin is not None  # noqa: S101
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait(PATIENCE_S)


class Harness:
    """Runs scans against one Tiled server, and kills.

    Parameters
    ----------
    folder : Path
        Takes the server's files, frames, spool and logs.
    seed : int
        Of what is killed when.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        self._folder = folder
        self._random = random.Random(seed)
        self.points = 0
        """Events of a whole scan, once one was made."""
        for name in ("frames", "spool"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self._server = LocalTiledServer(folder / "tiled", [folder / "frames"], port)

    def __enter__(self) -> Self:
        self._server.__enter__()
        self._engine = Engine(self._folder, self._server.uri)
        uid, self.points, _ = self._scan(-1, "")
        self._wait_until_settled(uid)
        self._known: Reference = reference(self._server.client(), uid)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._engine.close()
        self._server.close()

    def run(self, number: int) -> tuple[str, Findings]:
        """Kill something in a scan, wait for the recovery, and compare; return what was done and found."""
        what = KINDS[number % len(KINDS)]
        after = self._random.random() < AFTER_THE_SCAN and what not in ("engine", "all")
        moment = self.points if after else self._random.randrange(self.points)
        uid, said, closed = self._scan(moment, what)
        if after:
            time.sleep(self._random.uniform(0, 4))  # of the recipe, at a moment that nobody knows
            self._kill(what)
        self._recover()
        self._wait_until_settled(uid)
        found = audit(self._server.client(), uid, self._known, said, closed)
        return f"{what} killed {'after the scan' if after else f'after event {moment}'}", found

    def _scan(self, moment: int, what: str) -> tuple[str, int, bool]:
        """Scan, and kill after some event; return the run, its events on the disk, whether it was closed."""
        uid, events = self._engine.begin(), 0
        if moment == 0:
            self._kill(what)
        while True:
            match self._engine.next_said()["said"]:
                case "event":
                    events += 1
                    if events == moment < self.points:
                        self._kill(what)
                case "stop":
                    return uid, events, True
                case "end":
                    return uid, events, False

    def _kill(self, what: str) -> None:
        if what in ("engine", "all"):
            self._engine.kill()
        if what in ("service", "worker", "all"):
            service = self._service()
            workers = service.children() if service else []
            for process in ([service] if service and what != "worker" else []) + (
                workers if what != "service" else []
            ):
                with suppress(psutil.NoSuchProcess):
                    process.send_signal(signal.SIGKILL)
        if what in ("tiled", "all"):
            self._server.kill()

    def _service(self) -> psutil.Process | None:
        with suppress(OSError, IndexError, psutil.NoSuchProcess):
            return psutil.Process(int((self._folder / "spool" / LOCK_NAME).read_text().split()[0]))
        return None

    def _recover(self) -> None:
        """Start what nothing of ours starts again."""
        if self._server.is_down:
            self._server.__enter__()
        if self._engine.is_down:
            self._engine = Engine(self._folder, self._server.uri)

    def _wait_until_settled(self, uid: str) -> None:
        outcome, deadline = self._folder / "spool" / uid / OUTCOME_NAME, time.monotonic() + PATIENCE_S
        while not outcome.exists():
            if time.monotonic() > deadline:
                raise TimeoutError(f"run {uid} is not settled: look into {os.fspath(self._folder)}")
            time.sleep(POLL_S)
