"""Runs of a repeat, and ends: what may go on, and what is over."""

import sqlite3
from contextlib import closing

import numpy as np
import pytest

from ptycho_plugin.errors import InputError, LedgerError
from ptycho_plugin.ledger import Ledger, Scan, ScanRun
from ptycho_plugin.ledger.database import APPLICATION_ID, SCHEMA_VERSION
from ptycho_plugin.ledger.schema import VERSIONS

SCAN = Scan(
    points_um=((0, 0), (0, 0.2), (0.2, 0), (0.2, 0.2)), coarse_um=(100, 200), exposure_s=0.2, energy_eV=6200
)


@pytest.fixture
def run(region):
    """Return a run of repeat 1; keyword arguments change it."""

    def make(uid="first", **changes):
        return ScanRun(**{"uid": uid, "on": region, "repeat": 1, "scan": SCAN, "points": range(4)} | changes)

    return make


@pytest.fixture
def expose(ledger, intent, delivered):
    """Expose points of a run, and confirm them."""

    def expose(uid, *points, again=False, **how):
        for point in points:
            key = ledger.intend(intent(point, run_uid=uid, repeat=1), again=again)
            ledger.confirm(key, delivered(**how))

    return expose


def test_a_repeat_goes_on_where_its_runs_ended(ledger, region, run, expose, intent):
    assert not ledger.scans.progress(region, 1).is_complete
    ledger.scans.begin(run())
    expose("first", 0)
    expose("first", 1, frame="lost")
    expose("first", 3, frame="none")
    ledger.intend(intent(2, run_uid="first", repeat=1))
    progress = ledger.scans.progress(region, 1, scan=SCAN)
    assert (progress.done, progress.lost, progress.uncertain, progress.left) == ((0,), (1,), (2,), (3,))
    ledger.scans.begin(run("second", points=[3]))
    expose("second", 3)
    progress = ledger.scans.progress(region, 1)
    assert [run.uid for run in progress.runs] == ["first", "second"]
    assert progress.runs[1].points == (3,)
    assert progress.is_complete
    assert progress.end is None
    ledger.scans.complete(region, 1, run_uid="second")
    ledger.scans.complete(region, 1, run_uid="third")
    assert ledger.scans.progress(region, 1).end.run_uid == "second"
    assert ledger.scans.progress(region, 2).runs == ledger.scans.progress(region, None).runs == ()


def test_a_point_is_exposed_once_in_all_runs_of_its_repeat(ledger, run, expose, intent, path):
    ledger.scans.begin(run())
    expose("first", 0)
    ledger.intend(intent(1, run_uid="first", repeat=1))
    ledger.scans.begin(run("second"))
    ledger.scans.begin(run("other", repeat=2))
    with pytest.raises(LedgerError, match=r"run first, point 0, attempt 1\) is done: .* must be asked for"):
        expose("second", 0)
    with pytest.raises(LedgerError, match=r"run first, point 1, .* must be asked for"):
        expose("second", 1)
    with Ledger(path) as other, pytest.raises(LedgerError, match=r"point 1, .* is under way"):
        other.intend(intent(1, run_uid="second", repeat=1), again=True)
    expose("second", 1, again=True)
    expose("other", 0, 1)
    assert ledger.exposures_of_run("second").attempt.tolist() == [2]


def test_two_sessions_cannot_go_on_with_one_exposure_under_way(ledger, region, run, intent, path):
    ledger.scans.begin(run())
    ledger.intend(intent(0, run_uid="first", repeat=1))
    with Ledger(path) as other:
        with pytest.raises(LedgerError, match="point 0, attempt 1\\) is under way in another session"):
            other.scans.progress(region, 1)
        ledger.close()
        assert other.scans.progress(region, 1).uncertain == (0,)


OTHERWISE = {
    "exposure": ({"exposure_s": 0.1}, r"exposure_s = 0\.1, it was 0\.2"),
    "energy": ({"energy_eV": 6300}, r"energy 6300 eV, it was 6200 eV"),
    "transmission": ({"transmission": 0.5}, r"transmission 0\.5, it was 1"),
    "coarse": ({"coarse_um": (100.2, 200)}, r"coarse stage at \(100\.2, 200\) um, it was at \(100, 200\) um"),
    "centre": (
        {"points_um": tuple((row + 1, column) for row, column in SCAN.points_um)},
        r"centre \(1, 0\) um from where it was",
    ),
    "fewer": ({"points_um": SCAN.points_um[:3]}, "trajectory of 3 points, it had 4"),
    "turned": (
        {"points_um": SCAN.points_um[::-1]},
        r"trajectory with points up to 0\.4 um from where they were",
    ),
}


