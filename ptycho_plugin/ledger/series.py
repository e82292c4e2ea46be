"""Which series a region is measured in: one, in whatever session."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from uuid import uuid4

from ptycho_plugin.errors import LedgerError
from ptycho_plugin.ledger.clock import utc
from ptycho_plugin.ledger.records import Region


def series_of(connection: sqlite3.Connection, regions: Iterable[Region]) -> str | None:
    """Return the uid of the series that regions are in, or None if they are in none.

    Raises
    ------
    LedgerError
        If they are in several series.
    """
    found: dict[str, Region] = {}
    for region in regions:
        row = connection.execute("SELECT uid FROM series WHERE region = ?", (region.key,)).fetchone()
        if row is not None:
            found.setdefault(row["uid"], region)
    if len(found) > 1:
        among = ", ".join(f"{region} in {uid}" for uid, region in found.items())
        raise LedgerError(f"one series cannot have regions of several: {among}; measure them one by one")
    return next(iter(found), None)


def join_series(connection: sqlite3.Connection, regions: Iterable[Region]) -> str:
    """Return the uid of the series that regions are in; those that are in none join it, or begin one."""
    regions = tuple(regions)
    uid = series_of(connection, regions) or str(uuid4())
    connection.executemany(
        "INSERT INTO series (region, uid, joined_utc) VALUES (?, ?, ?) ON CONFLICT (region) DO NOTHING",
        [(region.key, uid, utc()) for region in regions],
    )
    return uid
