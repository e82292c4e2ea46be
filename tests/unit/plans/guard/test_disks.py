"""A disk that takes no entry: nothing is exposed that it does not hold, and nothing that it held is lost."""

from collections.abc import Callable
from typing import Any

import pytest
from bluesky import RunEngine
from bluesky.utils import Msg

from ptycho_plugin.errors import InputError, LedgerError
from ptycho_plugin.ledger import Ledger
from ptycho_plugin.plans import DoseGuard, ptycho_fly_scan, ptycho_scan
from ptycho_plugin.trajectory import ConcentricRings

SMALL = ConcentricRings(height_um=1.4, width_um=1.4)
DENSE = ConcentricRings(radial_step_um=0.05, height_um=1.4, width_um=1.4)
"""Of so many points that its run takes pages of the ledger."""
POINTS = len(SMALL.offsets_um())
REPEAT = 1


def fill(ledger: Ledger) -> None:
    """Let the file grow no more: SQLite then says what it says of a full disk."""
    ledger._database._connection.execute("PRAGMA max_page_count = 1")


def make_room(ledger: Ledger) -> None:
    ledger._database._connection.execute("PRAGMA max_page_count = 1000000")


def protect(ledger: Ledger) -> None:
    """Let the file be read only."""
    ledger._database._connection.execute("PRAGMA query_only = ON")


def release(ledger: Ledger) -> None:
    ledger._database._connection.execute("PRAGMA query_only = OFF")


DISKS = {"full": (fill, make_room, "the disk is full"), "read-only": (protect, release, "is read-only")}


def scan(film: Any, trajectory: ConcentricRings = SMALL, plan: Any = ptycho_scan) -> Any:
    guard = DoseGuard(film.beamline, film.ledger, film.region, repeat=REPEAT)
    return plan(film.beamline, trajectory=trajectory, guard=guard)


def after_exposure(number: int, film: Any, act: Callable[[Ledger], None]) -> Callable[[Msg], None]:
    numbers = iter(range(1000))

    def hook(message: Msg) -> None:
        if message.command == "trigger" and message.obj is film.beamline.detector and next(numbers) == number:
            act(film.ledger)

    return hook


@pytest.mark.parametrize("disk", DISKS)
def test_a_ledger_that_takes_no_run_opens_no_shutter(engine: RunEngine, film: Any, disk: str) -> None:
    spoil, repair, said = DISKS[disk]
    spoil(film.ledger)
    with pytest.raises(LedgerError, match=said):
        engine(scan(film, DENSE))
    assert not film.beamline.shutter.openings_s
    repair(film.ledger)
    assert not len(film.ledger.exposures(film.region))
    assert not film.ledger.scans.progress(film.region, REPEAT).runs


@pytest.mark.parametrize("disk", DISKS)
def test_a_disk_that_ends_in_mid_scan_closes_the_shutter_and_loses_no_exposure(
    engine: RunEngine, film: Any, documents: Any, disk: str
) -> None:
    spoil, repair, said = DISKS[disk]
    engine.msg_hook = after_exposure(2, film, spoil)
    with pytest.raises(LedgerError, match=said):
        engine(scan(film))
    engine.msg_hook = None
    assert not film.is_open
    exposures = film.ledger.exposures(film.region)
    assert exposures.photons.sum() >= film.received * 0.999
    assert 2 <= len(exposures) < POINTS
    assert exposures.status[:2].tolist() == ["done", "done"]
    repair(film.ledger)
    engine(scan(film))
    progress = film.ledger.scans.progress(film.region, REPEAT)
    assert progress.is_complete
    assert len(progress.done) + len(progress.uncertain) == POINTS
    assert len(progress.uncertain) <= 1
    exposures = film.ledger.exposures(film.region)
    assert sorted(exposures.point.tolist()) == list(range(POINTS)), "each once"


@pytest.mark.parametrize("plan", [ptycho_scan, ptycho_fly_scan])
def test_an_event_that_a_writer_does_not_take_is_not_saved(engine: RunEngine, film: Any, plan: Any) -> None:
    refused = []

    def writer(name: str, document: Any) -> None:
        if name in ("event", "event_page") and "encoder_y" in document["data"] and not refused:
            refused.append(document)
            raise OSError("its disk is full")

    engine.subscribe(writer)
    with pytest.raises(OSError, match="its disk is full"):
        engine(scan(film, plan=plan))
    exposures = film.assert_told()
    exposures = exposures.where((exposures.kind == "scan") & (exposures.status == "done"))
    assert set(exposures.frame) == {"lost"}


def test_frames_that_find_no_room_are_refused_before_the_shutter_opens(
    engine: RunEngine, film: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ptycho_plugin.devices import hdf5_frames

    usage = hdf5_frames.shutil.disk_usage
    monkeypatch.setattr(hdf5_frames.shutil, "disk_usage", lambda path: usage(path)._replace(free=1000))
    with pytest.raises(InputError, match="make room or choose another"):
        engine(scan(film))
    assert not film.beamline.shutter.openings_s
    assert not len(film.ledger.exposures(film.region))
