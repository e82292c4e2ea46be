"""A raw run in a real Tiled server, and the scan back from it alone."""

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ptycho_plugin.callbacks import RunSpool
from ptycho_plugin.errors import InputError, PublishingError, TiledUnreachableError
from ptycho_plugin.geometry import M_PER_UM
from ptycho_plugin.live.raw_sender import RawSender, Sending, close_abandoned
from ptycho_plugin.live.spool import FILE_NAME, SpoolReader
from ptycho_plugin.metadata import StoredProbe
from ptycho_plugin.orientation import DetectorOrientation, crop_window
from ptycho_plugin.publishing.calibrations import CalibrationStore
from ptycho_plugin.publishing.raw import dataset_from_tiled
from ptycho_plugin.publishing.raw_run_writer import RawRunWriter


@pytest.mark.parametrize("orientation", [DetectorOrientation.ROTATE_180, DetectorOrientation.TRANSPOSE])
def test_a_scan_comes_back_from_tiled_alone(
    tiled: Any, make_scan: Any, tmp_path: Path, orientation: DetectorOrientation
) -> None:
    mask = np.ones((60, 52), bool)
    mask[30, 20] = False
    version = CalibrationStore(tiled).store_mask(mask)
    scan = make_scan(orientation=orientation, mask_version=version)
    writer = RawRunWriter(tiled)
    for name, document in scan.documents():
        writer(name, document)

    dataset = dataset_from_tiled(tiled, scan.uid)

    side, centre = scan.metadata.geometry.frame_side, scan.metadata.beam_centre_px
    rows, columns = crop_window(centre, side, mask.shape, orientation)
    expected = orientation.to_scattering(scan.frames[:, rows, columns])
    np.testing.assert_array_equal(dataset.frames, expected)
    valid = orientation.to_scattering(mask[rows, columns]) & (expected >= 0)
    np.testing.assert_array_equal(np.broadcast_to(dataset.mask, valid.shape), valid)
    assert not valid.all()
    np.testing.assert_allclose(dataset.positions, -scan.stage_um * M_PER_UM)
    assert dataset.probe is not None
    np.testing.assert_allclose(dataset.probe, scan.metadata.probe.probe(dataset.geometry, 1e5))


def test_rows_are_there_while_the_run_goes_on(tiled: Any, make_scan: Any, tmp_path: Path) -> None:
    scan = make_scan()
    writer = RawRunWriter(tiled)
    for name, document in scan.documents(count=12):
        if name == "stop":
            break
        writer(name, document)
    table = tiled["raw", scan.uid, "primary"].base["internal"].read(["seq_num"])
    assert len(table) == 10


def test_fewer_frames_than_events_are_told(tiled: Any, make_scan: Any, tmp_path: Path) -> None:
    scan = make_scan()
    writer = RawRunWriter(tiled)
    for name, document in scan.documents(count=6):
        if name != "stream_datum" or document["indices"]["start"] < 4:
            writer(name, document)
    dataset = dataset_from_tiled(tiled, scan.uid)
    assert len(dataset) == 4
    assert any("2 events" in remark for remark in dataset.remarks)


def test_more_frames_than_events_are_refused(tiled: Any, make_scan: Any, tmp_path: Path) -> None:
    scan = make_scan()
    writer = RawRunWriter(tiled)
    for name, document in scan.documents(count=6):
        if name != "event" or document["seq_num"] < 5:
            writer(name, document)
    with pytest.raises(InputError, match="6 frames but events up to 4"):
        dataset_from_tiled(tiled, scan.uid)


def test_a_stored_probe_is_found_and_a_missing_one_named(tiled: Any, make_scan: Any, tmp_path: Path) -> None:
    probe = make_scan().metadata.optic.probe(make_scan().metadata.geometry)
    uid = CalibrationStore(tiled).store_probe(probe, geometry=make_scan().metadata.geometry)
    scan = make_scan(probe=StoredProbe(uid=uid))
    lost = make_scan(probe=StoredProbe(uid="no-such-probe"))
    writer = RawRunWriter(tiled)
    for run in (scan, lost):
        for name, document in run.documents(count=2):
            writer(name, document)
    dataset = dataset_from_tiled(tiled, scan.uid)
    np.testing.assert_array_equal(dataset.probe, probe)
    with pytest.raises(PublishingError, match="no-such-probe"):
        dataset_from_tiled(tiled, lost.uid)


