"""A run's documents on disk, one JSON object a line: written by the RunEngine, read by the worker."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

logger = logging.getLogger(__name__)

FILE_NAME = "documents.jsonl"


class SpoolWriter:
    """Appends documents to the file of a run's folder; each is on its way to disk at return.

    Parameters
    ----------
    folder : path
        Created if it is not there.

    Raises
    ------
    OSError
        If the folder or the file cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file = (folder / FILE_NAME).open("a", encoding="utf-8")

    def append(self, name: str, document: Mapping[str, Any]) -> None:
        """Add one document.

        Raises
        ------
        TypeError, ValueError
            If it holds what JSON cannot.
        OSError
            If the disk does not take it.
        """
        self._file.write(json.dumps([name, document], default=_plain) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


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

    def read(self) -> Iterator[tuple[str, dict[str, Any]]]:
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

    def _parse(self, line: bytes) -> tuple[str, dict[str, Any]] | None:
        try:
            name, document = json.loads(line)
            if isinstance(name, str) and isinstance(document, dict):
                return name, document
        except (ValueError, TypeError):
            pass
        self.malformed += 1
        logger.warning("%s: a line before byte %d is no document", self._path, self._offset)
        return None


def _plain(value: object) -> object:
    """Return a NumPy scalar or array as JSON knows it."""
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    raise TypeError(f"a {type(value).__name__} cannot be written as JSON")
