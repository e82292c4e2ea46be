"""Documents in; raw runs, growing maps and results in Tiled out: the RunEngine's side of it."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from threading import Condition, Thread
from time import monotonic
from types import TracebackType
from typing import IO, Any, Self, cast

from ptycho_plugin.callbacks.run_spool import RunSpool
from ptycho_plugin.errors import InputError
from ptycho_plugin.live.attempts import Attempts
from ptycho_plugin.live.outcome import OUTCOME_NAME, LiveOutcome
from ptycho_plugin.metadata import RECONSTRUCTED, START_KEY
from ptycho_plugin.publishing.connection import split_key
from ptycho_plugin.reconstruction.result import Progress

logger = logging.getLogger(__name__)

LOG_NAME = "service.log"
LOOK_EVERY_S = 0.5
"""For what another session's service has kept."""


class LiveReconstruction:
    """Puts runs into Tiled and reconstructs scans while they run, in processes of their own.

    Subscribe it: ``RE.subscribe(live)``. The RunEngine waits until its documents are on the disk and for
    nothing else. A service process follows the spool: it sends raw runs to Tiled and has a worker
    reconstruct each scan. Tiled, service and workers may end at any moment and come back: nothing is lost,
    and nothing there twice. What was unfinished when this object ended is finished by the next one of the
    same spool. It is a context manager, which ends the service.

    Parameters
    ----------
    tiled_uri : str
        Address of the Tiled tree that takes runs and results, with its key in the query or without.
    spool : path
        Folder on a local disk for documents and logs, one folder a run.
    data : path
        Folder of the frames' files; workers read none outside it.
    results : path, optional
        Folder of result files, read-only ones, which the Tiled server may read; without it results are in
        Tiled's own storage.
    api_key : str, optional
        By default the one in the address, else the variable ``TILED_API_KEY``.
    on_progress : callable, optional
        Called with a `Progress` after every iteration, in a thread of its own.

    Raises
    ------
    OSError
        If the spool cannot be used, or the service not be started.
    """

    def __init__(
        self,
        tiled_uri: str,
        spool: str | Path,
        data: str | Path,
        *,
        results: str | Path | None = None,
        api_key: str | None = None,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> None:
        address, key = split_key(tiled_uri)
        self._spool = RunSpool(spool)
        module = ["-m", "ptycho_plugin.live.service", str(self._spool.folder)]
        places = ["--tiled", address, "--data", str(Path(data).resolve())]
        if results is not None:
            places += ["--results", str(Path(results).resolve())]
        self._command = [sys.executable, *module, *places]
        self._environment = {"TILED_API_KEY": used} if (used := api_key or key) else {}
        self._on_progress = on_progress
        self._heard = Condition()
        self._runs: list[str] = []
        self._scans: list[str] = []
        self._outcomes: dict[str, LiveOutcome] = {}
        self._is_closed = False
        self._service = self._started()
        self._listener = Thread(target=self._listen, name="live reconstruction", daemon=True)
        self._listener.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __call__(self, name: str, document: Mapping[str, Any]) -> None:
        """Take in one document of any run.

        Raises
        ------
        InputError, OSError, TypeError, ValueError
            If it cannot be kept: see `RunSpool`.
        """
        if name == "start":
            self._runs.append(document["uid"])
            if document.get(START_KEY, {}).get("purpose") in RECONSTRUCTED:
                self._scans.append(document["uid"])
        self._spool(name, document)

    @property
    def spool(self) -> Path:
        """Folder of documents and logs."""
        return self._spool.folder

    def wait(self, uid: str | None = None, timeout: float | None = None) -> LiveOutcome:
        """Return what came of a run, once Tiled has it and its reconstruction has ended.

        Parameters
        ----------
        uid : str, optional
            Of the run; by default the latest scan.
        timeout : float, optional
            In seconds.

        Raises
        ------
        InputError
            If there was no such run.
        TimeoutError
            If it takes longer.
        """
        if uid is None:
            if not self._scans:
                raise InputError(
                    "no scan was started since this LiveReconstruction was subscribed: "
                    "subscribe it to the RunEngine, then run ptycho_scan"
                )
            uid = self._scans[-1]
        elif uid not in self._runs:
            seen = ", ".join(self._runs)
            raise InputError(f"run {uid} is none that this LiveReconstruction has seen: give one of {seen}")
        deadline = None if timeout is None else monotonic() + timeout
        with self._heard:
            while (outcome := self._outcome(uid)) is None:
                left = LOOK_EVERY_S if deadline is None else min(LOOK_EVERY_S, deadline - monotonic())
                if left <= 0:
                    raise TimeoutError(f"run {uid} is not done after {timeout} s")
                self._heard.wait(left)
        return outcome

    def _outcome(self, uid: str) -> LiveOutcome | None:
        """Return what our service told of a run, or another one of the spool has kept."""
        kept = self.spool / uid / OUTCOME_NAME
        if uid not in self._outcomes and kept.is_file():
            self._outcomes[uid] = LiveOutcome.of(json.loads(kept.read_text()))
        return self._outcomes.get(uid)

    def close(self) -> None:
        """End the service; what is unfinished stays in the spool for the next one."""
        with self._heard:
            if not self._is_closed:
                self._is_closed = True
                self._spool.close()
                self._service.terminate()
                self._heard.notify_all()
        self._listener.join()

    def _started(self) -> subprocess.Popen[bytes]:
        with (self._spool.folder / LOG_NAME).open("a") as errors:
            return subprocess.Popen(  # noqa: S603 (our own interpreter and module)
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                bufsize=0,
                env=os.environ | self._environment,
                start_new_session=True,  # Ctrl-C pauses the RunEngine, and must not end the service
            )

    def _listen(self) -> None:
        """Hear the service until it is closed, and start another one where it ends by itself."""
        restarts = Attempts()
        while True:
            with self._service, cast(IO[bytes], self._service.stdout) as lines:
                for line in lines:
                    if line.endswith(b"\n"):  # the last line of a killed service may be torn
                        self._hear(**json.loads(line))
                        restarts.succeeded()
            if self._is_closed:
                return
            logger.warning(
                "the service of %s ended with status %s and is started again: see %s",
                self._spool.folder,
                self._service.returncode,
                self._spool.folder / LOG_NAME,
            )
            restarts.failed()
            with self._heard:
                if self._heard.wait_for(lambda: self._is_closed, restarts.due - monotonic()):
                    return
                self._service = self._started()

    def _hear(
        self,
        run: str,
        progress: Mapping[str, Any] | None = None,
        warning: str | None = None,
        outcome: Mapping[str, Any] | None = None,
    ) -> None:
        if progress:
            self._show(Progress(**progress))
        if warning:
            logger.warning("run %s: %s", run, warning)
        if outcome:
            came = LiveOutcome.of(outcome)
            if came.error:
                logger.warning("run %s: %s", run, came.error)
            with self._heard:
                self._outcomes[run] = came
                self._heard.notify_all()

    def _show(self, progress: Progress) -> None:
        if self._on_progress is None:
            return
        try:
            self._on_progress(progress)
        except Exception:  # a stranger's function must not end the listening, which would block the service
            logger.exception("on_progress failed, and is not called again")
            self._on_progress = None
