"""The runs of a region's repeats, and what has come to an end."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from ptycho_plugin.errors import LedgerError
from ptycho_plugin.ledger.clock import utc
from ptycho_plugin.ledger.database import Database, insert
from ptycho_plugin.ledger.entries import named
from ptycho_plugin.ledger.records import Kind, Region
from ptycho_plugin.ledger.samples import current_mounting
from ptycho_plugin.ledger.scan import End, Scan, ScanProgress, ScanRun
from ptycho_plugin.ledger.series import join_series, series_of

SAME_REPEAT = """
    SELECT :run_uid UNION
    SELECT other.uid FROM runs AS this JOIN runs AS other
        ON other.region = this.region AND other.kind = this.kind AND other.repeat = this.repeat
    WHERE this.uid = :run_uid"""
"""Uids of a run and of all others of its repeat: in these a point has been exposed, if anywhere."""


class Scans:
    """The scans that a ledger knows, by region, kind and repeat.

    Every method raises `LedgerError` for what the ledger does not hold, and where the disk does not
    take an entry. What was written is on disk when a method returns.

    Parameters
    ----------
    database : Database
    session : int
        Key of the one that writes.
    """

    def __init__(self, database: Database, session: int) -> None:
        self._database = database
        self._session = session

    def begin(self, run: ScanRun) -> None:
        """Write what a run is to expose: after its start document, before its first exposure.

        Raises
        ------
        LedgerError
            Also if the region is closed, its sample has been mounted again since the repeat was
            begun, or the scan is another than the one that was begun; it names the difference.
        """
        with self._database.transaction() as connection:
            check_open(connection, run.on)
            mounting = current_mounting(connection, run.on.sample).key
            _check_goes_on(connection, run.on, run.kind, run.repeat, run.scan, mounting)
            entry = {
                "uid": run.uid,
                "session": self._session,
                "mounting": mounting,
                "region": run.on.key,
                "kind": run.kind,
                "repeat": run.repeat,
                "scan": run.scan.model_dump_json(),
                "points": json.dumps(run.points),
                "begun_utc": utc(),
            }
            insert(connection, "runs", entry)

    def progress(
        self, region: Region, repeat: int | None, kind: Kind = "scan", *, scan: Scan | None = None
    ) -> ScanProgress:
        """Return how far a repeat has come; without runs nothing is left, for nothing is known of it.

        Parameters
        ----------
        region : Region
        repeat : int or None
            None is no repeat, so that no run is one of its runs.
        kind : {"scan", "alignment"}
        scan : Scan, optional
            What is to go on.

        Raises
        ------
        LedgerError
            If `scan` cannot go on with the repeat, as from `begin`, or an exposure of it is under way in
            another session.
        """
        with self._database.snapshot() as connection:
            if scan is not None:
                mounting = current_mounting(connection, region.sample).key
                _check_goes_on(connection, region, kind, repeat, scan, mounting)
            runs = _runs(connection, region, kind, repeat)
            if not runs:
                return ScanProgress(runs=())
            rows = connection.execute(
                f"SELECT * FROM counted WHERE run_uid IN ({SAME_REPEAT}) AND kind != 'transit' "  # noqa: S608
                "ORDER BY id",
                {"run_uid": runs[0].uid},
            ).fetchall()
            self._check_none_under_way_elsewhere(rows)
            (before,) = connection.execute(
                "SELECT mounting FROM runs WHERE uid = ?", (runs[0].uid,)
            ).fetchone()
            return replace(
                _progress(runs, rows, _end(connection, region, "complete", kind, repeat)),
                remounted=before != current_mounting(connection, region.sample).key,
            )

    def complete(
        self, region: Region, repeat: int, kind: Kind = "scan", *, run_uid: str | None = None
    ) -> None:
        """Write that a repeat is complete; a second time writes nothing."""
        with self._database.transaction() as connection:
            if _end(connection, region, "complete", kind, repeat) is None:
                _write_end(connection, region, "complete", "complete", run_uid, kind, repeat)

    def close(self, region: Region, reason: str, *, run_uid: str | None = None) -> None:
        """Close a region: no exposure that is meant for it begins any more, until it is reopened.

        Parameters
        ----------
        region : Region
        reason : str
            Such as "damage" or "resolution reached", with its numbers.
        run_uid : str, optional
            Of the run that showed it.
        """
        self._switch(region, "closed", reason, run_uid)

    def reopen(self, region: Region, reason: str) -> None:
        """Allow exposures of a closed region again, for a reason that the ledger keeps."""
        self._switch(region, "reopened", reason, None)

    def closed(self, region: Region) -> End | None:
        """Return why a region is closed, or None if it is open."""
        with self._database.snapshot() as connection:
            return _closed(connection, region)

    def series(self, regions: Iterable[Region]) -> str | None:
        """Return the uid of the series that regions are measured in; None if they are in none yet.

        Raises
        ------
        LedgerError
            Also if they are in several.
        """
        with self._database.snapshot() as connection:
            return series_of(connection, regions)

    def join_series(self, regions: Iterable[Region]) -> str:
        """Return the uid of the series that regions are measured in; a region stays in its first one.

        Raises
        ------
        LedgerError
            As from `series`.
        """
        with self._database.transaction() as connection:
            return join_series(connection, regions)

    def _switch(self, region: Region, what: str, reason: str, run_uid: str | None) -> None:
        if not reason:
            raise LedgerError(f"{region} is to be {what} for no reason: give one")
        with self._database.transaction() as connection:
            is_closed = _closed(connection, region) is not None
            if is_closed == (what == "closed"):
                state = "closed" if is_closed else "open"
                raise LedgerError(f"{region} is {state} already: it need not be {what}")
            _write_end(connection, region, what, reason, run_uid)

    def _check_none_under_way_elsewhere(self, rows: list[sqlite3.Row]) -> None:
        for row in rows:
            if row["status"] == "under way" and row["session"] != self._session:
                raise LedgerError(
                    f"{named(row)} is under way in another session: let that one end, or end it, first"
                )


def check_open(connection: sqlite3.Connection, region: Region) -> None:
    """Raise `LedgerError` if a region is closed."""
    end = _closed(connection, region)
    if end is not None:
        raise LedgerError(
            f"{region} is closed since {end.ended_utc[:16]} UTC: {end.reason}; reopen it to expose it again"
        )


def _closed(connection: sqlite3.Connection, region: Region) -> End | None:
    row = connection.execute(
        "SELECT * FROM ends WHERE region = ? AND what != 'complete' ORDER BY id DESC LIMIT 1", (region.key,)
    ).fetchone()
    return _as_end(row) if row is not None and row["what"] == "closed" else None


def _end(
    connection: sqlite3.Connection, region: Region, what: str, kind: Kind, repeat: int | None
) -> End | None:
    row = connection.execute(
        "SELECT * FROM ends WHERE region = ? AND what = ? AND kind = ? AND repeat = ?",
        (region.key, what, kind, repeat),
    ).fetchone()
    return None if row is None else _as_end(row)


def _as_end(row: sqlite3.Row) -> End:
    return End(row["reason"], row["run_uid"], row["ended_utc"])


def _write_end(
    connection: sqlite3.Connection,
    region: Region,
    what: str,
    reason: str,
    run_uid: str | None,
    kind: Kind | None = None,
    repeat: int | None = None,
) -> None:
    entry = {"region": region.key, "kind": kind, "repeat": repeat, "what": what, "reason": reason}
    insert(connection, "ends", {**entry, "run_uid": run_uid, "ended_utc": utc()})


def _runs(
    connection: sqlite3.Connection, region: Region, kind: Kind, repeat: int | None
) -> tuple[ScanRun, ...]:
    rows = connection.execute(
        "SELECT * FROM runs WHERE region = ? AND kind = ? AND repeat = ? ORDER BY id",
        (region.key, kind, repeat),
    )
    return tuple(
        ScanRun(
            uid=row["uid"],
            on=region,
            kind=kind,
            repeat=row["repeat"],
            scan=Scan.model_validate_json(row["scan"]),
            points=json.loads(row["points"]),
        )
        for row in rows
    )


def _check_goes_on(
    connection: sqlite3.Connection,
    region: Region,
    kind: Kind,
    repeat: int | None,
    scan: Scan,
    mounting: int,
) -> None:
    """Refuse to go on with a repeat that was begun otherwise."""
    first = connection.execute(
        "SELECT scan, mounting FROM runs WHERE region = ? AND kind = ? AND repeat = ? ORDER BY id LIMIT 1",
        (region.key, kind, repeat),
    ).fetchone()
    if first is None:
        return
    what = f"repeat {repeat} of {region} cannot go on"
    if first["mounting"] != mounting:
        raise LedgerError(
            f"{what}: its sample has been mounted again since, and its points cannot be found to a "
            "nanometre; begin another repeat"
        )
    try:
        scan.check_same(Scan.model_validate_json(first["scan"]))
    except LedgerError as error:
        raise LedgerError(f"{what}: {error}; repeat it as it was, or begin another repeat") from None


def _progress(runs: tuple[ScanRun, ...], rows: list[sqlite3.Row], end: End | None) -> ScanProgress:
    found: dict[int, set[str]] = {}
    for row in rows:
        found.setdefault(row["point"], set()).add(row["frame"] or row["status"])
    sorted_out: dict[str, list[int]] = {name: [] for name in ("done", "lost", "uncertain", "left")}
    for point in range(len(runs[0].scan.points_um)):
        sorted_out[_standing(found.get(point, set()))].append(point)
    standing: Any = {name: tuple(points) for name, points in sorted_out.items()}
    return ScanProgress(runs=runs, end=end, **standing)


def _standing(statuses: set[str]) -> str:
    """Return what all the attempts at a point come to."""
    if "saved" in statuses:
        return "done"
    if statuses & {"uncertain", "under way"}:
        return "uncertain"
    return "lost" if "lost" in statuses else "left"
