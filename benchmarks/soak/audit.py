"""What the sample received of a repeat, against what ledger, documents and frames say of it."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import h5py
import numpy as np
from numpy.typing import NDArray

from benchmarks.soak.options import COUNTS_PER_PHOTON
from ptycho_plugin.ledger import Exposures, Ledger, ScanProgress
from ptycho_plugin.metadata import ScanMetadata

POSITION_TOLERANCE_UM = 1e-6
PHOTONS_TOLERANCE = 1e-9
"""Relative: nothing is noisy here."""
SIGMAS = 3
"""Of what the ledger itself calls uncertain, where the shutter opened and nothing was exposed: the flux
was not measured then."""


@dataclass
class Findings:
    """Points and exposures that are not as they should be; `uncertain` are those that a kill left."""

    double: int = 0
    missing: int = 0
    unequal: int = 0
    off_position: int = 0
    early_reads: int = 0
    uncertain: int = 0
    said: list[str] = field(default_factory=list)
    """A sentence for each that is wrong."""

    @property
    def counts(self) -> dict[str, int]:
        """The numbers alone."""
        return {each.name: getattr(self, each.name) for each in fields(self) if each.name != "said"}

    def count(self, kind: str, number: int, sentence: str) -> None:
        """Count so many more of a kind."""
        if number:
            setattr(self, kind, getattr(self, kind) + number)
            self.said.append(f"{kind}: {sentence}")

    def add(self, other: Findings) -> None:
        """Take in those of another run."""
        for kind, number in other.counts.items():
            setattr(self, kind, getattr(self, kind) + number)
        self.said += other.said


@dataclass(frozen=True)
class Repeat:
    """All that is known of one repeat when it is complete.

    Parameters
    ----------
    progress : ScanProgress
    exposures : Exposures
        Of the runs of the repeat.
    openings : list of dict
        Of the shutter, as the beam has logged them.
    folder : Path
        Of documents and frames.
    kills : int
    failed_frames : int
        Frames that could not be written, as the soak had it.
    again : tuple of int
        Points that were exposed again because this was asked for.
    """

    progress: ScanProgress
    exposures: Exposures
    openings: list[dict[str, Any]]
    folder: Path
    kills: int
    failed_frames: int
    again: tuple[int, ...] = ()

    @property
    def planned_um(self) -> NDArray[np.float64]:
        """Where the probe should go, (point, 2), coarse and piezo stage added."""
        scan = self.progress.runs[0].scan
        return np.array(scan.points_um) + scan.coarse_um

    def point_at(self, place_um: list[float]) -> int:
        """Return the number of the nearest point."""
        return int(np.argmin(np.hypot(*(self.planned_um - place_um).T)))


def audit(repeat: Repeat) -> Findings:
    """Return what is wrong with a repeat."""
    findings = Findings(uncertain=len(repeat.progress.uncertain))
    _exposed_once(repeat, findings)
    _in_place(repeat, findings)
    _photons(repeat, findings)
    _left_out(repeat, findings)
    _events(repeat, findings)
    return findings


def exposures_by_point(repeat: Repeat) -> Counter[int]:
    """Return how often the sample was exposed at each point."""
    return Counter(
        repeat.point_at(opening["place"])
        for opening in repeat.openings
        for exposure in opening["exposures"]
        if exposure["photons"] > 0
    )


def _exposed_once(repeat: Repeat, findings: Findings) -> None:
    times, allowed = exposures_by_point(repeat), Counter(repeat.again)
    for point in range(len(repeat.planned_um)):
        more = times[point] - 1 - allowed[point]
        findings.count("double", max(0, more), f"point {point} was exposed {times[point]} times")
        # A kill may have come between the intent and the exposure.
        if not times[point] and point not in repeat.progress.uncertain:
            findings.count("missing", 1, f"point {point} was never exposed")


def _in_place(repeat: Repeat, findings: Findings) -> None:
    for opening in repeat.openings:
        away = np.hypot(*(repeat.planned_um[repeat.point_at(opening["place"])] - opening["place"]))
        if away > POSITION_TOLERANCE_UM or opening["moved"]:
            findings.count("off_position", 1, f"the shutter opened {away:g} um from any point")


def _photons(repeat: Repeat, findings: Findings) -> None:
    """Compare each exposure of the ledger with the openings after its intent and before the next."""
    exposures = repeat.exposures.where(repeat.exposures.status != "withdrawn")
    intended_s = exposures.intended.astype("M8[us]").astype(np.int64) * 1e-6
    received: dict[int, float] = defaultdict(float)
    unmeasured: set[int] = set()
    for opening in repeat.openings:
        index = int(np.searchsorted(intended_s, opening["opened"], side="right")) - 1
        if index < 0 or repeat.point_at(opening["place"]) != exposures.point[index]:
            findings.count(
                "unequal", 1, f"no intent of the ledger is that of an opening at {opening['place']}"
            )
        received[index] += opening["photons"]
        if not opening["exposures"]:
            unmeasured.add(index)
    for index in range(len(exposures)):
        told, true = float(exposures.photons[index]), received[index]
        if exposures.status[index] != "done":
            is_right = 0 <= told - true <= told
        elif index in unmeasured:
            is_right = abs(told - true) <= SIGMAS * exposures.photons_uncertainty[index]
        else:
            is_right = abs(told - true) <= PHOTONS_TOLERANCE * true
        if not is_right:
            point, status = exposures.point[index], exposures.status[index]
            findings.count("unequal", 1, f"point {point} ({status}): ledger {told:.9g}, sample {true:.9g}")


def _left_out(repeat: Repeat, findings: Findings) -> None:
    """Check that what was left out is listed, and has a reason."""
    progress = repeat.progress
    unconfirmed = Counter(repeat.exposures.run_uid[repeat.exposures.status != "done"].tolist())
    withdrawn = Counter(repeat.exposures.run_uid[repeat.exposures.status == "withdrawn"].tolist())
    uncertain = sum((unconfirmed - withdrawn).values())
    if uncertain > repeat.kills:
        findings.count("missing", uncertain - repeat.kills, f"{uncertain} uncertain, {repeat.kills} kills")
    if len(progress.lost) > repeat.failed_frames:
        lost = len(progress.lost)
        findings.count("missing", lost - repeat.failed_frames, f"{lost} lost, {repeat.failed_frames} failed")
    last = _documents(repeat.folder, progress.runs[-1].uid)
    listed = ScanMetadata.from_start(next(document for name, document in last if name == "start"))
    left_by_last = {
        *repeat.exposures.point[
            (repeat.exposures.run_uid == progress.runs[-1].uid) & (repeat.exposures.frame != "saved")
        ].tolist()
    }
    for point in {*progress.uncertain, *progress.lost} - {*listed.uncertain, *listed.lost} - left_by_last:
        findings.count("missing", 1, f"point {point} is left out, and the last run does not list it")


def _events(repeat: Repeat, findings: Findings) -> None:
    """Check that each point that is done has an event, of its own exposure, read when that had ended."""
    by_serial = {
        each["serial"]: (each, opening) for opening in repeat.openings for each in opening["exposures"]
    }
    seen: Counter[int] = Counter()
    for run in repeat.progress.runs:
        for event in _recorded(repeat.folder, run.uid):
            seen[event["point"]] += 1
            exposure, opening = by_serial.get(event["serial"], (None, None))
            if exposure is None or opening is None:
                findings.count("early_reads", 1, f"point {event['point']} has the frame of no exposure")
                continue
            counts = exposure["photons"] * COUNTS_PER_PHOTON
            own = repeat.point_at(opening["place"]) == event["point"]
            if not (own and event["counts"] == counts and event["time"] >= exposure["ended"]):
                findings.count("early_reads", 1, f"point {event['point']} was read before its exposure ended")
            away = np.hypot(*(np.array(run.scan.points_um[event["point"]]) - event["place"]))
            if away > POSITION_TOLERANCE_UM:
                findings.count("off_position", 1, f"the event of point {event['point']} is {away:g} um off")
    for point in repeat.progress.done:
        if not seen[point]:
            findings.count("missing", 1, f"point {point} is done, and has no event")
        more = seen[point] - 1 - Counter(repeat.again)[point]
        findings.count("double", max(0, more), f"point {point} has {seen[point]} events")


def _recorded(folder: Path, run_uid: str) -> Iterator[dict[str, Any]]:
    """Yield what a run's events say: point, frame's content, place, monitor counts and time."""
    points: tuple[int, ...] = ()
    primary: set[str] = set()
    files: dict[str, str] = {}
    frame_of: dict[int, tuple[str, int]] = {}
    for name, document in _documents(folder, run_uid):
        if name == "start":
            points = ScanMetadata.from_start(document).points or ()
        elif name == "descriptor" and document["name"] == "primary":
            primary.add(document["uid"])
        elif name == "stream_resource":
            files[document["uid"]] = urlparse(document["uri"]).path
        elif name == "stream_datum":
            indices, numbers = document["indices"], document["seq_nums"]
            for offset in range(indices["stop"] - indices["start"]):
                frame = files[document["stream_resource"]], indices["start"] + offset
                frame_of[numbers["start"] + offset] = frame
        elif name == "event" and document["descriptor"] in primary:
            data = document["data"]
            yield {
                "point": points[document["seq_num"] - 1],
                "serial": _content(*frame_of[document["seq_num"]])
                if document["seq_num"] in frame_of
                else None,
                "place": [data["encoder_y"], data["encoder_x"]],
                "counts": data["flux_counts"],
                "time": document["time"],
            }


def _content(path: str, index: int) -> int | None:
    """Return what a frame holds everywhere, or None if it is not whole."""
    with h5py.File(path, "r", libver="latest", swmr=True) as file:
        frames = file["/entry/data/data"]
        if index >= len(frames) or np.ptp(frames[index]):
            return None
        return int(frames[index].flat[0])


def _documents(folder: Path, run_uid: str) -> list[tuple[str, dict[str, Any]]]:
    path = folder / f"{run_uid}.jsonl"
    if not path.is_file():
        return []
    # A kill may have cut the last line.
    lines = [
        line for line in path.read_text(encoding="utf-8").splitlines(keepends=True) if line.endswith("\n")
    ]
    return [(name, document) for name, document in map(json.loads, lines)]


def exposures_of(ledger: Ledger, progress: ScanProgress) -> Exposures:
    """Return the exposures of all runs of a repeat, in the order of their intents."""
    parts = [ledger.exposures_of_run(run.uid) for run in progress.runs]
    arrays = {
        each.name: np.concatenate([getattr(part, each.name) for part in parts])
        for each in fields(Exposures)
        if each.name != "unplaced"
    }
    return replace(parts[0], **arrays)
