"""Every exposure, on disk as intended before its shutter opens, and as done before the next begins."""

from __future__ import annotations

import os
import socket
import sqlite3
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from ptycho_plugin.errors import LedgerError
from ptycho_plugin.ledger.clock import utc
from ptycho_plugin.ledger.database import Database, insert
from ptycho_plugin.ledger.entries import (
    Attempts,
    check_inside,
    check_settled,
    done,
    intended,
    named,
    withdrawn,
)
from ptycho_plugin.ledger.exposures import Exposures, from_rows
from ptycho_plugin.ledger.records import Delivered, Intent, Region
from ptycho_plugin.ledger.samples import Samples, current_mounting
from ptycho_plugin.ledger.scans import SAME_REPEAT, Scans, check_open
from ptycho_plugin.ledger.schema import COUNTED
from ptycho_plugin.ledger.session import SessionLock, is_alive, remove_left_locks

NO_SESSION = 0


class Ledger:
    """A session of the ledger, for one process and any of its threads; close it, or use it in a ``with``.

    What a method has written is on disk when it returns, and stays there through a crash of the
    process or a loss of power. Several sessions may be open at once. After a crash an exposure that
    was intended, and that nobody confirmed, counts as made.

    Parameters
    ----------
    path : path
        On a local disk.
    new : bool
        Make the ledger; otherwise it must be there, for one that came into being by a slip of its
        path would have forgotten every exposure.
    read_only : bool
        Only read it, and leave no trace, on a disk that takes nothing too: no session begins.

    Attributes
    ----------
    samples : Samples
        Samples, their mountings and regions, and the regions' budgets.
    scans : Scans
        What the runs of a region's repeats were to expose, and what has come to an end.

    Raises
    ------
    LedgerError
        At construction, if the ledger cannot be read or written, because the folder or the disk does
        not allow it or a newer version made it: the session's beginning is its first entry. One that
        is only read must be of this version.
        From every method, if the disk does not take an entry, or the entry cannot be true.
    """

    def __init__(self, path: Path | str, *, new: bool = False, read_only: bool = False) -> None:
        with ExitStack() as opened:
            database = Database(Path(path).resolve(), new=new, read_only=read_only)
            self._database = opened.enter_context(closing(database))
            with database.snapshot() as connection:
                connection.create_function("is_alive", 1, partial(is_alive, database.path))
                connection.execute(COUNTED)
            self._session = NO_SESSION if read_only else _begin_session(database, opened)
            self._opened = opened.pop_all()
        self.samples = Samples(self._database)
        self.scans = Scans(self._database, self._session)

    def close(self) -> None:
        """End the session; an exposure of it that is under way becomes uncertain."""
        self._opened.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def intend(self, intent: Intent, *, again: bool = False) -> int:
        """Write that an exposure is about to be made, and return its key: then the shutter may open.

        Parameters
        ----------
        intent : Intent
        again : bool
            Expose a point that was, or may have been, exposed before, in this run or another one of
            its repeat. Without it, only a point is exposed whose earlier exposures were all withdrawn,
            or ended before the detector was told to expose.

        Raises
        ------
        LedgerError
            Also if the monitor is not calibrated for this beam, the exposure lies outside its
            region, the region is closed, the point has been exposed, or the last exposure of the run
            in this session is not settled.
        """
        (key,) = self.intend_all([intent], again=[intent.point] if again else [])
        return key

    def intend_all(self, intents: Sequence[Intent], *, again: Collection[int] = ()) -> list[int]:
        """Write what a trajectory is about to expose, all of it or nothing, and return the keys.

        Parameters
        ----------
        intents : sequence of Intent
            Of one run and target, in the order in which they are to be made.
        again : collection of int
            Points that may be exposed once more, as for `intend`.

        Raises
        ------
        LedgerError
            As from `intend`.
        """
        first = intents[0]
        with self._database.transaction() as connection:
            mounting = current_mounting(connection, first.sample)
            if isinstance(first.on, Region):
                check_open(connection, first.on)
                for intent in intents:
                    check_inside(connection, first.on, mounting, intent)
            earlier = connection.execute(
                f"SELECT * FROM counted WHERE run_uid IN ({SAME_REPEAT}) ORDER BY id",  # noqa: S608
                {"run_uid": first.run_uid},
            ).fetchall()
            points = {intent.point for intent in intents}
            for row in earlier:
                # An earlier run of this session is over, and what it left is not under way any more.
                own = row["session"] == self._session
                if row["run_uid"] == first.run_uid if own else row["point"] in points:
                    check_settled(row)
            attempts = Attempts(earlier)
            common = {"session": self._session, "intended_utc": utc()}
            return [
                insert(
                    connection,
                    "exposures",
                    {
                        **intended(intent, mounting),
                        **common,
                        "attempt": attempts.next(intent, intent.point in again),
                    },
                )
                for intent in intents
            ]

    def confirm(self, exposure: int, delivered: Delivered) -> None:
        """Write what an exposure was, before the next one begins.

        The session that intended it may; any may, once it is uncertain.
        """
        self.settle({exposure: delivered})

    def withdraw(self, exposure: int, reason: str) -> None:
        """Write that an exposure was never made, because its shutter certainly did not open.

        The session that intended it may; any may, once it is uncertain.
        """
        if not reason:
            raise LedgerError(f"exposure {exposure} is withdrawn for no reason: give one")
        self.settle({exposure: reason})

    def settle(self, outcomes: Mapping[int, Delivered | str]) -> None:
        """Write what several exposures were, by their keys, or why they were never made: all, or none."""
        with self._database.transaction() as connection:
            for exposure, outcome in outcomes.items():
                self._check_settles(connection, exposure)
                entry = withdrawn(outcome) if isinstance(outcome, str) else done(outcome)
                insert(connection, "outcomes", {"exposure": exposure, "settled_utc": utc(), **entry})

    def _check_settles(self, connection: sqlite3.Connection, exposure: int) -> None:
        row = connection.execute("SELECT * FROM counted WHERE id = ?", (exposure,)).fetchone()
        if row is None:
            raise LedgerError(f"the ledger has no exposure {exposure}: give the key that intend returned")
        if row["status"] in ("done", "withdrawn"):
            raise LedgerError(f"{named(row)} is {row['status']} already: what was settled stays")
        if row["status"] == "under way" and row["session"] != self._session:
            raise LedgerError(f"{named(row)} is under way in another session: only that one can settle it")

    def exposures(self, region: Region) -> Exposures:
        """Return every exposure that fell within a region's reach, positions from its centre.

        Whichever run, session, repeat or kind it was of, and in whichever mounting: alignment, and
        what was meant for a neighbour, count as well. A path counts whole if any part may lie within.
        """
        (row, column), reach = region.centre_um, region.reach_um
        with self._database.snapshot() as connection:
            rows = connection.execute(
                "SELECT * FROM counted WHERE sample = :sample "
                "AND min(start_row_um, end_row_um) <= :row + :reach "
                "AND max(start_row_um, end_row_um) >= :row - :reach "
                "AND min(start_column_um, end_column_um) <= :column + :reach "
                "AND max(start_column_um, end_column_um) >= :column - :reach ORDER BY id",
                {"sample": region.sample, "row": row, "column": column, "reach": reach},
            ).fetchall()
            (unplaced,) = connection.execute(
                "SELECT count(*) FROM counted WHERE sample = ? AND start_row_um IS NULL "
                "AND status != 'withdrawn'",
                (region.sample,),
            ).fetchone()
        return from_rows(rows, region.centre_um, unplaced)

    def exposures_of_sample(self, sample: str) -> Exposures:
        """Return every exposure of a sample, in its coordinates, whether a region is there or not."""
        with self._database.snapshot() as connection:
            current_mounting(connection, sample)
            rows = connection.execute("SELECT * FROM counted WHERE sample = ? ORDER BY id", (sample,))
            return from_rows(rows, (0.0, 0.0))

    def exposures_of_run(self, run_uid: str) -> Exposures:
        """Return the exposures of a run, positions in sample coordinates."""
        with self._database.snapshot() as connection:
            rows = connection.execute("SELECT * FROM counted WHERE run_uid = ? ORDER BY id", (run_uid,))
            return from_rows(rows, (0.0, 0.0))

    def last_exposure(self) -> int:
        """Return the key of the exposure that was intended last, in whatever session; 0 if there is none."""
        with self._database.snapshot() as connection:
            (key,) = connection.execute("SELECT coalesce(max(id), 0) FROM exposures").fetchone()
        return int(key)

    def uncertain(self, where: Region | str) -> Exposures:
        """Return exposures of a region, or of a run by its uid, that their session left unconfirmed."""
        found = self.exposures(where) if isinstance(where, Region) else self.exposures_of_run(where)
        return found.where(found.status == "uncertain")


def _begin_session(database: Database, opened: ExitStack) -> int:
    """Write that a session begins, and return its key; it lasts until `opened` is closed."""
    # Held before the session is written: no other can take it for dead.
    lock = opened.enter_context(closing(SessionLock(database.path)))
    entry = {
        "lock": lock.name,
        "host": socket.gethostname(),
        "process": os.getpid(),
        "opened_utc": utc(),
    }
    with database.transaction() as connection:
        remove_left_locks(database.path, connection)
        return insert(connection, "sessions", entry)