@pytest.mark.parametrize("case", OTHERWISE)
def test_another_scan_is_no_continuation_and_the_difference_is_named(ledger, region, run, case):
    change, said = OTHERWISE[case]
    ledger.scans.begin(run())
    scan = SCAN.model_copy(update=change)
    with pytest.raises(LedgerError, match=f"repeat 1 of region 'A' .* cannot go on: .*{said}; repeat it"):
        ledger.scans.progress(region, 1, scan=scan)
    with pytest.raises(LedgerError, match=said):
        ledger.scans.begin(run("second", scan=scan, points=[0]))
    ledger.scans.progress(region, 2, scan=scan)
    ledger.scans.progress(region, 1, scan=SCAN.model_copy(update={"coarse_um": (100.05, 200)}))


def test_a_sample_that_was_mounted_again_begins_another_repeat(ledger, region, run):
    ledger.samples.find_marks("film", {"a": (0, 0), "b": (100, 0)})
    ledger.scans.begin(run())
    ledger.samples.mount("film", again=True)
    ledger.samples.find_marks("film", {"a": (1, 0), "b": (101, 0)})
    with pytest.raises(LedgerError, match="cannot go on: its sample has been mounted again"):
        ledger.scans.progress(region, 1, scan=SCAN)
    assert ledger.scans.progress(region, 1).remounted
    ledger.scans.begin(run("second", repeat=2))
    assert not ledger.scans.progress(region, 2).remounted


def test_a_closed_region_takes_no_exposure_until_it_is_reopened(ledger, region, run, expose):
    ledger.scans.begin(run())
    expose("first", 0)
    assert ledger.scans.closed(region) is None
    ledger.scans.close(region, "damage: 12 % of the contrast is lost", run_uid="first")
    assert ledger.scans.closed(region).run_uid == "first"
    said = r"region 'A' .* is closed since .*: damage: 12 % of the contrast is lost; reopen it"
    with pytest.raises(LedgerError, match=said):
        expose("first", 1)
    with pytest.raises(LedgerError, match=said):
        ledger.scans.begin(run("second"))
    with pytest.raises(LedgerError, match="is closed already"):
        ledger.scans.close(region, "damage")
    with pytest.raises(LedgerError, match="for no reason"):
        ledger.scans.reopen(region, "")
    ledger.scans.reopen(region, "a last look")
    expose("first", 1)
    with pytest.raises(LedgerError, match="is open already"):
        ledger.scans.reopen(region, "again")


def test_points_that_a_scan_does_not_have_are_refused(run):
    for points in ((4,), (0, 0), ()):
        with pytest.raises(InputError, match="points"):
            run(points=points)


def test_a_ledger_of_the_first_version_is_brought_up_to_date(path, intent, ledger, delivered):
    ledger.confirm(ledger.intend(intent()), delivered())
    ledger.close()
    old = path.with_name("old.ledger")
    with closing(sqlite3.connect(old)) as connection, connection:
        for statement in VERSIONS[0]:
            connection.execute(statement)
        connection.execute("ATTACH ? AS new", (str(path),))
        for table in ("sessions", "mountings", "regions", "exposures", "outcomes"):
            described = connection.execute(f"SELECT name FROM pragma_table_info('{table}')")  # noqa: S608
            columns = ", ".join(name for (name,) in described)
            connection.execute(f"INSERT INTO {table} ({columns}) SELECT {columns} FROM new.{table}")  # noqa: S608
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute("PRAGMA user_version = 1")
    with Ledger(old) as first, Ledger(old) as second:
        for session in (first, second):
            assert session._database._pragma("user_version") == SCHEMA_VERSION
            exposures = session.exposures_of_run("run")
            assert exposures.photons.tolist() == [900]
            assert exposures.frame.tolist() == ["saved"]
            assert np.isnan(exposures.calibration_sigma).tolist() == [True]
