"""A scan as the ledger keeps it: what a run was to expose, and how far a repeat has come."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import isclose
from typing import Annotated, Self

from pydantic import Field, model_validator

from ptycho_plugin.checked_model import CheckedModel
from ptycho_plugin.errors import LedgerError
from ptycho_plugin.geometry import is_same_energy
from ptycho_plugin.ledger.records import Kind, Name, Position, Region

PIEZO_TOLERANCE_UM = 1e-6
"""Within it two planned points are the same."""
COARSE_TOLERANCE_UM = 0.1
"""Within it a coarse stage has come back."""


class Scan(CheckedModel):
    """Every point of a scan, and how it is exposed: what must stay the same when the scan goes on.

    Parameters
    ----------
    points_um : sequence of (float, float)
        Of the piezo stage (row, column), in their order: a point's number is its place here.
    coarse_um : (float, float)
        Where the coarse stage stands.
    exposure_s : float
    energy_eV : float
    transmission : float
        Of the attenuator.
    """

    points_um: Annotated[tuple[Position, ...], Field(min_length=1)]
    coarse_um: Position
    exposure_s: Annotated[float, Field(gt=0, json_schema_extra={"units": "s"})]
    energy_eV: Annotated[float, Field(gt=0, json_schema_extra={"units": "eV"})]
    transmission: Annotated[float, Field(gt=0, le=1)] = 1.0

    def check_same(self, first: Scan) -> None:
        """Raise `LedgerError`, which names the difference, unless this is the scan that was begun."""
        differences = "; ".join(self._differences(first))
        if differences:
            raise LedgerError(f"the scan that was begun is another: {differences}")

    def _differences(self, first: Scan) -> Iterator[str]:
        yield from self._other_points(first)
        if _distance_um(self.coarse_um, first.coarse_um) > COARSE_TOLERANCE_UM:
            yield f"coarse stage at {_at(self.coarse_um)}, it was at {_at(first.coarse_um)}"
        if not isclose(self.exposure_s, first.exposure_s, rel_tol=1e-9):
            yield f"exposure_s = {self.exposure_s:g}, it was {first.exposure_s:g}"
        if not is_same_energy(self.energy_eV, first.energy_eV):
            yield f"energy {self.energy_eV:g} eV, it was {first.energy_eV:g} eV"
        if not isclose(self.transmission, first.transmission, rel_tol=1e-3):
            yield f"transmission {self.transmission:g}, it was {first.transmission:g}"

    def _other_points(self, first: Scan) -> Iterator[str]:
        if len(self.points_um) != len(first.points_um):
            yield f"trajectory of {len(self.points_um)} points, it had {len(first.points_um)}"
            return
        shift = _between(first.points_um[0], self.points_um[0])
        moved = [_between(there, here) for there, here in zip(first.points_um, self.points_um, strict=True)]
        apart = max(_distance_um(step, shift) for step in moved)
        if apart > PIEZO_TOLERANCE_UM:
            yield f"trajectory with points up to {apart:.3g} um from where they were"
        elif _distance_um(shift, (0.0, 0.0)) > PIEZO_TOLERANCE_UM:
            yield f"centre {_at(shift)} from where it was"


class ScanRun(CheckedModel):
    """A run that is about to expose points of a scan.

    Parameters
    ----------
    uid : str
    on : Region
    kind : {"scan", "alignment"}
    repeat : int, optional
        Which scan of the region it belongs to; without one, nothing goes on with it.
    scan : Scan
    points : sequence of int
        Numbers of the scan's points, in the order in which this run exposes them.
    """

    uid: Name
    on: Region
    kind: Kind = "scan"
    repeat: int | None = None
    scan: Scan
    points: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _points_are_of_the_scan(self) -> Self:
        if max(self.points) >= len(self.scan.points_um) or len(set(self.points)) != len(self.points):
            raise ValueError(f"points {list(self.points)} are not points of the scan, each once")
        return self


@dataclass(frozen=True, slots=True)
class End:
    """Why a repeat, or a region, takes no further exposure.

    Parameters
    ----------
    reason : str
    run_uid : str or None
        Of the last run.
    ended_utc : str
    """

    reason: str
    run_uid: str | None
    ended_utc: str


@dataclass(frozen=True, slots=True)
class ScanProgress:
    """How far the runs of a repeat have come; each point's number is in one of the four tuples.

    Parameters
    ----------
    runs : tuple of ScanRun
        In their order.
    done : tuple of int
        Exposed, and their events saved.
    lost : tuple of int
        Exposed, and no event was saved: the dose is spent.
    uncertain : tuple of int
        Intended, and nobody confirmed it: they count as exposed.
    left : tuple of int
        Never exposed, though the shutter may have opened for one.
    end : End or None
        That of the repeat, when it is complete.
    remounted : bool
        Whether the sample has been mounted again since: what is left cannot be found to a nanometre.
    """

    runs: tuple[ScanRun, ...]
    done: tuple[int, ...] = ()
    lost: tuple[int, ...] = ()
    uncertain: tuple[int, ...] = ()
    left: tuple[int, ...] = ()
    end: End | None = None
    remounted: bool = False

    @property
    def is_complete(self) -> bool:
        """Whether every point has been exposed, or may have been."""
        return bool(self.runs) and not self.left


def _between(start: Position, end: Position) -> Position:
    return end[0] - start[0], end[1] - start[1]


def _distance_um(one: Position, other: Position) -> float:
    return max(abs(step) for step in _between(one, other))


def _at(position_um: Position) -> str:
    return f"({position_um[0]:g}, {position_um[1]:g}) um"
