"""Documents of runs that are not closed yet, on disk: what a killed process had told nobody else."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import uuid4

from event_model import RunRouter

from ptycho_plugin.live.spool import SpoolReader, SpoolWriter

FOLDER = "open-"
"""Before what tells the folders of several processes apart."""

Documents = list[tuple[str, dict[str, Any]]]


class OpenRuns:
    """Keeps the documents of each run until it is forgotten.

    A document is with the operating system when the call returns, so that it outlives the process.

    Parameters
    ----------
    directory : Path
        Gets a folder for this process, which holds a lock on it while runs are open.
    """

    def __init__(self, directory: Path) -> None:
        self._folder = directory / f"{FOLDER}{uuid4().hex}"
        self._lock: int | None = None
        self._router = RunRouter([self._factory])

    def __call__(self, name: str, document: Mapping[str, Any]) -> None:
        """Keep one document of any run."""
        self._router(name, document)

    def forget(self, run_uid: str) -> None:
        """Drop a run that others have whole."""
        drop(self._folder / quote(run_uid, safe=""))
        if not any(self._folder.iterdir()):
            self._folder.rmdir()
            self.close()

    def close(self) -> None:
        """Leave what is kept to whoever looks for `left_behind`."""
        if self._lock is not None:
            os.close(self._lock)
        self._lock = None

    def _factory(self, _: str, start: Mapping[str, Any]) -> tuple[list[Any], list[Any]]:
        if self._lock is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(self._folder, os.O_RDONLY)
            fcntl.flock(self._lock, fcntl.LOCK_EX)
        run = self._folder / quote(start["uid"], safe="")
        run.mkdir(exist_ok=True)

        def keep(name: str, document: Mapping[str, Any]) -> None:
            writer = SpoolWriter(run)
            writer.append(name, document)
            writer.close()

        return [keep], []


def left_behind(directory: Path) -> Iterator[tuple[Path, Documents]]:
    """Yield folder and documents of each run that a process had open when it ended."""
    for folder in directory.glob(f"{FOLDER}*"):
        try:
            lock = os.open(folder, os.O_RDONLY)
        except FileNotFoundError:
            continue  # its process has just closed its last run
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for run in folder.iterdir():
                yield run, list(SpoolReader(run).read()) if any(run.iterdir()) else []
            if not any(folder.iterdir()):
                folder.rmdir()
        except BlockingIOError:
            continue  # its process lives
        finally:
            os.close(lock)


def drop(run: Path) -> None:
    """Remove the folder of a run that others have whole."""
    shutil.rmtree(run)


def stop_of(documents: Documents) -> dict[str, Any]:
    """Return the stop document that a run would have had, had its process not ended."""
    start = documents[0][1]
    streams = {document["uid"]: document["name"] for name, document in documents if name == "descriptor"}
    # The router makes pages of events.
    pages = [document for name, document in documents if name == "event_page"]
    num_events = dict.fromkeys(streams.values(), 0)
    for page in pages:
        num_events[streams[page["descriptor"]]] += len(page["seq_num"])
    return {
        "uid": str(uuid4()),
        "run_start": start["uid"],
        "time": max([start["time"], *(time for page in pages for time in page["time"])]),
        "exit_status": "abort",
        "reason": "the process ended before the run",
        "num_events": num_events,
    }
