"""The ledger's file: an SQLite database in which what was acknowledged stays.

A rollback journal, not a write-ahead log: before SQLite 3.51.3 two connections to a write-ahead
log could lose what they had committed (https://sqlite.org/wal.html#walresetbug), and two sessions
must be able to write. `synchronous = EXTRA`, because a commit is the journal's removal from its
folder, and under FULL that removal is not synced: a power loss could bring the journal back, and the
next to open the file would undo the commit (https://sqlite.org/pragma.html#pragma_synchronous).
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import RLock
from urllib.parse import quote

from ptycho_plugin.errors import LedgerError
from ptycho_plugin.ledger.schema import VERSIONS

APPLICATION_ID = int.from_bytes(b"ptyc", "big")
SCHEMA_VERSION = len(VERSIONS)
BUSY_TIMEOUT_S = 30.0
"""How long a session waits for another one's transaction, which takes some milliseconds."""

_SENTENCES = {
    sqlite3.SQLITE_FULL: "cannot be written: the disk is full; make room before anything is exposed",
    sqlite3.SQLITE_IOERR: "cannot be read or written: the disk has failed, or takes no more",
    sqlite3.SQLITE_READONLY: "cannot be written: it is read-only",
    sqlite3.SQLITE_READONLY_ROLLBACK: "has an entry that a crash cut short: open it once to write, which "
    "takes that back, or a copy of it and its journal",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened, or its folder is read-only",
    sqlite3.SQLITE_PERM: "cannot be written: access was denied",
    sqlite3.SQLITE_BUSY: f"was kept locked by another session for {BUSY_TIMEOUT_S:g} s: see what holds it",
    sqlite3.SQLITE_NOTADB: "is no ledger: give the path of one, or create another",
    sqlite3.SQLITE_CORRUPT: "is damaged: restore it from a copy; what it counted is not to be forgotten",
}


class Database:
    """One connection to a ledger's file, for any thread, one transaction at a time.

    Parameters
    ----------
    path : Path
        Absolute.
    new : bool
        Make it; otherwise it must be there. One of an older version is brought up to date.
    read_only : bool
        Leave it as it is, also where nothing could be written.

    Raises
    ------
    LedgerError
        If the file is not there (or, if new, is), no ledger, or from a newer version; if it is read-only
        or, where it is to stay so, from an older version.
    """

    def __init__(self, path: Path, *, new: bool = False, read_only: bool = False) -> None:
        self.path = path
        self._lock = RLock()
        self._read_only = read_only
        self._check_place(new)
        with self._sentences():
            # isolation_level None: transactions begin where this module says so, and nowhere else.
            self._connection = sqlite3.connect(
                f"file:{quote(str(path.absolute()))}?mode={'ro' if read_only else 'rwc' if new else 'rw'}",
                uri=True,
                timeout=BUSY_TIMEOUT_S,
                isolation_level=None,
                check_same_thread=False,
            )
        try:
            self._prepare(new)
        except BaseException:
            self._connection.close()
            raise

    def _check_place(self, new: bool) -> None:
        folder = self.path.parent
        if not folder.is_dir():
            raise LedgerError(f"the ledger {self.path} cannot be: there is no folder {folder}")
        if new and self.path.exists() and self.path.stat().st_size:
            raise LedgerError(f"there is a file {self.path} already: open it, or name another new ledger")
        if not new and not self.path.is_file():
            make = "" if self._read_only else ", or say new=True to make one"
            raise LedgerError(f"there is no ledger {self.path}: check the path{make}")
        for place in () if self._read_only else (folder, self.path):
            # Root may write anywhere, but someone took the write bits away for a reason.
            if place.exists() and not place.stat().st_mode & 0o222:
                raise LedgerError(f"the ledger {self.path} cannot be written: {place} is read-only")

    def _prepare(self, new: bool) -> None:
        with self._sentences():
            self._connection.row_factory = sqlite3.Row
            for setting in ("synchronous = EXTRA", "foreign_keys = ON", "temp_store = MEMORY"):
                self._connection.execute(f"PRAGMA {setting}")
        if new:
            self._create()
        with self._sentences():
            application, version = self._pragma("application_id"), self._pragma("user_version")
            if not self._read_only:
                # A file that someone switched to a write-ahead log goes back to the journal.
                self._connection.execute("PRAGMA journal_mode = DELETE")
        if application != APPLICATION_ID:
            raise LedgerError(f"{self.path} is no ledger: give the path of one, or create another")
        if version > SCHEMA_VERSION:
            raise LedgerError(
                f"the ledger {self.path} has version {version}, this program knows {SCHEMA_VERSION}: "
                "update ptycho_plugin"
            )
        if version < SCHEMA_VERSION:
            self._update()

    def _create(self) -> None:
        with self.transaction() as connection:
            if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                raise LedgerError(f"another session has just created {self.path}: open it")
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            self._add_tables(connection)
        folder = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # the file's own name in its folder
        finally:
            os.close(folder)

    def _update(self) -> None:
        if self._read_only:
            raise LedgerError(
                f"the ledger {self.path} is of an older version: open it once to write, or a copy of it, "
                "which brings it up to date"
            )
        with self.transaction() as connection:
            self._add_tables(connection)

    def _add_tables(self, connection: sqlite3.Connection) -> None:
        """Add what the file's version lacks; of two sessions that want to, the second finds it done."""
        for tables in VERSIONS[self._pragma("user_version") :]:
            for statement in tables:
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")

    def _pragma(self, name: str) -> int:
        return int(self._connection.execute(f"PRAGMA {name}").fetchone()[0])

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Give the connection for entries that are on disk when the block ends, or not made at all.

        Raises
        ------
        LedgerError
            If the disk does not take them, or the ledger was opened to be read only.
        """
        if self._read_only:
            raise LedgerError(f"the ledger {self.path} was opened to be read: open it to write")
        # IMMEDIATE: what is read in the block still holds when its entries are made.
        with self._between("BEGIN IMMEDIATE") as connection:
            yield connection

    @contextmanager
    def snapshot(self) -> Iterator[sqlite3.Connection]:
        """Give the connection for queries that all see the same ledger."""
        with self._between("BEGIN") as connection:
            yield connection

    @contextmanager
    def _between(self, begin: str) -> Iterator[sqlite3.Connection]:
        with self._lock, self._sentences():
            try:
                self._connection.execute(begin)
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                # A disk that took no entry may refuse this too; the next to open the file undoes it then.
                with suppress(sqlite3.Error):
                    self._connection.rollback()
                raise

    @contextmanager
    def _sentences(self) -> Iterator[None]:
        """Make one sentence of what SQLite raises."""
        try:
            yield
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
            # Extended codes keep the kind of error in their lowest byte.
            said = _SENTENCES.get(code) or _SENTENCES.get(code & 0xFF, f"cannot be used: {error}")
            raise LedgerError(f"the ledger {self.path} {said}") from error

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            self._connection.close()


def insert(connection: sqlite3.Connection, table: str, entry: Mapping[str, object]) -> int:
    """Add a row, given by its columns, and return its key."""
    names, values = ", ".join(entry), ", ".join(f":{name}" for name in entry)
    cursor = connection.execute(f"INSERT INTO {table} ({names}) VALUES ({values})", entry)  # noqa: S608
    return int(cursor.lastrowid or 0)
