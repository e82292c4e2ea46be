"""The service between a spool and Tiled: raw runs sent, reconstructions kept going, whoever dies.

``python -m ptycho_plugin.live.service SPOOL --tiled URI --data FOLDER`` follows every run in the spool
until it is settled. The API key is in the variable ``TILED_API_KEY``. What happens goes to standard output,
one JSON object a line. The end of standard input says that nobody will write into the spool any more: then
the service ends as well, once everything is settled, or Tiled has not answered for some time. Whatever
is unfinished is taken up by the next service of that spool. There is one at a time: another one waits,
and asks one without an owner to let go.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import logging
import os
import signal
import sys
from contextlib import redirect_stdout, suppress
from pathlib import Path
from threading import Event, Thread
from time import monotonic, sleep
from types import FrameType
from typing import Any

from ptycho_plugin.live.bell import Bell, Listener
from ptycho_plugin.live.live_run import LiveRun, Tell
from ptycho_plugin.live.outcome import OUTCOME_NAME
from ptycho_plugin.live.spool import FILE_NAME
from ptycho_plugin.live.worker_process import WorkerProcess, WorkerSettings
from ptycho_plugin.publishing.connection import connect

logger = logging.getLogger(__name__)

OWNER = 1
"""Standard output: what libraries print goes to the log instead."""
LOCK_NAME = "service.lock"
ALONE = "alone"
"""After the number of the process in the lock, where the service has no owner any more."""
LOOK_EVERY_S = 0.5
"""Where no bell rings: a process that has ended rings none."""
MOST_WORKERS = 2
"""At a time; the newest run comes first."""
PATIENCE_S = 60.0
"""How long a service that nobody needs any more waits for a Tiled that does not answer."""


class Service:
    """Follows all runs of a spool.

    Parameters
    ----------
    spool : path
        Created if it is not there.
    settings : WorkerSettings
    tell : callable
        Takes ``run`` and one of ``progress``, ``warning`` and ``outcome``.

    Raises
    ------
    OSError
        If the spool cannot be used.
    """

    def __init__(self, spool: Path, settings: WorkerSettings, tell: Tell) -> None:
        spool.mkdir(parents=True, exist_ok=True)
        self._spool = spool
        self._settings = settings
        self._tell = tell
        self._lock = _own_lock(spool / LOCK_NAME)
        self._listener = Listener(spool)
        self._bell = Bell(spool)
        self._runs: dict[str, LiveRun] = {}
        self._settled: set[str] = set()
        self._client: Any = None
        self._spare: WorkerProcess | None = None
        """Where processors are idle, the next run's worker gets ready."""
        self._news, self._closing = Event(), Event()
        self._sender = Thread(target=self._send, name="sender", daemon=True)

    def follow(self, owner: int | None) -> None:
        """Follow the spool until it is closed, or its owner's end and that of all work.

        Parameters
        ----------
        owner : int or None
            A file that ends with the owner.
        """
        self._sender.start()
        alone_since: float | None = None
        while not self._closing.is_set():
            self._find_runs()
            self._look()
            if alone_since is not None and self._is_idle(monotonic() - alone_since):
                return
            watched = [run.worker.output for run in self._runs.values() if run.worker is not None]
            if owner is not None:
                watched.append(owner)
            readable = self._listener.wait(*watched, at_most=LOOK_EVERY_S)
            if owner in readable and not os.read(owner, 4096):
                owner, alone_since = None, monotonic()
                _sign(self._lock, ALONE)

    def close(self, *_: int | FrameType | None) -> None:
        """Stop following; the spool has all that the next service needs."""
        self._closing.set()
        self._bell.ring()

    def end(self) -> None:
        """End all workers, and let go of the spool."""
        self._closing.set()
        self._news.set()
        for run in self._runs.values():
            run.close()
        if self._spare is not None:
            self._spare.close()
        self._listener.close()
        self._bell.close()
        os.close(self._lock)

    def _find_runs(self) -> None:
        for folder in sorted(self._spool.iterdir(), key=lambda path: path.name):
            uid = folder.name
            if uid in self._runs or uid in self._settled or not _has_documents(folder):
                continue
            if (folder / OUTCOME_NAME).is_file():
                self._settled.add(uid)
            else:
                self._runs[uid] = LiveRun(folder, self._settings, self._tell)

    def _look(self) -> None:
        for uid, run in list(self._runs.items()):
            run.look()
            if run.settled:
                run.settle()
                del self._runs[uid]
                self._settled.add(uid)
        self._news.set()
        waiting = sorted(
            (run for run in self._runs.values() if run.wants_worker),
            key=lambda run: (run.folder / FILE_NAME).stat().st_mtime,
        )
        working = sum(run.worker is not None for run in self._runs.values())
        for run in waiting[::-1][: MOST_WORKERS - working]:
            run.take(self._worker())
            working += 1
        if not working and self._spare is None:
            self._spare = WorkerProcess(self._spool, self._settings)

    def _worker(self) -> WorkerProcess:
        """Return a worker that has nothing to do yet."""
        worker, self._spare = self._spare, None
        if worker is not None:
            if worker.poll() is None:
                return worker
            worker.close()
        return WorkerProcess(self._spool, self._settings)

    def _is_idle(self, alone_s: float) -> bool:
        """Return whether nothing is left to do, or Tiled has not answered for long."""
        silent = all(run.sending.attempts.failures and run.worker is None for run in self._runs.values())
        return silent and (not self._runs or alone_s > PATIENCE_S)

    def _send(self) -> None:
        while not self._closing.is_set():
            self._news.wait()
            self._news.clear()
            for run in list(self._runs.values()):
                if self._closing.is_set():
                    return
                if not run.sending.is_over and run.sending.attempts.is_due:
                    run.sending.attempt(self._connected)
                    if run.sending.is_over:
                        self._bell.ring()

    def _connected(self) -> Any:
        if self._client is None:
            self._client = connect(self._settings.tiled_uri, self._settings.api_key)
        return self._client