def test_an_unknown_run_is_named(tiled: Any) -> None:
    with pytest.raises(PublishingError, match="no run 'nothing'"):
        dataset_from_tiled(tiled, "nothing")


def test_another_run_is_no_scan(tiled: Any, make_scan: Any, tmp_path: Path) -> None:
    scan = make_scan()
    writer = RawRunWriter(tiled)
    for name, document in scan.documents(count=1, start={"ptycho": {"purpose": "elsewhere"}}):
        writer(name, document)
    with pytest.raises(InputError, match="cannot be used"):
        dataset_from_tiled(tiled, scan.uid)


def test_a_run_can_be_replayed_document_by_document(tiled: Any, make_scan: Any, tmp_path: Path) -> None:
    scan = make_scan()
    writer = RawRunWriter(tiled)
    for name, document in scan.documents(count=2):
        writer(name, document)
    names = [name for name, _ in tiled["raw", scan.uid].documents()]
    assert names[0] == "start"
    assert names[-1] == "stop"
    assert "stream_datum" in names


def test_runs_of_one_scan_are_joined_in_its_order(tiled: Any, make_scan: Any, tmp_path: Path) -> None:
    writer = RawRunWriter(tiled)

    def write(scan: Any, count: int, end: str = "") -> str:
        for name, document in scan.documents(count=count):
            if name != end:
                writer(name, document)
        return str(scan.uid)

    first = make_scan(points=(5, 0, 1, 2), coarse_um=(10.0, 20.0))
    cut_off = make_scan(points=(3, 6), coarse_um=(10.0, 20.0))
    last = make_scan(points=(2, 4, 3), coarse_um=(10.0, 20.05))
    uids = [write(first, 4), write(cut_off, 0), write(last, 3)]
    last = make_scan(points=(2, 4, 3), coarse_um=(10.0, 20.05), continues=tuple(uids[:2]))
    dataset = dataset_from_tiled(tiled, write(last, 3))
    expected = [first.stage_um[1], first.stage_um[2], first.stage_um[3], last.stage_um[2], last.stage_um[1]]
    expected = -np.array([*expected, first.stage_um[0]])
    expected[3:5] -= (0, 0.05)
    np.testing.assert_allclose(dataset.positions, expected * M_PER_UM)
    assert any("points 6, 7, " in remark and "no frame" in remark for remark in dataset.remarks)


def test_a_run_that_was_cut_off_gives_what_tiled_has_of_it(
    tiled: Any, make_scan: Any, tmp_path: Path
) -> None:
    scan = make_scan()
    writer = RawRunWriter(tiled)
    for name, document in scan.documents(count=25):
        if name == "stop":
            break
        if name != "event" or document["seq_num"] <= 10:
            writer(name, document)
    dataset = dataset_from_tiled(tiled, scan.uid)
    assert len(dataset) == 10
    assert any("10 frames" in remark and "cut off" in remark for remark in dataset.remarks)


def spooled(scan: Any, folder: Path, count: int) -> Iterator[None]:
    """Spool a run document by document, as a RunEngine does."""
    spool = RunSpool(folder)
    for name, document in scan.documents(count=count):
        spool(name, document)
        yield
    spool.close()


def assert_whole(tiled: Any, scan: Any, count: int) -> None:
    dataset = dataset_from_tiled(tiled, scan.uid)
    np.testing.assert_allclose(dataset.positions, -scan.stage_um[:count] * M_PER_UM)
    table = tiled["raw", scan.uid, "primary"].base["internal"].read(["seq_num"])
    assert sorted(table["seq_num"]) == list(range(1, count + 1))


