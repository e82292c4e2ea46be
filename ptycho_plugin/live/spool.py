"""A run's documents on disk, one JSON object a line: written by the RunEngine, read by the service."""

from __future__ import annotations

import fcntl
import json
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from ptycho_plugin.io.atomic import sync

logger = logging.getLogger(__name__)

FILE_NAME = "documents.jsonl"
Document = tuple[str, dict[str, Any]]
"""Its name, and what it says."""


class SpoolWriter:
    """Appends documents to the file of a run's folder; each is on the disk when the call returns.

    As long as it is open it holds a lock on the file, by which others know that more may follow: the
    operating system lets go of it however the process ends. A last line that a killed process has torn is
    no document, and is cut off.

    Parameters
    ----------
    folder : path
        Created if it is not there.

    Raises
    ------
    OSError
        If the folder or the file cannot be written, or another process has the run open.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file = os.open(folder / FILE_NAME, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(self._file, _end_of_last_line(self._file))
            sync(folder)
            sync(folder.parent)
        except OSError:
            os.close(self._file)
            raise

    def append(self, name: str, document: Mapping[str, Any]) -> None:
        """Add one document, whole or not at all.

        Raises
        ------
        TypeError, ValueError
            If it holds what JSON cannot.
        OSError
            If the disk does not take it.
        """
        line = json.dumps([name, document], default=_plain).encode() + b"\n"
        before = os.fstat(self._file).st_size
        try:
            written = 0
            while written < len(line):
                written += os.write(self._file, line[written:])
            os.fsync(self._file)
        except OSError:
            with suppress(OSError):
                os.ftruncate(self._file, before)
            raise

    def close(self) -> None:
        """Say that no document will follow, as the end of the process would."""
        os.close(self._file)


def may_grow(folder: Path) -> bool:
    """Return whether a process has the run open."""
    with (folder / FILE_NAME).open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


class SpoolReader:
    """Reads what was appended since the last time.

    Parameters
    ----------
    folder : path
        Of the run.

    Attributes
    ----------
    malformed : int
        Lines that were no documents; they are left out and logged.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE_NAME
        self._offset = 0
        self.malformed = 0

    def read(self) -> Iterator[Document]:
        """Yield each new ``(name, document)``; a last line without its end waits for it."""
        with self._path.open("rb") as file:
            file.seek(self._offset)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                self._offset += len(line)
                document = self._parse(line)
                if document is not None:
                    yield document

    def _parse(self, line: bytes) -> Document | None:
        try:
            name, document = json.loads(line)
            if isinstance(name, str) and isinstance(document, dict):
                return name, document
        except (ValueError, TypeError, RecursionError):
            pass
        self.malformed += 1
        logger.warning("%s: a line before byte %d is no document", self._path, self._offset)
        return None


def _end_of_last_line(file: int) -> int:
    """Return how many bytes of a file are whole lines."""
    end = os.fstat(file).st_size
    while end:
        begin = max(0, end - 65536)
        newline = os.pread(file, end - begin, begin).rfind(b"\n")
        if newline >= 0:
            return begin + newline + 1
        end = begin
    return 0


def _plain(value: object) -> object:
    """Return a NumPy scalar or array as JSON knows it."""
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    raise TypeError(f"a {type(value).__name__} cannot be written as JSON")
