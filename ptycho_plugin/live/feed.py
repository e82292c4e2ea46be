"""The producer's side of one run: a spool file, a worker process, and what the worker says."""

from __future__ import annotations

import json
import logging
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Thread
from typing import IO, Any, cast

from ptycho_plugin.live.outcome import LiveOutcome
from ptycho_plugin.live.spool import SpoolWriter
from ptycho_plugin.reconstruction.result import Progress

logger = logging.getLogger(__name__)

LOG_NAME = "worker.log"


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """What every worker is started with.

    Parameters
    ----------
    tiled_uri : str
        Address of the tree, without a key.
    api_key : str or None
        Reaches the worker in its environment; by default what is in ours.
    data : path
        The folder whose frame files may be read.
    on_progress : callable, optional
        Called with a `Progress` in a thread of its own.
    """

    tiled_uri: str
    api_key: str | None = field(repr=False)
    data: Path
    on_progress: Callable[[Progress], None] | None = None


class RunFeed:
    """Hands one run's documents to a worker process, and never waits for it.

    Parameters
    ----------
    uid : str
        Of the run.
    folder : path
        The run's own, for its spool and its worker's log.
    settings : WorkerSettings

    Raises
    ------
    OSError
        If the folder cannot be written or the process cannot be started.
    """

    def __init__(self, uid: str, folder: Path, settings: WorkerSettings) -> None:
        self._spool = SpoolWriter(folder)
        self._log = folder / LOG_NAME
        self._outcome = LiveOutcome(uid)
        self._lost: list[str] = []
        self._on_progress = settings.on_progress
        self._command = _command(folder, settings)
        self._process = _start(self._command, self._log, settings)
        self._pokes = cast(IO[bytes], self._process.stdin)
        os.set_blocking(self._pokes.fileno(), False)
        self._listener = Thread(target=self._listen, name=f"live reconstruction of {uid}", daemon=True)
        self._listener.start()

    def __call__(self, name: str, document: Mapping[str, Any]) -> None:
        """Spool one document and wake the worker; what fails is told by `wait`."""
        try:
            self._spool.append(name, document)
        except (OSError, TypeError, ValueError) as error:
            self._lost.append(f"a document ({name}) did not reach the worker: {error}")
            logger.warning("live reconstruction of run %s: %s", self._outcome.uid, self._lost[-1])
        self._wake()
        if name == "stop":
            self.close()

    def close(self) -> None:
        """Say that no document will follow, as the end of our process would."""
        self._spool.close()
        self._pokes.close()

    def wait(self, timeout: float | None = None) -> LiveOutcome:
        """Return what came of it, once the worker has ended.

        Raises
        ------
        TimeoutError
            If that takes longer than ``timeout`` seconds.
        """
        self._listener.join(timeout)
        if self._listener.is_alive():
            raise TimeoutError(f"the reconstruction of run {self._outcome.uid} is not done after {timeout} s")
        return replace(self._outcome, warnings=(*self._lost, *self._outcome.warnings))

    def _wake(self) -> None:
        # A full pipe holds bytes that will wake it; a broken one is the listener's business.
        with suppress(BlockingIOError, BrokenPipeError):
            os.write(self._pokes.fileno(), b".")

    def _listen(self) -> None:
        with cast(IO[bytes], self._process.stdout) as lines:
            for line in lines:
                if line.endswith(b"\n"):  # the last line of a killed worker may be torn
                    self._hear(**json.loads(line))
        status = self._process.wait()
        if status and self._outcome.error is None:
            error = (
                f"the worker ended with status {status}: read {self._log}; to reconstruct the run again, "
                f"set TILED_API_KEY and run {shlex.join(self._command)}"
            )
            self._outcome = replace(self._outcome, error=error)
        if self._outcome.error:
            logger.warning("live reconstruction of run %s: %s", self._outcome.uid, self._outcome.error)

    def _hear(
        self,
        progress: Mapping[str, Any] | None = None,
        warning: str | None = None,
        outcome: Mapping[str, Any] | None = None,
    ) -> None:
        if progress:
            self._show(Progress(**progress))
        if warning:
            logger.warning("live reconstruction of run %s: %s", self._outcome.uid, warning)
            self._outcome = replace(self._outcome, warnings=(*self._outcome.warnings, warning))
        if outcome:
            self._outcome = replace(self._outcome, **outcome)

    def _show(self, progress: Progress) -> None:
        if self._on_progress is None:
            return
        try:
            self._on_progress(progress)
        except Exception:  # a stranger's function must not end the listening, which would block the worker
            logger.exception("on_progress failed, and is not called again")
            self._on_progress = None


def _command(folder: Path, settings: WorkerSettings) -> list[str]:
    module = ["-m", "ptycho_plugin.live.worker"]
    return [sys.executable, *module, str(folder), "--tiled", settings.tiled_uri, "--data", str(settings.data)]


def _start(command: list[str], log: Path, settings: WorkerSettings) -> subprocess.Popen[bytes]:
    key = {"TILED_API_KEY": settings.api_key} if settings.api_key else {}
    with log.open("a") as errors:
        return subprocess.Popen(  # noqa: S603 (our own interpreter and module)
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            bufsize=0,
            env=os.environ | key,
            start_new_session=True,  # Ctrl-C pauses the RunEngine, and must not end the worker
        )
