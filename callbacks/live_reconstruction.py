"""Documents in, a growing phase map in Tiled out: the RunEngine's side of the live reconstruction."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from event_model import RunRouter

from ptycho_plugin.errors import InputError
from ptycho_plugin.live.feed import RunFeed, WorkerSettings
from ptycho_plugin.live.outcome import LiveOutcome
from ptycho_plugin.metadata import RECONSTRUCTED, START_KEY
from ptycho_plugin.publishing.connection import split_key
from ptycho_plugin.reconstruction.result import Progress

logger = logging.getLogger(__name__)

SAFE_NAME = re.compile(r"[A-Za-z0-9-]+")


class LiveReconstruction:
    """Reconstructs scans while they run, each in a worker process of its own.

    Subscribe it: ``RE.subscribe(live)``. It writes documents to disk and wakes the worker; it
    computes nothing, waits for nothing, and whatever fails is logged and told by `wait`, never
    raised into the RunEngine. Runs that are no ptychographic scans are ignored.

    Parameters
    ----------
    tiled_uri : str
        Address of the Tiled tree that takes the results, with its key in the query or without.
    spool : path
        Folder for documents and worker logs, one folder a run.
    data : path
        Folder of the frames' files; workers read none outside it.
    api_key : str, optional
        By default the one in the address, else the variable ``TILED_API_KEY``.
    on_progress : callable, optional
        Called with a `Progress` after every iteration, in a thread of its own.
    """

    def __init__(
        self,
        tiled_uri: str,
        spool: str | Path,
        data: str | Path,
        *,
        api_key: str | None = None,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> None:
        address, key = split_key(tiled_uri)
        self._settings = WorkerSettings(address, api_key or key, Path(data).resolve(), on_progress)
        self._spool = Path(spool).resolve()
        self._router = RunRouter([self._factory])
        self._feeds: dict[str, RunFeed | LiveOutcome] = {}

    def __call__(self, name: str, doc: Mapping[str, Any]) -> None:
        """Take in one document of any run."""
        try:
            self._router(name, doc)
        except Exception:  # a live view must never end a scan
            logger.exception("live reconstruction: a %s document could not be handled", name)

    def wait(self, uid: str | None = None, timeout: float | None = None) -> LiveOutcome:
        """Return how the reconstruction of a run ended, once it has.

        Parameters
        ----------
        uid : str, optional
            Of the run; by default the latest one.
        timeout : float, optional
            In seconds.

        Raises
        ------
        InputError
            If there was no such scan.
        TimeoutError
            If it takes longer.
        """
        if not self._feeds:
            raise InputError(
                "no scan was started since this LiveReconstruction was subscribed: "
                "subscribe it to the RunEngine, then run ptycho_scan"
            )
        feed = self._feeds.get(uid or next(reversed(self._feeds)))
        if feed is None:
            raise InputError(
                f"run {uid} is no scan that this LiveReconstruction has seen: "
                f"give one of {', '.join(self._feeds)}"
            )
        return feed if isinstance(feed, LiveOutcome) else feed.wait(timeout)

    def _factory(self, _: str, start: Mapping[str, Any]) -> tuple[list[RunFeed], list[Any]]:
        if start.get(START_KEY, {}).get("purpose") not in RECONSTRUCTED:
            return [], []
        uid = start["uid"]
        try:
            feed = self._feeds[uid] = self._feed(uid)
        except Exception as error:
            self._feeds[uid] = LiveOutcome(uid, error=f"the worker could not be started: {error}")
            raise
        return [feed], []

    def _feed(self, uid: str) -> RunFeed:
        if not SAFE_NAME.fullmatch(uid):
            raise InputError(f"the run's uid {uid!r} cannot name a folder: use letters, digits and hyphens")
        return RunFeed(uid, self._spool / uid, self._settings)
