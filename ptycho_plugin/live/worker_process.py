"""A worker process that reconstructs one run, seen from the service."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, cast

LOG_NAME = "worker.log"
"""Of a worker, in its run's folder; before it has a run, in the spool."""
OWNED = "--owned"
TRY_AGAIN = 75
"""Exit status of a worker that another one may follow: Tiled does not answer, or the owner has ended."""
KILL_AFTER_S = 5.0


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
    results : path or None
        Folder of result files, which the server may read; without it they are in Tiled's own storage.
    """

    tiled_uri: str
    api_key: str | None = field(repr=False)
    data: Path
    results: Path | None = None

    @property
    def environment(self) -> dict[str, str]:
        """With the key: an argument would be seen by everybody on the machine."""
        return os.environ | ({"TILED_API_KEY": self.api_key} if self.api_key else {})


_COMMAND = (sys.executable, "-m", "ptycho_plugin.live.worker")


def _places(settings: WorkerSettings) -> list[str]:
    results = [] if settings.results is None else ["--results", str(settings.results)]
    return ["--tiled", settings.tiled_uri, "--data", str(settings.data), *results]


def by_hand(folder: Path, settings: WorkerSettings) -> list[str]:
    """Return the command that reconstructs a run again."""
    return [*_COMMAND, str(folder), *_places(settings)]


class WorkerProcess:
    """A worker, ready for a run: it takes seconds to get there. Nobody ever waits for it.

    Parameters
    ----------
    spool : path
        Takes its log until it has a run.
    settings : WorkerSettings

    Raises
    ------
    OSError
        If it cannot be started.
    """

    def __init__(self, spool: Path, settings: WorkerSettings) -> None:
        with (spool / LOG_NAME).open("a") as errors:
            self._process = subprocess.Popen(  # noqa: S603 (our own interpreter and module)
                [*_COMMAND, OWNED, *_places(settings)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                bufsize=0,
                env=settings.environment,
            )
        self._pokes = cast(IO[bytes], self._process.stdin)
        self._lines = cast(IO[bytes], self._process.stdout)
        os.set_blocking(self._pokes.fileno(), False)
        os.set_blocking(self._lines.fileno(), False)
        self._torn = b""

    @property
    def output(self) -> int:
        """The file that can be read when the worker has said something, or has ended."""
        return self._lines.fileno()

    def begin(self, folder: Path) -> None:
        """Give it its run: once, before anything else."""
        with suppress(BrokenPipeError):  # seen by `poll`
            os.write(self._pokes.fileno(), os.fsencode(folder) + b"\n")

    def wake(self) -> None:
        """Say that there is more in the spool."""
        # A full pipe holds bytes that will wake it; a broken one is seen by `poll`.
        with suppress(BlockingIOError, BrokenPipeError):
            os.write(self._pokes.fileno(), b".")

    def messages(self) -> Iterator[dict[str, Any]]:
        """Yield what it has said since; a last line that a killed worker has torn is none."""
        while chunk := self._read():
            *lines, self._torn = (self._torn + chunk).split(b"\n")
            yield from map(json.loads, lines)

    def _read(self) -> bytes:
        with suppress(BlockingIOError):
            return os.read(self._lines.fileno(), 65536)
        return b""

    def poll(self) -> int | None:
        """Return its exit status once it has ended; what it said last may still be read."""
        return self._process.poll()

    def close(self) -> None:
        """End it."""
        with self._pokes, self._lines:
            self._process.terminate()
            try:
                self._process.wait(KILL_AFTER_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