def _has_documents(folder: Path) -> bool:
    documents = folder / FILE_NAME
    return documents.is_file() and documents.stat().st_size > 0


def _own_lock(path: Path) -> int:
    """Return the lock of a spool, once no other service has it."""
    lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    told = False
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder, _, alone = os.pread(lock, 64, 0).decode().partition(" ")
            if not told:
                logger.warning("process %s follows %s already: this one waits", holder, path.parent)
                told = True
            if alone == ALONE:
                with suppress(ProcessLookupError):
                    os.kill(int(holder), signal.SIGTERM)
            sleep(LOOK_EVERY_S)
        else:
            _sign(lock, "")
            return lock


def _sign(lock: int, word: str) -> None:
    signature = f"{os.getpid()} {word}".encode()
    os.pwrite(lock, signature, 0)
    os.ftruncate(lock, len(signature))


def tell_owner(**message: Any) -> None:
    """Write one line for the owner, if there still is one."""
    with suppress(BrokenPipeError):
        os.write(OWNER, json.dumps(message).encode() + b"\n")


def main() -> int:
    """Run the service; return its exit status."""
    parser = argparse.ArgumentParser(description="Send a spool's runs to Tiled and reconstruct them.")
    parser.add_argument("spool", type=Path, help="folder with one folder for each run")
    parser.add_argument("--tiled", required=True, help="address of the Tiled tree, without a key")
    parser.add_argument("--data", required=True, type=Path, help="folder of the frames' files")
    parser.add_argument("--results", type=Path, help="folder of result files, which the server may read")
    arguments = parser.parse_args()
    settings = WorkerSettings(arguments.tiled, None, arguments.data, arguments.results)
    with redirect_stdout(sys.stderr):
        service = Service(arguments.spool, settings, tell_owner)
        signal.signal(signal.SIGTERM, service.close)
        try:
            service.follow(sys.stdin.fileno())
        finally:
            service.end()
    return 0


if __name__ == "__main__":
    sys.exit(main())
