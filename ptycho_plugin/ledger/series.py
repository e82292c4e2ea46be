"""Which series a region is measured in: one, in whatever session."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from uuid import uuid4

from ptycho_plugin.errors import LedgerError
from ptycho_plugin.ledger.clock import utc
from ptycho_plugin.ledger.database import insert
from ptycho_plugin.ledger.records import Region


def series_of(connection: sqlite3.Connection, regions: Sequence[Region]) -> str:
    """Return the uid of the series that regions are in; those that are in none join it, or begin one.

    Raises
    ------
    LedgerError
        If they are in several series.
    """
    found: dict[str, Region] = {}
    new = []
    for region in regions:
        row = connection.execute("SELECT uid FROM series WHERE region = ?", (region.key,)).fetchone()
        if row is None:
            new.append(region)
        else:
            found.setdefault(row["uid"], region)
    if len(found) > 1:
        among = ", ".join(f"{region} in {uid}" for uid, region in found.items())
        raise LedgerError(f"one series cannot have regions of several: {among}; measure them one by one")
    uid = next(iter(found), None) or str(uuid4())
    for region in new:
        insert(connection, "series", {"region": region.key, "uid": uid, "joined_utc": utc()})
    return uid