def test_a_sender_that_begins_in_mid_run_writes_it_once(tiled: Any, make_scan: Any, tmp_path: Path) -> None:
    """Whatever Tiled has already: nothing is lost and nothing there twice."""
    scan = make_scan()
    sender = None
    for number, _ in enumerate(spooled(scan, tmp_path, 14)):
        if number % 9 == 4:
            sender = None  # it was killed
        sender = sender or RawSender(tmp_path / scan.uid, tiled)
        sender.send()
    assert sender is not None
    assert sender.path == f"raw/{scan.uid}"
    assert_whole(tiled, scan, 14)


@pytest.mark.parametrize("after", [False, True])
def test_a_request_whose_answer_is_lost_is_not_sent_twice(
    tiled: Any, make_scan: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: bool
) -> None:
    scan, broken = make_scan(), [3, 20, 43]
    real, calls = RawRunWriter.__call__, count()

    def lossy(self: RawRunWriter, name: str, document: Any) -> None:
        lost = next(calls) in broken
        if after or not lost:
            real(self, name, document)
        if lost:
            raise TiledUnreachableError("the request or its answer was lost")

    monkeypatch.setattr(RawRunWriter, "__call__", lossy)
    for _ in spooled(scan, tmp_path, 14):
        pass
    sending = Sending(tmp_path / scan.uid)
    while not sending.is_over:
        sending.attempt(lambda: tiled)
    assert (sending.path, sending.error) == (f"raw/{scan.uid}", "")
    assert "stays on disk until it does: the request" in sending.warnings[0]
    assert next(calls) > max(broken)
    assert_whole(tiled, scan, 14)


def test_what_tiled_lost_is_seen_before_a_run_is_called_written(
    tiled: Any, make_scan: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scan, real = make_scan(), RawRunWriter.__call__
    forgetful = True

    def forget(self: RawRunWriter, name: str, document: Any) -> None:
        if not (forgetful and name == "event_page" and document["seq_num"] == [5]):
            real(self, name, document)

    monkeypatch.setattr(RawRunWriter, "__call__", forget)
    for _ in spooled(scan, tmp_path, 7):
        pass
    sender = RawSender(tmp_path / scan.uid, tiled)
    with pytest.raises(PublishingError, match=f"run {scan.uid} has 6 of 7 events in stream primary"):
        sender.send()
    assert not sender.path
    forgetful = False
    sender.send()
    assert sender.path
    assert_whole(tiled, scan, 7)


def test_documents_that_tiled_does_not_understand_are_kept_and_told(
    tiled: Any, make_scan: Any, tmp_path: Path
) -> None:
    scan = make_scan()
    for _ in spooled(scan, tmp_path, 3):
        pass
    documents = tmp_path / scan.uid / FILE_NAME
    first, _, *rest = documents.read_text().splitlines(keepends=True)
    documents.write_text("".join([first, *rest]))  # events of a stream that nobody described
    sending = Sending(tmp_path / scan.uid)
    while not sending.is_over:
        sending.attempt(lambda: tiled)
    assert not sending.path
    assert sending.error.startswith("the raw run is not in Tiled: ")
    assert str(tmp_path / scan.uid) in sending.error


def test_a_run_whose_process_has_ended_is_closed_once(tmp_path: Path, make_scan: Any) -> None:
    scan = make_scan()
    spooling = spooled(scan, tmp_path, 5)
    for _ in range(9):
        next(spooling)
    folder = tmp_path / scan.uid
    assert not close_abandoned(folder)
    for _ in spooling:
        pass
    assert not close_abandoned(folder)
    lines = (folder / FILE_NAME).read_text().splitlines(keepends=True)
    (folder / FILE_NAME).write_text("".join(lines[:-1]))
    assert close_abandoned(folder)
    assert not close_abandoned(folder)
    *_, (name, stop) = SpoolReader(folder).read()
    assert (name, stop["exit_status"], stop["num_events"]) == ("stop", "abort", {"primary": 5})
