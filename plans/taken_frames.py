"""Frames and readings of the run that is being made, found through its own documents."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ptycho_plugin.live.frame_files import FrameFiles

WHOLE = (slice(None), slice(None))


class TakenFrames:
    """A callback that remembers where a run's frames are, whatever detector wrote them."""

    def __init__(self) -> None:
        self.run_uid = ""
        self._readings: list[dict[str, Any]] = []
        self._resources: dict[str, dict[str, Any]] = {}
        self._indices: list[tuple[str, int]] = []

    def __call__(self, name: str, doc: dict[str, Any]) -> None:
        """Take in one document."""
        if name == "start":
            self.run_uid = doc["uid"]
        elif name == "event":
            self._readings.append(doc["data"])
        elif name == "stream_resource":
            self._resources[doc["uid"]] = doc
        elif name == "stream_datum":
            indices = range(doc["indices"]["start"], doc["indices"]["stop"])
            self._indices += [(doc["stream_resource"], index) for index in indices]

    def read(self) -> Iterator[NDArray[np.int32]]:
        """Yield the full raw frames (row, column) so far, in their order."""
        with FrameFiles(Path("/")) as files:
            for uid, index in self._indices:
                resource = self._resources[uid]
                yield files.read(resource["uri"], resource["parameters"]["dataset"], index, WHOLE)

    def readings(self, key: str) -> list[Any]:
        """Return what the events so far hold under a data key, in their order."""
        return [data[key] for data in self._readings if key in data]
