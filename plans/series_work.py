"""What of a series is still to be done, as its ledger knows it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ptycho_plugin.devices import Beamline
from ptycho_plugin.errors import InputError, LedgerError
from ptycho_plugin.ledger import Budget, Ledger, Region, Scan
from ptycho_plugin.ledger.rigid import Position
from ptycho_plugin.region_matrix import Place, RegionMatrix
from ptycho_plugin.trajectory import ConcentricRings, Trajectory

NOT_PLACED = 0
"""Key of a region that is not in the ledger yet."""


@dataclass(frozen=True, slots=True)
class Protocol:
    """How every repeat of a series is scanned.

    Parameters
    ----------
    trajectory : Trajectory
        Of the first repeat.
    turn_deg : float
        By which concentric rings are turned from one repeat to the next.
    exposure_s, energy_eV, transmission : float
        As for `Scan`.
    """

    trajectory: Trajectory
    turn_deg: float
    exposure_s: float
    energy_eV: float
    transmission: float

    def trajectory_of(self, repeat: int) -> Trajectory:
        """Return the trajectory of a repeat; the first one is 1."""
        if not isinstance(self.trajectory, ConcentricRings):
            return self.trajectory
        turn_deg = self.trajectory.turn_deg + (repeat - 1) * self.turn_deg
        return self.trajectory.model_copy(update={"turn_deg": turn_deg})

    def scan(self, repeat: int, coarse_um: Position) -> Scan:
        """Return a repeat's scan, as the ledger keeps it."""
        return Scan(
            points_um=tuple(map(tuple, self.trajectory_of(repeat).offsets_um().tolist())),
            coarse_um=coarse_um,
            exposure_s=self.exposure_s,
            energy_eV=self.energy_eV,
            transmission=self.transmission,
        )


@dataclass(frozen=True, slots=True)
class RepeatWork:
    """What is to be exposed of a repeat.

    Parameters
    ----------
    number : int
    points_um : ndarray, (point, 2), float64
        Of the piezo stage (row, column).
    """

    number: int
    points_um: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class RegionWork:
    """What is to be done in a region.

    Parameters
    ----------
    region : Region
    stage_um : (float, float)
        Where the stage brings its centre into the beam.
    budget : Budget
    repeats : tuple of RepeatWork
        In their order.
    complete : tuple of int
        Numbers of the repeats that are done.
    note : str
        Why something of it is not to be done.
    """

    region: Region
    stage_um: Position
    budget: Budget
    repeats: tuple[RepeatWork, ...]
    complete: tuple[int, ...] = ()
    note: str = ""

    @property
    def points_um(self) -> NDArray[np.float64]:
        """All points that are to be exposed, in their order, of the piezo stage."""
        return np.concatenate([np.empty((0, 2)), *(repeat.points_um for repeat in self.repeats)])

    @property
    def on_stage_um(self) -> NDArray[np.float64]:
        """The same, with the coarse stage's position added."""
        return self.points_um + self.stage_um


def series_work(
    beamline: Beamline,
    ledger: Ledger,
    sample: str,
    matrix: RegionMatrix,
    protocol: Protocol,
    budget: Budget | None,
    again: bool,
) -> tuple[RegionWork, ...]:
    """Return what is to be done in every region of a matrix, in its order; nothing is written.

    Raises
    ------
    InputError
        If there is no budget for a region, or the coarse stage cannot bring it into the beam.
    LedgerError
        If the ledger does not know the sample or where it lies, or a repeat was begun otherwise.
    """
    known = {(region.area, region.name): region for region in ledger.samples.regions(sample)}
    work = []
    for place in matrix.places(matrix.first_um or beamline.place_um("sample")):
        region = known.get((place.area, place.region))
        if region is None:
            work.append(_new_region(ledger, sample, place, matrix, protocol, budget))
        else:
            work.append(_known_region(ledger, region, matrix.repeats, protocol, budget, again))
    _check_within_travel(beamline, work)
    return tuple(work)


