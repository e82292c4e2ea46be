"""The ledger's file: durable, recognised, and refused in one sentence before anything is exposed."""

import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest

from ptycho_plugin.errors import LedgerError
from ptycho_plugin.ledger import Ledger
from ptycho_plugin.ledger.database import APPLICATION_ID, SCHEMA_VERSION


def pragma(ledger, name):
    return ledger._database._connection.execute(f"PRAGMA {name}").fetchone()[0]


@pytest.mark.parametrize("new", [True, False])
def test_the_very_connection_syncs_each_commit_and_its_folder(path, new):
    if not new:
        Ledger(path, new=True).close()
        with sqlite3.connect(path) as other:
            other.execute("PRAGMA journal_mode = WAL")
        other.close()
    with Ledger(path, new=new) as ledger:
        extra = 3
        assert pragma(ledger, "synchronous") == extra
        assert pragma(ledger, "journal_mode") == "delete"
        assert pragma(ledger, "foreign_keys") == 1


def test_what_a_transaction_read_still_holds_when_it_writes(ledger, path):
    with (
        closing(sqlite3.connect(path, timeout=0)) as other,
        ledger._database.transaction(),
        pytest.raises(sqlite3.OperationalError, match="locked"),
    ):
        other.execute("BEGIN IMMEDIATE")


def test_a_ledger_says_what_it_is(ledger):
    assert pragma(ledger, "application_id") == APPLICATION_ID
    assert pragma(ledger, "user_version") == SCHEMA_VERSION


def test_an_opened_ledger_is_one_file_and_a_lock_and_a_closed_one_is_one_file(path):
    with Ledger(path, new=True):
        assert len(list(path.parent.iterdir())) == 2
    assert list(path.parent.iterdir()) == [path]


def test_a_ledger_is_made_once_and_never_by_a_slip(path):
    with pytest.raises(LedgerError, match=r"there is no ledger .*/film\.ledger: check the path"):
        Ledger(path)
    assert not path.exists()
    Ledger(path, new=True).close()
    with pytest.raises(LedgerError, match=r"there is a file .* already: open it"):
        Ledger(path, new=True)
    with pytest.raises(LedgerError, match="there is no folder"):
        Ledger(path.parent / "nowhere" / "film.ledger", new=True)


def test_a_file_that_a_crash_left_empty_can_be_made_a_ledger(path):
    path.touch()
    with pytest.raises(LedgerError, match="is no ledger"):
        Ledger(path)
    Ledger(path, new=True).close()


def test_a_link_leads_to_the_same_sessions(path):
    link = path.with_name("link")
    with Ledger(path, new=True) as ledger:
        link.symlink_to(path)
        with Ledger(link) as other:
            assert other._database.path == ledger._database.path


def test_a_newer_ledger_is_left_alone(path):
    Ledger(path, new=True).close()
    with sqlite3.connect(path) as newer:
        newer.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    newer.close()
    before = path.read_bytes()
    with pytest.raises(
        LedgerError, match=f"has version {SCHEMA_VERSION + 1}, this program knows {SCHEMA_VERSION}: update"
    ):
        Ledger(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("what", ["text", "database"])
def test_a_file_that_is_no_ledger_is_left_alone(path, what):
    if what == "text":
        path.write_text("exposures:\n" * 1000)
    else:
        with sqlite3.connect(path) as other:
            other.execute("CREATE TABLE exposures (id)")
        other.close()
    before = path.read_bytes()
    with pytest.raises(LedgerError, match="is no ledger"):
        Ledger(path)
    assert path.read_bytes() == before


def test_a_damaged_ledger_is_refused(path):
    with Ledger(path, new=True) as ledger:
        ledger.samples.mount("film")
    content = bytearray(path.read_bytes())
    content[100:] = b"\xff" * (len(content) - 100)
    path.write_bytes(content)
    with pytest.raises(LedgerError, match="is damaged"):
        Ledger(path)


@pytest.mark.parametrize("which", ["file", "folder"])
def test_a_read_only_ledger_is_refused_at_opening(path, which):
    Ledger(path, new=True).close()
    place = path if which == "file" else path.parent
    mode = place.stat().st_mode
    place.chmod(mode & ~0o222)
    with pytest.raises(LedgerError, match=f"cannot be written: {place} is read-only"):
        Ledger(path)
    place.chmod(mode)
    Ledger(path).close()


@pytest.fixture
def untouched(path):
    """A closed ledger in a folder that takes nothing; in the end it is as it was."""
    with Ledger(path, new=True) as ledger:
        ledger.samples.mount("film")
    before = path.read_bytes()
    path.chmod(0o444)
    path.parent.chmod(0o555)
    yield path
    path.parent.chmod(0o755)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_a_ledger_is_read_without_a_trace(untouched):
    with Ledger(untouched, read_only=True) as ledger:
        assert ledger.samples.names() == ("film",)
        assert len(ledger.exposures_of_sample("film")) == 0
        with pytest.raises(LedgerError, match="was opened to be read: open it to write"):
            ledger.samples.mount("another")


def test_who_reads_sees_what_another_session_does(path, ledger, intent, delivered, region):
    with Ledger(path, read_only=True) as reader:
        key = ledger.intend(intent())
        assert reader.exposures(region).status.tolist() == ["under way"]
        ledger.confirm(key, delivered())
        assert reader.exposures_of_sample("film").status.tolist() == ["done"]


def test_an_older_ledger_that_is_only_read_is_refused(untouched):
    untouched.parent.chmod(0o755)
    old = untouched.with_name("old")
    with closing(sqlite3.connect(old)) as connection:
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION - 1}")
    before = old.read_bytes()
    with pytest.raises(LedgerError, match="is of an older version: open it once to write"):
        Ledger(old, read_only=True)
    assert old.read_bytes() == before
    old.unlink()


