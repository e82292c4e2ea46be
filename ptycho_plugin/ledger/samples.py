"""Samples, how they are mounted, and their regions."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from ptycho_plugin.errors import LedgerError
from ptycho_plugin.ledger.clock import utc
from ptycho_plugin.ledger.database import Database, insert
from ptycho_plugin.ledger.records import Budget, Position, Region
from ptycho_plugin.ledger.rigid import RigidTransform, find_transform

MARK_TOLERANCE_UM = 1.0
"""That marks may have moved against one another: more, and one of them was mistaken for another."""


@dataclass(frozen=True, slots=True)
class Mounting:
    """A sample on the stage, from when it was put there.

    Parameters
    ----------
    key : int
    sample : str
    mounted : datetime
    transform : RigidTransform or None
        From stage to sample coordinates; None until the sample's marks are found.
    residual_um : float or None
        Root mean square distance of the marks from where they should be.
    """

    key: int
    sample: str
    mounted: datetime
    transform: RigidTransform | None
    residual_um: float | None

    def located(self) -> RigidTransform:
        """Return the transform.

        Raises
        ------
        LedgerError
            If the marks have not been found.
        """
        if self.transform is None:
            raise LedgerError(
                f"'{self.sample}' was mounted again at {self.mounted:%Y-%m-%d %H:%M} UTC, and where it lies "
                "is not known: find two of its marks or more first"
            )
        return self.transform


class Samples:
    """The samples that a ledger knows.

    Stage positions are those of the probe, (row, column) in um, the coarse and the piezo stage's
    added. Every method raises `LedgerError` for what the ledger does not hold, and names what it does.

    Parameters
    ----------
    database : Database
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def mount(self, sample: str, *, again: bool = False) -> Mounting:
        """Say that a sample was put on the stage.

        The first time, stage coordinates become the sample's. Later, where it lies is unknown until
        `find_marks`; its regions keep their places in sample coordinates.

        Parameters
        ----------
        sample : str
        again : bool
            It was taken out and put back, or the stage has lost its zero. Without it, a sample that is
            mounted is refused: what is said by mistake could not be taken back.
        """
        with self._database.transaction() as connection:
            first = not connection.execute("SELECT 1 FROM mountings WHERE sample = ?", (sample,)).fetchone()
            if not (first or again):
                mounted = current_mounting(connection, sample).mounted
                raise LedgerError(
                    f"'{sample}' is mounted since {mounted:%Y-%m-%d %H:%M} UTC: if it was taken out and put "
                    "back, say so by again=True, and then find its marks"
                )
            key = insert(connection, "mountings", {"sample": sample, "mounted_utc": utc()})
            if first:
                _locate(connection, key, RigidTransform(), 0.0)
            return current_mounting(connection, sample)

    def find_marks(
        self, sample: str, marks: Mapping[str, Position], tolerance_um: float = MARK_TOLERANCE_UM
    ) -> Mounting:
        """Say where marks of a sample are on the stage now, and return how the sample lies.

        While it is mounted for the first time the marks are remembered. Later, two known ones or
        more locate it, and any other is remembered too.

        Parameters
        ----------
        sample : str
        marks : mapping of name to (row, column)
            Stage positions in um. The angle is known the better the farther they lie apart.
        tolerance_um : float
            Root mean square distance that is accepted.
        """
        with self._database.transaction() as connection:
            mounting = current_mounting(connection, sample)
            known = _marks(connection, sample)
            if not _is_first(connection, mounting):
                transform, residual = _fitted(sample, marks, known, tolerance_um)
                _locate(connection, mounting.key, transform, residual)
                mounting = current_mounting(connection, sample)
            elif again := marks.keys() & known.keys():
                raise LedgerError(
                    f"'{sample}' has marks {_names(again)} already: name the new ones otherwise"
                )
            connection.executemany(
                "INSERT INTO marks (sample, name, row_um, column_um) VALUES (?, ?, ?, ?)",
                [
                    (sample, name, *mounting.located().to_sample(marks[name]))
                    for name in marks.keys() - known.keys()
                ],
            )
            return mounting

    def names(self) -> tuple[str, ...]:
        """Return the samples' names, in the order in which they were first mounted."""
        with self._database.snapshot() as connection:
            rows = connection.execute("SELECT sample FROM mountings GROUP BY sample ORDER BY min(id)")
            return tuple(sample for (sample,) in rows)

    def mounting(self, sample: str) -> Mounting:
        """Return how a sample is mounted now."""
        with self._database.snapshot() as connection:
            return current_mounting(connection, sample)

    def place_region(
        self, sample: str, area: str, name: str, *, stage_um: Position, reach_um: float
    ) -> Region:
        """Place a new region with its centre at a stage position, for good."""
        with self._database.transaction() as connection:
            centre = current_mounting(connection, sample).located().to_sample(stage_um)
            # Checked before it is an entry: a region that could not be read back would be lost.
            place = Region(key=0, sample=sample, area=area, name=name, centre_um=centre, reach_um=reach_um)
            for other in regions_of(connection, sample):
                if (other.area, other.name) == (area, name):
                    raise LedgerError(f"there is a {other} already: a region keeps its place, name another")
            entry = {
                "sample": sample,
                "area": area,
                "name": name,
                "row_um": centre[0],
                "column_um": centre[1],
                "reach_um": place.reach_um,
                "placed_utc": utc(),
            }
            key = insert(connection, "regions", entry)
            return place.model_copy(update={"key": key})

    def regions(self, sample: str) -> tuple[Region, ...]:
        """Return a sample's regions, in the order in which they were placed."""
        with self._database.snapshot() as connection:
            current_mounting(connection, sample)
            return regions_of(connection, sample)

    def region(self, sample: str, area: str, name: str) -> Region:
        """Return a region by its identity."""
        regions = self.regions(sample)
        here = {region.name: region for region in regions if region.area == area}
        if not here:
            areas = _names({region.area for region in regions})
            raise LedgerError(f"'{sample}' has no regions in an area '{area}', it has some in: {areas}")
        if name not in here:
            raise LedgerError(f"area '{area}' of '{sample}' has no region '{name}', it has: {_names(here)}")
        return here[name]

    def region_at(self, sample: str, stage_um: Position) -> Region:
        """Return the region that reaches to a stage position; of several, the one with the nearest centre."""
        point = self.mounting(sample).located().to_sample(stage_um)
        regions = self.regions(sample)
        if not regions:
            raise LedgerError(f"'{sample}' has no regions: place one first")
        nearest = min(regions, key=lambda region: region.distance_um(point))
        within = [region for region in regions if region.distance_um(point) <= region.reach_um]
        if not within:
            raise LedgerError(
                f"no region of '{sample}' is at ({stage_um[0]:g}, {stage_um[1]:g}) um: the nearest is "
                f"{nearest}, {nearest.distance_um(point):.1f} um away"
            )
        return min(within, key=lambda region: region.distance_um(point))

    def stage_position(self, region: Region) -> Position:
        """Return where the stage brings a region's centre into the beam now."""
        return self.mounting(region.sample).located().to_stage(region.centre_um)

    def set_budget(self, region: Region, budget: Budget) -> None:
        """Set the dose that a region may take; the ledger keeps the earlier ones."""
        if not isinstance(budget, Budget):
            raise LedgerError(f"{budget!r} is no budget: give Budget(dose=..., material=..., formula=...)")
        with self._database.transaction() as connection:
            if _budget(connection, region) == budget:
                return
            insert(connection, "budgets", {"region": region.key, "set_utc": utc(), **budget.model_dump()})

    def budget(self, region: Region) -> Budget:
        """Return the dose that a region may take."""
        budget = self.budget_or_none(region)
        if budget is None:
            raise LedgerError(f"{region} has no budget: set one first")
        return budget

    def budget_or_none(self, region: Region) -> Budget | None:
        """Return the dose that a region may take, or None where nobody has set any."""
        with self._database.snapshot() as connection:
            return _budget(connection, region)


