"""A session lives as long as it holds its lock."""

import fcntl
import sqlite3
from contextlib import closing

import pytest

from ptycho_plugin.errors import LedgerError
from ptycho_plugin.ledger.session import SessionLock, is_alive, remove_left_locks


@pytest.fixture
def left(path):
    """The name of a lock file that a killed session left."""
    file = path.with_name(f"{path.name}-session-left")
    file.touch()
    return file.name


def test_a_session_lives_until_it_is_closed(path):
    lock = SessionLock(path)
    assert is_alive(path, lock.name)
    lock.close()
    lock.close()
    assert not is_alive(path, lock.name)


def test_who_asks_is_not_taken_for_the_session(path, left):
    with path.with_name(left).open("rb") as asking:
        fcntl.flock(asking, fcntl.LOCK_SH)
        assert not is_alive(path, left)


def test_only_locks_of_sessions_that_died_are_removed(path, left):
    unwritten = path.with_name(f"{path.name}-session-unwritten")
    unwritten.touch()
    with closing(SessionLock(path)) as living, closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("CREATE TABLE sessions (lock)")
        connection.executemany("INSERT INTO sessions VALUES (?)", [(living.name,), (left,)])
        remove_left_locks(path, connection)
        assert {each.name for each in path.parent.iterdir()} == {living.name, unwritten.name}


def test_a_folder_that_takes_no_lock_is_refused(path):
    with pytest.raises(LedgerError, match=r"no session of the ledger .* can begin: No such file"):
        SessionLock(path.parent / "nowhere" / "film.ledger")
