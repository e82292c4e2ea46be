"""A dose series in Tiled: what it is, and which runs are its own."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from ptycho_plugin.errors import PublishingError
from ptycho_plugin.publishing.connection import child, tiled_errors

CONTAINER = "series"
SPEC = "DoseSeries"
SCHEMA_VERSION = 1
START_KEY = "series"
"""Of what a run's start document says of its series: ``uid``, ``sample``, ``matrix`` and ``forecast``."""
RUN_KEYS = ("area", "region", "repeat")
"""Of a start document, by which the runs of a series are told apart."""

logger = logging.getLogger(__name__)


class SeriesWriter:
    """A callback that keeps ``series/<uid>``, with an entry for every run that names the series.

    An entry has the run's uid as its key. What Tiled does not take is logged, and tried again with the next
    start or stop document: it is an index of the runs, which say themselves where they belong.

    Parameters
    ----------
    client : tiled client
        Of the tree's root.
    """

    def __init__(self, client: Any) -> None:
        self._client = client
        self._unwritten: list[Mapping[str, Any]] = []

    def __call__(self, name: str, doc: Mapping[str, Any]) -> None:
        """Take in one document of any run."""
        if name == "start" and START_KEY in doc:
            self._unwritten.append(doc)
        elif name != "stop":
            return
        try:
            with tiled_errors(self._client):
                while self._unwritten:
                    self._write(self._unwritten[0])
                    del self._unwritten[0]
        except PublishingError as error:
            logger.warning("the series of %d runs is not in Tiled yet: %s", len(self._unwritten), error)

    def _write(self, start: Mapping[str, Any]) -> None:
        node = self._node(start)
        if start["uid"] not in node:
            node.create_container(start["uid"], metadata={key: start.get(key) for key in RUN_KEYS})

    def _node(self, start: Mapping[str, Any]) -> Any:
        """Return the series' node; what was expected of it stays, its matrix may grow."""
        series = dict(start[START_KEY])
        parent, uid = child(self._client, CONTAINER), series.pop("uid")
        if uid not in parent:
            metadata = {"schema_version": SCHEMA_VERSION, **series}
            return parent.create_container(uid, metadata=metadata, specs=[SPEC])
        node = parent[uid]
        if node.metadata["matrix"] != series["matrix"]:
            node.update_metadata({"matrix": series["matrix"]})
        return node