def place_regions(ledger: Ledger, work: tuple[RegionWork, ...]) -> tuple[RegionWork, ...]:
    """Write the regions and budgets that the ledger lacks, and return the work in regions that it has."""
    return tuple(_placed(ledger, one) for one in work)


def _new_region(
    ledger: Ledger,
    sample: str,
    place: Place,
    matrix: RegionMatrix,
    protocol: Protocol,
    budget: Budget | None,
) -> RegionWork:
    centre_um = ledger.samples.mounting(sample).located().to_sample(place.stage_um)
    region = Region(
        key=NOT_PLACED,
        sample=sample,
        area=place.area,
        name=place.region,
        centre_um=centre_um,
        reach_um=matrix.reach_um,
    )
    if budget is None:
        raise InputError(
            f"{region} has no budget: give one, budget=Budget(dose=..., material=..., formula=...)"
        )
    repeats = tuple(_whole(protocol, number) for number in range(1, matrix.repeats + 1))
    return RegionWork(region, place.stage_um, budget, repeats)


def _known_region(
    ledger: Ledger, region: Region, repeats: int, protocol: Protocol, budget: Budget | None, again: bool
) -> RegionWork:
    work = RegionWork(
        region, ledger.samples.stage_position(region), budget or ledger.samples.budget(region), ()
    )
    if end := ledger.scans.closed(region):
        return replace(work, note=f"closed: {end.reason}")
    for number in range(1, repeats + 1):
        work = _with_repeat(ledger, work, number, protocol, again)
    return work


def _with_repeat(
    ledger: Ledger, work: RegionWork, number: int, protocol: Protocol, again: bool
) -> RegionWork:
    """Return the work in a region with one more repeat, as far as it is not done."""
    progress = ledger.scans.progress(work.region, number)
    if not progress.runs:
        return replace(work, repeats=(*work.repeats, _whole(protocol, number)))
    _check_same(protocol.scan(number, work.stage_um), progress.runs[0].scan, work.region, number)
    left = sorted({*progress.left, *(progress.uncertain + progress.lost if again else ())})
    if progress.is_complete:
        work = replace(work, complete=(*work.complete, number))
    if left and progress.remounted:
        return _noted(work, f"repeat {number} stays as it is: the sample was mounted again since")
    if frameless := 0 if again else len(progress.uncertain) + len(progress.lost):
        work = _noted(work, f"repeat {number}: {frameless} without a frame, again=True exposes them")
    if left:
        more = RepeatWork(number, protocol.trajectory_of(number).offsets_um()[left])
        work = replace(work, repeats=(*work.repeats, more))
    return work


def _noted(work: RegionWork, note: str) -> RegionWork:
    return replace(work, note="; ".join(filter(None, (work.note, note))))


def _whole(protocol: Protocol, number: int) -> RepeatWork:
    return RepeatWork(number, protocol.trajectory_of(number).offsets_um())


def _check_same(scan: Scan, first: Scan, region: Region, repeat: int) -> None:
    """Refuse to add to a series what was begun otherwise; the sample may have been mounted again."""
    try:
        scan.model_copy(update={"coarse_um": first.coarse_um}).check_same(first)
    except LedgerError as error:
        raise LedgerError(
            f"repeat {repeat} of {region} is not of this series: {error}; call dose_series as before, or "
            "name the regions otherwise"
        ) from None


def _check_within_travel(beamline: Beamline, work: Iterable[RegionWork]) -> None:
    limits = beamline.coarse.y.limits, beamline.coarse.x.limits
    for one in work:
        for position, (low, high) in zip(one.stage_um, limits, strict=True):
            if one.repeats and low < high and not low <= position <= high:
                raise InputError(
                    f"{one.region} lies at {position:g} um, and the coarse stage goes from {low:g} to "
                    f"{high:g} um: give a RegionMatrix with another first_um or other steps"
                )


def _placed(ledger: Ledger, work: RegionWork) -> RegionWork:
    region = work.region
    if region.key == NOT_PLACED:
        region = ledger.samples.place_region(
            region.sample, region.area, region.name, stage_um=work.stage_um, reach_um=region.reach_um
        )
    ledger.samples.set_budget(region, work.budget)
    return replace(work, region=region)
