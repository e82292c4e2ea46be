"""Raw runs into Tiled, document by document or whole, and whether all of a run is there."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from ptycho_plugin.publishing.connection import child, tiled_errors
from ptycho_plugin.publishing.series import SeriesWriter

CONTAINER = "raw"
SPEC = {"name": "CatalogOfBlueskyRuns", "version": "3.0"}
ROWS_PER_WRITE = 10
"""A write takes Tiled 80 to 90 ms: rows come in tens, still during the run."""
NO_ARRAY = 0
"""Elements of the largest array in an event that goes into a table: each is one of its own in Tiled."""


class RawRunWriter:
    """Writes runs under ``raw`` of a Tiled tree, and what series they are of under ``series``.

    A RunEngine that it is subscribed to waits for Tiled; the service calls it in a process of its own.

    Parameters
    ----------
    client : tiled client
        Of the tree's root. ``raw`` is created if it is not there, ``series`` with the first one.

    Raises
    ------
    PublishingError
        If Tiled refuses or cannot be reached; each document may raise it, too.
    """

    def __init__(self, client: Any) -> None:
        from bluesky_tiled_plugins import TiledWriter
        from tiled.structures.core import Spec

        self._client = client
        with tiled_errors(client):
            self._runs = child(client, CONTAINER, spec=Spec(**SPEC))
            self._writer = TiledWriter(self._runs, batch_size=ROWS_PER_WRITE, max_array_size=NO_ARRAY)
        self._series = SeriesWriter(client)

    def __call__(self, name: str, document: Mapping[str, Any]) -> None:
        """Write one document of any run."""
        with tiled_errors(self._client):
            self._writer(name, document)
        self._series(name, document)


def rewritten(client: Any, documents: Iterable[tuple[str, Mapping[str, Any]]]) -> RawRunWriter:
    """Write a run from its start on, in place of what Tiled has of it; return what takes the rest.

    Parameters
    ----------
    client : tiled client
        Of the tree's root.
    documents : iterable of (str, mapping)
        Of one run, the start first.

    Raises
    ------
    PublishingError
        If Tiled refuses or cannot be reached.
    """
    writer = RawRunWriter(client)
    for name, document in documents:
        if name == "start":
            with tiled_errors(client):
                if document["uid"] in (runs := client[CONTAINER]):
                    runs.delete_contents(document["uid"], recursive=True, external_only=False)
        writer(name, document)
    return writer


def lacking(client: Any, documents: Iterable[tuple[str, Mapping[str, Any]]]) -> str:
    """Return what Tiled lacks of a run that is closed, or has otherwise; nothing if all is there.

    Parameters
    ----------
    client : tiled client
        Of the tree's root.
    documents : iterable of (str, mapping)
        From start to stop.

    Raises
    ------
    PublishingError
        If Tiled refuses or cannot be reached.
    """
    said = _Said()
    for name, document in documents:
        said(name, document)
    with tiled_errors(client):
        try:
            run = client[CONTAINER, said.uid]
        except KeyError:
            return f"there is no run {said.uid}"
        if (run.metadata.get("stop") or {}).get("uid") != said.stop:
            return f"run {said.uid} is not closed"
        return next(filter(None, (said.compared(run, stream) for stream in said.events)), "")


class _Said:
    """What documents say that a run has: sequence numbers of events and numbers of frames, by stream."""

    def __init__(self) -> None:
        self.uid = self.stop = ""
        self.events: dict[str, list[int]] = {}
        self.frames: dict[tuple[str, str], int] = defaultdict(int)
        self._streams: dict[str, str] = {}
        self._keys: dict[str, str] = {}

    def __call__(self, name: str, document: Mapping[str, Any]) -> None:
        match name:
            case "start":
                self.uid = document["uid"]
            case "descriptor":
                self._streams[document["uid"]] = document["name"]
                self.events.setdefault(document["name"], [])
            case "event_page":
                self.events[self._streams[document["descriptor"]]].extend(document["seq_num"])
            case "event":
                self.events[self._streams[document["descriptor"]]].append(document["seq_num"])
            case "stream_resource":
                self._keys[document["uid"]] = document["data_key"]
            case "stream_datum":
                where = self._streams[document["descriptor"]], self._keys[document["stream_resource"]]
                self.frames[where] += document["indices"]["stop"] - document["indices"]["start"]
            case "stop":
                self.stop = document["uid"]

    def compared(self, run: Any, stream: str) -> str:
        """Return what is missing of a stream, or there twice."""
        node = run[stream].base
        rows = sorted(node["internal"].read(["seq_num"])["seq_num"]) if "internal" in node else []
        if rows != sorted(self.events[stream]):
            return f"run {self.uid} has {len(rows)} of {len(self.events[stream])} events in stream {stream}"
        for (where, key), frames in self.frames.items():
            if where == stream and node[key].shape[0] != frames:
                return f"run {self.uid} has {node[key].shape[0]} of {frames} frames of {key}"
        return ""
