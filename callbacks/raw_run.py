"""The raw run into Tiled, with a copy on disk should Tiled be gone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ptycho_plugin.publishing.connection import tiled_errors
from ptycho_plugin.publishing.series import SeriesWriter

ROWS_PER_WRITE = 10
"""A write costs 80 to 90 ms in the RunEngine's thread: rows come in tens, still during the run."""

NO_ARRAY = 0
"""Elements of the largest array in an event that goes into a table: each is one of its own in Tiled."""


def raw_run_writer(client: Any, backup_directory: str | Path) -> Callable[[str, Mapping[str, Any]], None]:
    """Return a callback that writes runs under ``raw`` of a Tiled tree, and what series they are of.

    Parameters
    ----------
    client : tiled client
        Of the tree's root. ``raw`` is created if it is not there, ``series`` with the first one.
    backup_directory : path
        A run that Tiled did not take is kept here, one JSON document a line.

    Raises
    ------
    PublishingError
        If Tiled refuses or cannot be reached.
    """
    from bluesky_tiled_plugins import TiledWriter
    from tiled.structures.core import Spec

    with tiled_errors(client):
        if "raw" not in client:
            client.create_container("raw", specs=[Spec("CatalogOfBlueskyRuns", version="3.0")])
        runs = TiledWriter(
            client["raw"],
            backup_directory=str(backup_directory),
            batch_size=ROWS_PER_WRITE,
            max_array_size=NO_ARRAY,
        )
    series = SeriesWriter(client)

    def write(name: str, doc: Mapping[str, Any]) -> None:
        runs(name, doc)
        series(name, doc)

    return write
