"""Whether a session lives: it holds a lock that the kernel releases, however the process ends.

A process number would not do: it may be given again. A process that was forked from a session
shares its lock, so that the session lives until both have ended; what it left unconfirmed counts
either way.
"""

from __future__ import annotations

import fcntl
import sqlite3
from glob import escape
from pathlib import Path
from uuid import uuid4

from ptycho_plugin.errors import LedgerError

MARK = "-session-"
"""Between a ledger's name and what tells the lock files of its sessions apart."""


class SessionLock:
    """A lock file beside the ledger, with a name that is never given again.

    Parameters
    ----------
    ledger : Path

    Raises
    ------
    LedgerError
        If the folder takes no file, or its file system no lock.
    """

    def __init__(self, ledger: Path) -> None:
        self.name = f"{ledger.name}{MARK}{uuid4().hex}"
        self._path = ledger.with_name(self.name)
        try:
            self._file = self._path.open("xb")
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise LedgerError(f"no session of the ledger {ledger} can begin: {error.strerror}") from error

    def close(self) -> None:
        """End the session."""
        self._path.unlink(missing_ok=True)
        self._file.close()


def is_alive(ledger: Path, name: str) -> bool:
    """Return whether a session of a ledger holds its lock file; one that is gone was released."""
    try:
        with ledger.with_name(name).open("rb") as file:
            # Shared: two that ask at once do not mistake one another for the session.
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def remove_left_locks(ledger: Path, connection: sqlite3.Connection) -> None:
    """Remove lock files of sessions that crashed; one that no session has written yet may be taken soon."""
    begun = {name for (name,) in connection.execute("SELECT lock FROM sessions")}
    for path in ledger.parent.glob(f"{escape(ledger.name)}{MARK}*"):
        if path.name in begun and not is_alive(ledger, path.name):
            path.unlink(missing_ok=True)
