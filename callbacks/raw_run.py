"""The raw run into Tiled, with a copy on disk should Tiled, or this process, be gone."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ptycho_plugin.callbacks.open_runs import Documents, OpenRuns, drop, left_behind, stop_of
from ptycho_plugin.errors import PublishingError
from ptycho_plugin.publishing.connection import tiled_errors
from ptycho_plugin.publishing.series import SeriesWriter

if TYPE_CHECKING:
    from bluesky_tiled_plugins import TiledWriter

logger = logging.getLogger(__name__)

ROWS_PER_WRITE = 10
"""A write costs 80 to 90 ms in the RunEngine's thread: rows come in tens, still during the run."""

NO_ARRAY = 0
"""Elements of the largest array in an event that goes into a table: each is one of its own in Tiled."""


class RawRunWriter:
    """Writes runs into Tiled, and what series they are of; open runs are on disk as well.

    Parameters
    ----------
    writer : TiledWriter
    series : SeriesWriter
    open_runs : OpenRuns
    """

    def __init__(self, writer: TiledWriter, series: SeriesWriter, open_runs: OpenRuns) -> None:
        self._writer = writer
        self._series = series
        self._open_runs = open_runs

    def __call__(self, name: str, document: Mapping[str, Any]) -> None:
        """Write one document of any run."""
        self._open_runs(name, document)
        self._writer(name, document)
        self._series(name, document)
        if name == "stop":
            self._open_runs.forget(document["run_start"])

    def close(self) -> None:
        """Leave runs that are not closed to the next writer, as the end of the process would."""
        self._open_runs.close()


def raw_run_writer(client: Any, backup_directory: str | Path) -> RawRunWriter:
    """Return a callback that writes runs under ``raw`` of a Tiled tree, and their series under ``series``.

    What Tiled lacks of runs whose process was killed is written now, from the backup directory.

    Parameters
    ----------
    client : tiled client
        Of the tree's root. ``raw`` is created if it is not there, ``series`` with the first one.
    backup_directory : path
        On a local disk. A run that Tiled did not take is kept here, one JSON document a line, and
        every run while it is open.

    Raises
    ------
    PublishingError
        If Tiled refuses or cannot be reached.
    """
    from bluesky_tiled_plugins import TiledWriter
    from tiled.structures.core import Spec

    directory = Path(backup_directory)
    with tiled_errors(client):
        if "raw" not in client:
            client.create_container("raw", specs=[Spec("CatalogOfBlueskyRuns", version="3.0")])
        raw = client["raw"]
        writer = TiledWriter(
            raw, backup_directory=str(directory), batch_size=ROWS_PER_WRITE, max_array_size=NO_ARRAY
        )
    series = SeriesWriter(client)
    for run, documents in left_behind(directory):
        try:
            with tiled_errors(client):
                _complete(raw, writer, series, documents)
            drop(run)
        except PublishingError as error:
            logger.warning("a run that was cut off stays in %s: %s", run, error)
    return RawRunWriter(writer, series, OpenRuns(directory))


def _complete(raw: Any, writer: TiledWriter, series: SeriesWriter, documents: Documents) -> None:
    """Write a run that was cut off, in place of what Tiled has of it."""
    if not documents:
        return
    if documents[0][0] != "start":
        raise PublishingError("its documents do not begin with a start: look at them, then remove the folder")
    uid = documents[0][1]["uid"]
    series(*documents[0])
    if uid in raw:
        if raw[uid].metadata.get("stop"):
            return
        raw.delete_contents(uid, recursive=True, external_only=False)
    for name, document in documents:
        writer(name, document)
    if documents[-1][0] != "stop":
        writer("stop", stop_of(documents))
