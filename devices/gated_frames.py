"""The frames of a trajectory, each with the gate that it was taken in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from time import monotonic, time
from typing import Any

from event_model import PartialEventPage

from ptycho_plugin.devices.beamline import Beamline, TrajectoryScanner
from ptycho_plugin.errors import InputError, LostFrameError

UNMATCHED_S = 5.0
"""After so long without a moment at which frames and gates were equally many, it is time to look."""


class GatedFrames:
    """Frames of the detector, with position and counts of the scanner's gates, in one stream.

    A trigger that is missed, or a frame that is dropped, would shift all later frames against their
    positions, and numbers alone do not tell which it was. So a frame is given to its gate only when frames
    and gates were once equally many after it: then none was missing, for a frame cannot come before its
    gate. A scanner that was once seen to tell of its gates late is believed at rest alone. What never was
    stays on disk, and in `unmatched`.

    A run that takes several trajectories has its frames in one file; of each, the plan says when it begins.
    It can be collected, by the RunEngine's ``collect``, like a flyer.

    Parameters
    ----------
    beamline : Beamline
        With a scanner.

    Raises
    ------
    InputError
        If it has none.
    """

    name = "trajectory"
    parent = None

    def __init__(self, beamline: Beamline) -> None:
        self._scanner = scanner_of(beamline)
        self._detector = beamline.detector
        self._flux = beamline.flux
        self._encoder = beamline.encoder
        self._first = self._matched = self._told = 0
        self._matched_at = monotonic()
        self._are_gates_late = False

    def begin(self) -> None:
        """Say that a trajectory is armed, before its first gate."""
        self._first = self._detector.get_index()
        self._matched = self._told = 0
        self._matched_at = monotonic()

    @property
    def gates(self) -> int:
        """How many gates of the trajectory have ended."""
        return len(self._scanner.captured)

    @property
    def told(self) -> int:
        """How many of them are in the documents, with their frames."""
        return self._told

    @property
    def frames(self) -> int:
        """How many frames of the trajectory are on disk."""
        return self._detector.get_index() - self._first

    @property
    def is_unmatched(self) -> bool:
        """Whether frames and gates have not been equally many for long."""
        return monotonic() - self._matched_at > UNMATCHED_S

    def match(self) -> bool:
        """Compare frames and gates, and return whether they are equally many."""
        frames = self.frames  # before the gates: one that ends in between is no frame that is missing
        gates = self.gates
        self._are_gates_late |= frames > gates
        if frames != gates or (self._are_gates_late and self._scanner.is_running):
            return False
        self._matched, self._matched_at = frames, monotonic()
        return True

    @property
    def unmatched(self) -> UnmatchedGates:
        """Gates whose frames nobody can tell, as one reading."""
        return UnmatchedGates(self.describe_gates(), self._columns(self._told, self.gates))

    def check_whole(self) -> None:
        """Raise `LostFrameError` unless each gate of a trajectory that is over has its frame."""
        gates, frames = self.gates, self.frames
        if gates != frames or self._told < gates:
            raise LostFrameError(
                f"the trajectory had {gates} gates, and the detector wrote {frames} frames: after the first "
                f"{self._told} nobody can tell which belongs to which position; they stay in its file, and "
                "the positions in the stream 'unmatched'; look at the trigger line and the file writer"
            )

    def describe_collect(self) -> dict[str, Any]:
        """Return the data keys that a step scan has of detector, encoder and flux monitor."""
        frames = self._detector.describe()[self._detector.frame_key]
        return {self._detector.frame_key: dict(frames), **self.describe_gates()}

    def describe_gates(self) -> dict[str, Any]:
        """Return those of the gates alone."""
        described = {**self._encoder.describe(), **self._flux.describe()}
        return {key: {**described[key], "source": f"gates:{self._scanner.name}"} for key in self._gate_keys}

    def read_configuration(self) -> dict[str, Any]:
        """Return the configuration of detector and flux monitor."""
        return {**self._detector.read_configuration(), **self._flux.read_configuration()}

    def describe_configuration(self) -> dict[str, Any]:
        """Return its data keys."""
        return {**self._detector.describe_configuration(), **self._flux.describe_configuration()}

    def collect_asset_docs(self) -> Iterator[tuple[str, Any]]:
        """Yield where the frames that have found their gates since the last call are."""
        self.match()
        yield from self._detector.collect_asset_docs(self._first + self._matched)

    def collect_pages(self) -> Iterator[PartialEventPage]:
        """Yield positions and counts for the frames that `collect_asset_docs` told of."""
        first, self._told = self._told, self._matched
        if first == self._told:
            return
        now = [time()] * (self._told - first)
        columns = self._columns(first, self._told)
        yield PartialEventPage(time=now, data=columns, timestamps=dict.fromkeys(columns, now))

    def _columns(self, first: int, end: int) -> dict[str, list[float]]:
        """Return what the gates from one to another captured, by data keys."""
        captured = self._scanner.captured
        columns = (*captured.positions_um[first:end].T, captured.counts[first:end])
        return dict(zip(self._gate_keys, (column.tolist() for column in columns), strict=True))

    @property
    def _gate_keys(self) -> tuple[str, str, str]:
        return self._encoder.y.name, self._encoder.x.name, self._flux.counts.name


class UnmatchedGates:
    """Positions and counts without frames, each an array.

    Parameters
    ----------
    keys : mapping
        Data keys of one gate.
    columns : mapping
        Values of all.
    """

    name = "unmatched"
    parent = None

    def __init__(self, keys: Mapping[str, Any], columns: Mapping[str, list[float]]) -> None:
        self._keys = keys
        self._columns = columns

    def read(self) -> dict[str, Any]:
        """Return the arrays."""
        now = time()
        return {key: {"value": column, "timestamp": now} for key, column in self._columns.items()}

    def describe(self) -> dict[str, Any]:
        """Return their data keys."""
        array = {"dtype": "array", "dtype_numpy": "<f8"}
        return {
            key: {**self._keys[key], **array, "shape": [len(column)]} for key, column in self._columns.items()
        }


def scanner_of(beamline: Beamline) -> TrajectoryScanner:
    """Return what scans a beamline's piezo stage by hardware.

    Raises
    ------
    InputError
        If nothing does.
    """
    if beamline.scanner is None:
        raise InputError(f"beamline {beamline.name} has no trajectory scanner: scan it by ptycho_scan")
    return beamline.scanner