def current_mounting(connection: sqlite3.Connection, sample: str) -> Mounting:
    """Return how a sample is mounted now, or raise `LedgerError`."""
    row = connection.execute(
        "SELECT * FROM mountings WHERE sample = ? ORDER BY id DESC LIMIT 1", (sample,)
    ).fetchone()
    if row is None:
        known = connection.execute("SELECT DISTINCT sample FROM mountings").fetchall()
        raise LedgerError(
            f"the ledger knows no sample '{sample}', it knows: {_names(name for (name,) in known)}; "
            "say when one is mounted"
        )
    transform = (
        RigidTransform(
            complex(row["cosine"], row["sine"]), complex(row["shift_row_um"], row["shift_column_um"])
        )
        if row["located_utc"]
        else None
    )
    return Mounting(
        row["id"], sample, datetime.fromisoformat(row["mounted_utc"]), transform, row["residual_um"]
    )


def regions_of(connection: sqlite3.Connection, sample: str) -> tuple[Region, ...]:
    """Return a sample's regions, in the order in which they were placed."""
    rows = connection.execute("SELECT * FROM regions WHERE sample = ? ORDER BY id", (sample,))
    return tuple(
        Region(
            key=row["id"],
            sample=sample,
            area=row["area"],
            name=row["name"],
            centre_um=(row["row_um"], row["column_um"]),
            reach_um=row["reach_um"],
        )
        for row in rows
    )


def _budget(connection: sqlite3.Connection, region: Region) -> Budget | None:
    row = connection.execute(
        "SELECT dose, material, formula FROM budgets WHERE region = ? ORDER BY id DESC LIMIT 1", (region.key,)
    ).fetchone()
    return None if row is None else Budget(**row)


def _is_first(connection: sqlite3.Connection, mounting: Mounting) -> bool:
    (first,) = connection.execute(
        "SELECT min(id) FROM mountings WHERE sample = ?", (mounting.sample,)
    ).fetchone()
    return bool(first == mounting.key)


def _marks(connection: sqlite3.Connection, sample: str) -> dict[str, Position]:
    rows = connection.execute("SELECT name, row_um, column_um FROM marks WHERE sample = ?", (sample,))
    return {name: (row, column) for name, row, column in rows}


def _fitted(
    sample: str, found: Mapping[str, Position], known: Mapping[str, Position], tolerance_um: float
) -> tuple[RigidTransform, float]:
    common = sorted(found.keys() & known.keys())
    try:
        transform, residual = find_transform(
            [found[name] for name in common], [known[name] for name in common]
        )
    except ValueError as error:
        raise LedgerError(f"'{sample}' cannot be located: {error}; it has: {_names(known)}") from None
    if residual > tolerance_um:
        raise LedgerError(
            f"marks {_names(common)} of '{sample}' lie {residual:.3g} um from where a shift and an angle "
            f"bring them, {tolerance_um:g} um is the limit: is one of them another, or the sample face down?"
        )
    return transform, residual


def _locate(connection: sqlite3.Connection, key: int, transform: RigidTransform, residual_um: float) -> None:
    rotation, shift = transform.rotation, transform.shift_um
    connection.execute(
        "UPDATE mountings SET located_utc = ?, cosine = ?, sine = ?, shift_row_um = ?, shift_column_um = ?, "
        "residual_um = ? WHERE id = ?",
        (utc(), rotation.real, rotation.imag, shift.real, shift.imag, residual_um, key),
    )


def _names(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"
