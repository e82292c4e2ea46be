"""One run's documents from the spool into Tiled, once each, however often Tiled or the sender ends."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

from ptycho_plugin.errors import PublishingError, TiledUnreachableError
from ptycho_plugin.live.attempts import Attempts
from ptycho_plugin.live.spool import Document, SpoolReader, SpoolWriter, may_grow
from ptycho_plugin.publishing.raw_run_writer import CONTAINER, RawRunWriter, lacking, rewritten

logger = logging.getLogger(__name__)

REFUSALS = 3
"""Of Tiled, after which a run is given up: what it does not understand it will not tomorrow."""


class RawSender:
    """Follows the spool of one run and writes it into Tiled.

    As long as all goes well each document is sent when it is there. After whatever went wrong, a request
    whose answer was lost as well, nobody knows what Tiled has: then the run is written again from its
    start on, in place of that. In the end Tiled is asked whether it has all.

    Parameters
    ----------
    folder : path
        The run's, with its spool.
    client : tiled client
        Of the tree's root.

    Attributes
    ----------
    path : str
        Where the run is, below the tree's root, once all of it is there.
    """

    def __init__(self, folder: Path, client: Any) -> None:
        self._folder = folder
        self._client = client
        self._reader = SpoolReader(folder)
        self._writer: RawRunWriter | None = None
        self._uid = ""
        self._closed = False
        self.path = ""

    def send(self) -> None:
        """Send what is new in the spool; if that fails, the next call sends all.

        Raises
        ------
        PublishingError
            If Tiled refuses or cannot be reached, or lacks what it was sent.
        """
        writer, self._writer = self._writer, None
        if writer is None:
            self._reader = SpoolReader(self._folder)
            writer = rewritten(self._client, self._new())
        else:
            for name, document in self._new():
                writer(name, document)
        self._writer = writer
        if self._closed and not self.path:
            self._check()

    def _new(self) -> Iterator[Document]:
        for name, document in self._reader.read():
            self._uid = self._uid or document.get("uid", "")
            self._closed = self._closed or name == "stop"
            yield name, document

    def _check(self) -> None:
        lack = lacking(self._client, SpoolReader(self._folder).read())
        if lack:
            self._writer = None
            raise PublishingError(f"Tiled took run {self._uid}, but {lack}")
        self.path = f"{CONTAINER}/{self._uid}"


class Sending:
    """Sends a run again and again until Tiled has it, in a thread that may wait for Tiled.

    Parameters
    ----------
    folder : path
        The run's, with its spool.

    Attributes
    ----------
    attempts : Attempts
    path : str
        Where the run is, below the tree's root, once all of it is there.
    error : str
        Why it is given up.
    warnings : deque of str
        What a user should hear; another thread takes it out.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._sender: RawSender | None = None
        self._refusals = 0
        self.attempts = Attempts()
        self.path = self.error = ""
        self.warnings: deque[str] = deque()

    @property
    def is_over(self) -> bool:
        """Whether Tiled has the run, or will never."""
        return bool(self.path or self.error)

    def attempt(self, client: Callable[[], Any]) -> None:
        """Send what is new; what fails is tried again later.

        Parameters
        ----------
        client : callable
            Returns a client of the tree's root.
        """
        try:
            self._sender = self._sender or RawSender(self._folder, client())
            self._sender.send()
        except TiledUnreachableError as error:
            self._failed(str(error))
        except Exception as error:  # whatever is in a document, other runs must go on
            logger.exception("the run in %s could not be sent", self._folder)
            self._refused(str(error) if isinstance(error, PublishingError) else repr(error))
        else:
            self.attempts.succeeded()
            self._refusals = 0
            self.path = self._sender.path

    def _failed(self, reason: str) -> None:
        self._sender = None
        if not self.attempts.failures:
            self.warnings.append(f"what Tiled does not take stays on disk until it does: {reason}")
        self.attempts.failed()

    def _refused(self, reason: str) -> None:
        self._refusals += 1
        self._failed(reason)
        if self._refusals >= REFUSALS:
            self.error = f"the raw run is not in Tiled: {reason}; its documents are in {self._folder}"


def close_abandoned(folder: Path) -> bool:
    """Close a run whose process has ended before it; return whether it was one.

    Raises
    ------
    OSError
        If the disk does not take the document.
    """
    if may_grow(folder):
        return False
    documents = list(SpoolReader(folder).read())
    if not documents or documents[0][0] != "start" or documents[-1][0] == "stop":
        return False
    writer = SpoolWriter(folder)
    writer.append("stop", _stop_of(documents))
    writer.close()
    return True


def _stop_of(documents: list[Document]) -> Mapping[str, Any]:
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
        "time": max([start["time"], *(moment for page in pages for moment in page["time"])]),
        "exit_status": "abort",
        "reason": "the process ended before the run",
        "num_events": num_events,
    }