def test_what_a_crash_cut_short_is_not_taken_back_by_who_reads(path, ledger, intent):
    """The journal of a transaction under way is what a loss of power would leave."""
    with ledger._database.transaction() as connection:
        connection.execute("PRAGMA cache_spill = 1")
        connection.execute("PRAGMA cache_size = 1")
        connection.execute(
            "INSERT INTO marks SELECT 'film', value, 0, 0 FROM (WITH RECURSIVE many(value) AS "
            "(SELECT 1 UNION ALL SELECT value + 1 FROM many LIMIT 20000) SELECT value FROM many)"
        )
        cut = path.parent / "cut" / path.name
        cut.parent.mkdir()
        for suffix in ("", "-journal"):
            content = path.with_name(path.name + suffix).read_bytes()
            cut.with_name(cut.name + suffix).write_bytes(content)
    with pytest.raises(LedgerError, match="has an entry that a crash cut short: open it once to write"):
        Ledger(cut, read_only=True)
    Ledger(cut).close()
    Ledger(cut, read_only=True).close()


def fill(ledger):
    """Let the file grow no more: SQLite then says what it says of a full disk."""
    ledger._database._connection.execute("PRAGMA max_page_count = 1")


def test_a_full_disk_refuses_an_intent_and_keeps_what_was_recorded(ledger, region, intent, delivered):
    fill(ledger)
    acknowledged = []

    def expose_for_ever():
        while True:
            key = ledger.intend(intent(len(acknowledged)))
            acknowledged.append(key)
            ledger.confirm(key, delivered())

    with pytest.raises(LedgerError, match="the disk is full"):
        expose_for_ever()
    assert ledger.exposures(region).key.tolist() == acknowledged
    assert acknowledged


def test_a_full_disk_at_a_confirmation_leaves_the_exposure_counted(ledger, region, intent, delivered):
    keys = [ledger.intend(intent(run_uid=f"run-{number}")) for number in range(100)]
    fill(ledger)

    def confirm_all():
        for key in keys:
            ledger.confirm(key, delivered())

    with pytest.raises(LedgerError, match="the disk is full"):
        confirm_all()
    exposures = ledger.exposures(region)
    done = exposures.status == "done"
    assert 0 < done.sum() < len(keys)
    assert exposures.photons.sum() == 900 * done.sum() + 1000 * (~done).sum()


OPEN_ON_A_FULL_DISK = """
import resource, sys
from ptycho_plugin.errors import LedgerError
from ptycho_plugin.ledger import Ledger
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
try:
    Ledger(sys.argv[1], new=sys.argv[3] == "new")
except LedgerError as error:
    print(error)
"""


@pytest.mark.parametrize("which", ["new", "old"])
def test_a_disk_that_takes_nothing_shows_at_opening(path, which):
    if which == "old":
        Ledger(path, new=True).close()
    command = [sys.executable, "-c", OPEN_ON_A_FULL_DISK, path, "600", which]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert said.startswith(f"the ledger {path} cannot be ")
    assert "the disk" in said
    assert not list(path.parent.glob("*-session-*"))
    with Ledger(path, new=which == "new") as ledger:
        ledger.samples.mount("film")
