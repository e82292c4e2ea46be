"""A raw run in a real Tiled server, and the scan back from it alone."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ptycho_plugin.errors import InputError, PublishingError
from ptycho_plugin.geometry import M_PER_UM
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


def cut_off(tiled: Any, scan: Any, folder: Path) -> Any:
    """Return a writer that was told 14 of a run's events, and has told Tiled of ten."""
    writer = RawRunWriter(tiled)
    for name, document in scan.documents(count=14):
        if name == "stop":
            break
        writer(name, document)
    assert len(dataset_from_tiled(tiled, scan.uid)) == 10
    return writer


def test_what_a_killed_process_had_not_written_is_written_by_the_next(
    tiled: Any, make_scan: Any, tmp_path: Path
) -> None:
    scan = make_scan()
    cut_off(tiled, scan, tmp_path).close()
    RawRunWriter(tiled)
    dataset = dataset_from_tiled(tiled, scan.uid)
    np.testing.assert_allclose(dataset.positions, -scan.stage_um[:14] * M_PER_UM)
    assert len(dataset) == 14
    stop = tiled["raw", scan.uid].metadata["stop"]
    assert (stop["exit_status"], stop["reason"]) == ("abort", "the process ended before the run")
    assert stop["num_events"] == {"primary": 14}
    assert list(tmp_path.iterdir()) == []


def test_documents_without_their_start_are_kept_and_told(
    tiled: Any, make_scan: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cut_off(tiled, make_scan(), tmp_path).close()
    (documents,) = tmp_path.glob("*/*/documents.jsonl")
    _, *rest = documents.read_text().splitlines(keepends=True)
    documents.write_text("".join(rest))
    RawRunWriter(tiled)
    assert documents.exists()
    assert "do not begin with a start" in caplog.text


def test_runs_of_a_process_that_lives_are_left_alone(tiled: Any, make_scan: Any, tmp_path: Path) -> None:
    scan = make_scan()
    writer = cut_off(tiled, scan, tmp_path)
    RawRunWriter(tiled)
    assert len(dataset_from_tiled(tiled, scan.uid)) == 10
    writer.close()


def test_a_run_that_was_closed_leaves_nothing_behind(tiled: Any, make_scan: Any, tmp_path: Path) -> None:
    writer = RawRunWriter(tiled)
    for name, document in make_scan().documents(count=2):
        writer(name, document)
    assert list(tmp_path.iterdir()) == []
