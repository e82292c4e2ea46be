"""A scan that goes on where an earlier run of its repeat ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

from ptycho_plugin.errors import DoseRefusal, InputError
from ptycho_plugin.ledger import Ledger, Region, Scan, ScanProgress, ScanRun
from ptycho_plugin.ledger.records import Kind
from ptycho_plugin.plans.arguments import AGAIN
from ptycho_plugin.plans.preflight_checks import Finding, Level

Again = Annotated[bool | Sequence[int], AGAIN]
"""Whether to expose what may have been exposed, or was and left no frame: all of it, or these points."""


@dataclass(frozen=True, slots=True)
class Continuation:
    """What a run is to expose of a scan, and what earlier runs of its repeat leave it.

    Parameters
    ----------
    scan : Scan
    points : tuple of int
        Numbers of the scan's points that this run exposes, in their order.
    continues : tuple of str
        Uids of the earlier runs.
    uncertain, lost : tuple of int
        Points that this run leaves out, because they may have been exposed, or were and left no frame.
    again : frozenset of int
        Those of its points that were, or may have been, exposed before.
    """

    scan: Scan
    points: tuple[int, ...]
    continues: tuple[str, ...] = ()
    uncertain: tuple[int, ...] = ()
    lost: tuple[int, ...] = ()
    again: frozenset[int] = field(default_factory=frozenset)

    def to_metadata(self) -> dict[str, Any]:
        """Return what a run's `ScanMetadata` says of it."""
        return {
            "coarse_um": self.scan.coarse_um,
            "continues": self.continues,
            "points": self.points,
            "uncertain": self.uncertain,
            "lost": self.lost,
        }

    def findings(self) -> tuple[Finding, ...]:
        """Return what a preflight says of it; nothing of a scan that begins."""
        if not self.continues:
            return ()
        total, left_out = len(self.scan.points_um), len(self.uncertain) + len(self.lost)
        done = total - len(self.points) - left_out
        runs = "an earlier run" if len(self.continues) == 1 else f"{len(self.continues)} earlier runs"
        said = [f"{done} of {total} points are done in {runs}, {len(self.points)} are exposed now"]
        said += [f"once more, as asked for: {_points(self.again)}"] if self.again else []
        said += ["left out, unless again=True"] if left_out else []
        said += [f"{_points(self.uncertain)}: may have been exposed"] if self.uncertain else []
        said += [f"{_points(self.lost)}: exposed, the frame was lost"] if self.lost else []
        level: Level = "warning" if left_out or self.again else "info"
        return (Finding("continuation", len(self.points), "points", "; ".join(said), total, level),)


class Repeat:
    """The repeat that a guard's scans belong to, as its ledger knows it.

    Parameters
    ----------
    ledger : Ledger
    target : Region or str
    kind : {"scan", "alignment"}
    repeat : int or None
        Without a region or a number, every scan begins anew.
    """

    def __init__(self, ledger: Ledger, target: Region | str, kind: Kind, repeat: int | None) -> None:
        self._ledger = ledger
        self._target = target
        self._kind = kind
        self._number = repeat

    def continuation(self, scan: Scan, again: Again) -> Continuation:
        """Return what is to be exposed of a scan.

        Raises
        ------
        LedgerError
            If the repeat was begun with another scan, or is under way in another session.
        DoseRefusal
            If the region is closed, or nothing may be exposed any more.
        InputError
            If a point is named that was not exposed, or is done.
        """
        progress = ScanProgress(runs=())
        if isinstance(self._target, Region):
            if end := self._ledger.scans.closed(self._target):
                raise DoseRefusal(f"{self._target} is closed: {end.reason}; reopen it to expose it again")
            progress = self._ledger.scans.progress(self._target, self._number, self._kind, scan=scan)
        points = _asked_for(again, progress)
        if not progress.runs:
            return Continuation(scan, tuple(range(len(scan.points_um))))
        if not (points or progress.left):
            raise DoseRefusal(self._is_complete(progress))
        return Continuation(
            scan,
            tuple(sorted({*progress.left, *points})),
            tuple(run.uid for run in progress.runs),
            tuple(sorted({*progress.uncertain} - points)),
            tuple(sorted({*progress.lost} - points)),
            points,
        )

    def begin(self, run_uid: str, continuation: Continuation) -> None:
        """Write what a run is to expose, before it does."""
        if isinstance(self._target, Region):
            self._ledger.scans.begin(
                ScanRun(
                    uid=run_uid,
                    on=self._target,
                    kind=self._kind,
                    repeat=self._number,
                    scan=continuation.scan,
                    points=continuation.points,
                )
            )

    def end(self, run_uid: str) -> None:
        """Write that the repeat is complete, if it is."""
        if isinstance(self._target, Region) and self._number is not None:
            progress = self._ledger.scans.progress(self._target, self._number, self._kind)
            if progress.is_complete:
                self._ledger.scans.complete(self._target, self._number, self._kind, run_uid=run_uid)

    def _is_complete(self, progress: ScanProgress) -> str:
        said = f"repeat {self._number} of {self._target} is complete: give the guard another repeat number"
        open_points = {*progress.uncertain, *progress.lost}
        return (
            f"{said}, or again=True for {_points(open_points)}, which left no frame" if open_points else said
        )


def _asked_for(again: Again, progress: ScanProgress) -> frozenset[int]:
    """Return the points that are to be exposed again."""
    possible = frozenset({*progress.uncertain, *progress.lost})
    if isinstance(again, bool):
        return possible if again else frozenset()
    if strange := {*again} - possible:
        there = _points(possible) if possible else "none"
        raise InputError(
            f"again names {_points(strange)}: it is for points that may have been exposed, or left no frame, "
            f"which are {there}"
        )
    return frozenset(again)


def _points(numbers: set[int] | frozenset[int] | tuple[int, ...]) -> str:
    return f"point{'s' if len(numbers) > 1 else ''} {', '.join(map(str, sorted(numbers)))}"
