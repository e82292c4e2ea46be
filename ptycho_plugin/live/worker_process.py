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
    """

    tiled_uri: str
    api_key: str | None = field(repr=False)
    data: Path

    @property
    def environment(self) -> dict[str, str]:
        """With the key: an argument would be seen by everybody on the machine."""
        return os.environ | ({"TILED_API_KEY": self.api_key} if self.api_key else {})


def command(folder: Path, settings: WorkerSettings) -> list[str]:
    """Return how a worker is started, which reconstructs a run by hand as well."""
    module = ["-m", "ptycho_plugin.live.worker"]
    return [sys.executable, *module, str(folder), "--tiled", settings.tiled_uri, "--data", str(settings.data)]


class WorkerProcess:
    """A worker: nobody ever waits for it.

    Parameters
    ----------
    folder : path
        The run's, with its spool; takes the worker's log.
    settings : WorkerSettings

    Raises
    ------
    OSError
        If it cannot be started.
    """

    def __init__(self, folder: Path, settings: WorkerSettings) -> None:
        with (folder / LOG_NAME).open("a") as errors:
            self._process = subprocess.Popen(  # noqa: S603 (our own interpreter and module)
                [*command(folder, settings), OWNED],
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
