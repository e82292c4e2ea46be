"""One run in the hands of the service: into Tiled with it, and reconstructed."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from ptycho_plugin.io.atomic import replacing
from ptycho_plugin.live.attempts import Attempts
from ptycho_plugin.live.outcome import OUTCOME_NAME, LiveOutcome
from ptycho_plugin.live.raw_sender import Sending, close_abandoned
from ptycho_plugin.live.spool import FILE_NAME, SpoolReader, may_grow
from ptycho_plugin.live.worker_process import LOG_NAME, TRY_AGAIN, WorkerProcess, WorkerSettings, by_hand
from ptycho_plugin.metadata import RECONSTRUCTED, START_KEY

MOST_ENDS = 8
"""Workers that may end without a word before a run is given up."""

Tell = Callable[..., None]
"""Takes ``run`` and one of ``progress``, ``warning`` and ``outcome``."""


class LiveRun:
    """A run that is not settled yet.

    Parameters
    ----------
    folder : path
        The run's, with its spool.
    settings : WorkerSettings
    tell : callable
    """

    def __init__(self, folder: Path, settings: WorkerSettings, tell: Tell) -> None:
        self.folder = folder
        self.uid = folder.name
        self.outcome = LiveOutcome(self.uid)
        self.worker: WorkerProcess | None = None
        self.sending = Sending(folder)
        self._restarts = Attempts()
        self._settings = settings
        self._tell = tell
        self._ends = 0
        self._seen = -1
        self._is_scan: bool | None = None
        self._is_closed = self._is_reconstructed = False

    @property
    def is_scan(self) -> bool:
        """Whether it is to be reconstructed; not before its first document is there."""
        if self._is_scan is None:
            name, start = next(SpoolReader(self.folder).read(), ("", {}))
            if not name:
                return False
            ours = start.get(START_KEY)
            self._is_scan = isinstance(ours, Mapping) and ours.get("purpose") in RECONSTRUCTED
        return self._is_scan

    @property
    def settled(self) -> bool:
        """Whether nothing is left to do."""
        return self.sending.is_over and (self._is_reconstructed or self._is_scan is False)

    @property
    def wants_worker(self) -> bool:
        """Whether it would have a worker now, were there processors enough."""
        return self.worker is None and not self._is_reconstructed and self.is_scan and self._restarts.is_due

    def take(self, worker: WorkerProcess) -> None:
        """Have a worker begin with what the spool has."""
        self.worker = worker
        worker.begin(self.folder)

    def look(self) -> None:
        """Take in what has changed: the spool, the worker."""
        if not self._is_closed and not may_grow(self.folder):
            close_abandoned(self.folder)
            self._is_closed = True
        while self.sending.warnings:
            self.warn(self.sending.warnings.popleft())
        size = (self.folder / FILE_NAME).stat().st_size
        if self.worker is not None:
            if size != self._seen:
                self.worker.wake()
            self._listen(self.worker)
        self._seen = size

    def _listen(self, worker: WorkerProcess) -> None:
        status = worker.poll()  # first: what it said before its end is read then
        for message in worker.messages():
            self._hear(**message)
        if status is None:
            return
        self.worker = None
        worker.close()
        if status == TRY_AGAIN:
            self._restarts.failed()
        elif status == 0 or self.outcome.error:
            self._is_reconstructed = True
        else:
            self._ended(status)

    def _ended(self, status: int) -> None:
        """Have a worker that was killed, or failed without a reason, followed by another."""
        self._ends += 1
        log = self.folder / LOG_NAME
        if self._ends < MOST_ENDS:
            self.warn(f"the worker ended with status {status} and is started again: see {log}")
            self.outcome = LiveOutcome(self.uid, warnings=self.outcome.warnings)
            self._restarts.failed()
            return
        self._give_up(
            f"the worker ended with status {status} for the {self._ends}th time: read {log}; to reconstruct "
            f"the run again, set TILED_API_KEY and run {shlex.join(by_hand(self.folder, self._settings))}"
        )
        self._is_reconstructed = True

    def _hear(
        self,
        progress: Mapping[str, Any] | None = None,
        warning: str | None = None,
        outcome: Mapping[str, Any] | None = None,
    ) -> None:
        if progress:
            self._tell(run=self.uid, progress=progress)
        if warning:
            self.warn(warning)
        if outcome:
            self.outcome = replace(self.outcome, **outcome)

    def warn(self, warning: str) -> None:
        """Tell what a user should hear."""
        self.outcome = replace(self.outcome, warnings=(*self.outcome.warnings, warning))
        self._tell(run=self.uid, warning=warning)

    def _give_up(self, error: str) -> None:
        both = f"{self.outcome.error}; {error}" if self.outcome.error else error
        self.outcome = replace(self.outcome, error=both)

    def settle(self) -> None:
        """Tell what came of it, and keep it, unless Tiled lacks the raw run: the next service tries again."""
        if self.sending.error:
            self._give_up(self.sending.error)
        self.outcome = replace(self.outcome, raw_path=self.sending.path or None)
        if self.sending.path:
            with replacing(self.folder / OUTCOME_NAME) as part:
                part.write_text(json.dumps(asdict(self.outcome)))
        self._tell(run=self.uid, outcome=asdict(self.outcome))

    def close(self) -> None:
        """End its worker: the spool has all that another one needs."""
        if self.worker is not None:
            self.worker.close()
            self.worker = None
