"""Waking the service that watches a spool: one byte through a named pipe, and nobody ever waits."""

from __future__ import annotations

import os
import select
from contextlib import suppress
from pathlib import Path

FILE_NAME = "bell"


class Bell:
    """Rings where a service listens; does nothing where none does.

    Parameters
    ----------
    spool : path
    """

    def __init__(self, spool: Path) -> None:
        self._path = spool / FILE_NAME
        self._pipe: int | None = None

    def ring(self) -> None:
        """Wake the service."""
        # No reader is ENXIO at opening and EPIPE later; a full pipe holds bytes that will wake it.
        with suppress(BlockingIOError):
            try:
                if self._pipe is None:
                    self._pipe = os.open(self._path, os.O_WRONLY | os.O_NONBLOCK)
                os.write(self._pipe, b".")
            except OSError as error:
                if isinstance(error, BlockingIOError):
                    raise
                self.close()

    def close(self) -> None:
        """Let go of the pipe."""
        if self._pipe is not None:
            os.close(self._pipe)
            self._pipe = None


class Listener:
    """Hears the bell of a spool.

    Parameters
    ----------
    spool : path

    Raises
    ------
    OSError
        If no pipe can be made there.
    """

    def __init__(self, spool: Path) -> None:
        path = spool / FILE_NAME
        with suppress(FileExistsError):
            os.mkfifo(path, 0o600)
        # A reader that also writes never sees the end of the file when a ringer closes.
        self._pipe = os.open(path, os.O_RDWR | os.O_NONBLOCK)

    def wait(self, *others: int, at_most: float) -> list[int]:
        """Return those of other files that can be read, after a ring, a byte for them, or some seconds."""
        readable, _, _ = select.select([self._pipe, *others], [], [], at_most)
        if self._pipe in readable:
            with suppress(BlockingIOError):
                os.read(self._pipe, 65536)
        return [file for file in readable if file != self._pipe]

    def close(self) -> None:
        """Stop hearing it."""
        os.close(self._pipe)
