"""Which frame was taken where: a run's documents joined by explicit index."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from ptycho_plugin.errors import InputError
from ptycho_plugin.metadata import ScanMetadata


class Exposure(NamedTuple):
    """One frame on disk and the stage position it was taken at."""

    uri: str
    dataset: str
    frame: int
    stage_um: tuple[float, float]


class RunDocuments:
    """One run's documents so far.

    A ``stream_datum`` ties indices in a file to sequence numbers, an event ties a sequence
    number to a position; either may come first. The first frame and the first event of a
    number count, later ones (a plan that was rewound) are counted as repeated.

    Attributes
    ----------
    start : mapping
        The run's first document, empty until it is there.
    stop : mapping or None
        The last one, once it is there.
    last_event : float
        When the last event was, in seconds since the epoch.
    repeated, unusable : int
        Second frames or events of a number; positions that are not numbers.
    """

    def __init__(self) -> None:
        self.start: Mapping[str, Any] = {}
        self.stop: Mapping[str, Any] | None = None
        self._metadata: ScanMetadata | None = None
        self.last_event = math.nan
        self.repeated = self.unusable = 0
        self._descriptors: set[str] = set()
        self._files: dict[str, tuple[str, str]] = {}
        self._frames: dict[int, tuple[str, int]] = {}
        self._positions: dict[int, tuple[float, float]] = {}

    def add(self, name: str, document: dict[str, Any]) -> list[Exposure]:
        """Take in one document, whole or not at all, and return the exposures that it completes.

        Raises
        ------
        InputError
            If the document, or the start document's metadata, cannot be used.
        """
        try:
            return list(self._add(name, document))
        except InputError:
            raise
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise InputError(f"a {name} document of the run cannot be used: {error!r}") from error

    def _add(self, name: str, document: dict[str, Any]) -> Iterator[Exposure]:
        match name:
            case "start":
                self.start, self._metadata = document, ScanMetadata.from_start(document)
            case "stop":
                self.stop = document
            case "descriptor" if self._exposure_keys <= document["data_keys"].keys():
                self._descriptors.add(document["uid"])
            case "stream_resource" if document["data_key"] == self.scan.frame_key:
                self._files[document["uid"]] = document["uri"], document["parameters"]["dataset"]
            case "stream_datum" if document["stream_resource"] in self._files:
                yield from self._add_frames(document)
            case "event_page" if document["descriptor"] in self._descriptors:
                yield from self._add_events(document)

    @property
    def scan(self) -> ScanMetadata:
        """What the start document says of the scan.

        Raises
        ------
        InputError
            If there is no start document.
        """
        if self._metadata is None:
            raise InputError("the run's start document is not in the spool: its first line was lost")
        return self._metadata

    @property
    def missing(self) -> int:
        """Sequence numbers that have a frame or a position, but not both."""
        return len(self._frames.keys() ^ self._positions.keys())

    def _add_frames(self, datum: Mapping[str, Any]) -> Iterator[Exposure]:
        indices, numbers = (range(datum[key]["start"], datum[key]["stop"]) for key in ("indices", "seq_nums"))
        for index, number in list(zip(indices, numbers, strict=True)):
            yield from self._put(self._frames, number, (datum["stream_resource"], index))

    def _add_events(self, page: Mapping[str, Any]) -> Iterator[Exposure]:
        rows, columns = (map(float, page["data"][key]) for key in self.scan.position_keys)
        events = list(zip(map(int, page["seq_num"]), zip(rows, columns, strict=True), strict=True))
        self.last_event = float(page["time"][-1])
        for number, position in events:
            yield from self._put(self._positions, number, position)

    def _put(self, known: dict[int, Any], number: int, value: Any) -> Iterator[Exposure]:
        if number in known:
            self.repeated += 1
            return
        known[number] = value
        if number in self._frames and number in self._positions:
            yield from self._exposure(number)

    def _exposure(self, number: int) -> Iterator[Exposure]:
        resource, index = self._frames[number]
        position = self._positions[number]
        if all(map(math.isfinite, position)):
            yield Exposure(*self._files[resource], index, position)
        else:
            self.unusable += 1

    @property
    def _exposure_keys(self) -> set[str]:
        """What the stream of exposures has; one of positions alone is of frames that nobody can tell."""
        return {*self.scan.position_keys, self.scan.frame_key}
