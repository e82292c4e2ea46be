"""Documents and frames in, a phase map in a real Tiled server out; and what may go wrong on the way."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ptycho_plugin.errors import InputError
from ptycho_plugin.live.spool import FILE_NAME
from ptycho_plugin.measurement import planned_positions
from ptycho_plugin.metadata import StoredProbe
from ptycho_plugin.publishing.calibrations import CalibrationStore
from ptycho_plugin.publishing.connection import split_key
from ptycho_plugin.publishing.raw import dataset_from_tiled
from ptycho_plugin.reconstruction.growing import GrowingReconstruction

WAIT_S = 120


def run(scan: Any, *callbacks: Any, **options: Any) -> None:
    for name, document in scan.documents(**options):
        for callback in callbacks:
            callback(name, document)


def likeness(result: Any, scan: Any) -> float:
    """Return the correlation of the phase with the truth's, where it was lit."""
    (row, column), *_ = np.rint(result.positions_px).astype(int) - scan.corners
    rows, columns = scan.truth.shape
    window = np.s_[row : row + rows, column : column + columns]
    lit = result.trusted[window]
    return float(np.corrcoef(result.phase[window][lit], np.angle(scan.truth)[lit])[0, 1])


def test_a_scan_becomes_a_phase_map_in_tiled(tiled: Any, make_scan: Any, make_live: Any) -> None:
    heard: list[Any] = []
    live = make_live(on_progress=heard.append)
    scan = make_scan()
    run(scan, live)
    outcome = live.wait(timeout=WAIT_S)

    assert outcome.error is None
    assert outcome.raw_path == f"raw/{scan.uid}"
    assert outcome.tiled_path == f"reconstructions/{scan.uid}"
    assert outcome.first_map_s is not None
    assert outcome.final_map_s is not None
    assert outcome.frames == len(scan.frames)
    assert (outcome.missing, outcome.repeated, outcome.unusable, outcome.malformed) == (0, 0, 0, 0)
    assert heard[-1].iteration == heard[-1].iterations

    result = tiled["reconstructions"][scan.uid]
    assert type(result).__name__ == "PtychoReconstruction"
    assert result.status == "final"
    assert result.metadata["run"]["exit_status"] == "success"
    assert result.geometry == scan.metadata.geometry
    assert result.run.start["uid"] == scan.uid
    assert result.phase.dtype == result.amplitude.dtype == np.float32
    assert result.object.dtype == result.probe.dtype == np.complex64
    assert result.positions.shape == (len(scan.frames), 2)
    assert len(result.error) == result.metadata["iteration"]
    assert result.r_factor == outcome.r_factor
    assert likeness(result, scan) > 0.9
    assert result.plot().axes


def test_its_schedule_replayed_offline_gives_the_same_bits(tiled: Any, make_scan: Any, live: Any) -> None:
    scan = make_scan()
    run(scan, live)
    assert live.wait(timeout=WAIT_S).error is None
    result = tiled["reconstructions"][scan.uid]
    options = scan.metadata.options
    used = result.frames_used
    assert used[0] == options.frames_to_start
    steps = 1 + (len(scan.frames) - options.frames_to_start) // options.frames_per_step
    assert len(used) == options.iterations + options.iterations_per_step * steps
    assert len(set(used)) == steps + 1  # the rest came with the end

    dataset = dataset_from_tiled(tiled, scan.uid)
    offline = GrowingReconstruction(
        dataset.geometry, dataset.probe, planned_positions(scan.metadata), options
    )
    offline.add(dataset.intensities(), dataset.positions)
    replayed = offline.finish()
    np.testing.assert_array_equal(replayed.frames_used, used)
    for name in ("object", "probe", "phase", "positions", "trusted"):
        np.testing.assert_array_equal(getattr(replayed, name), getattr(result, name))
    np.testing.assert_array_equal(replayed.errors, result.error)


def test_the_key_is_in_no_argument_and_no_file(
    tiled_server: Any, make_scan: Any, make_live: Any, tmp_path: Path
) -> None:
    shown: list[str] = []

    def look(_: Any) -> None:
        service = live._service.pid
        workers = Path(f"/proc/{service}/task/{service}/children").read_text().split()
        shown.extend(Path(f"/proc/{process}/cmdline").read_text() for process in (service, *workers))

    live = make_live(on_progress=look)
    scan = make_scan()
    run(scan, live, count=6)
    assert live.wait(timeout=WAIT_S).error is None
    assert any("live.worker" in text for text in shown)
    shown += [file.read_text() for file in (tmp_path / "spool").rglob("*") if file.is_file()]
    assert not any(tiled_server.api_key in text for text in shown)


def test_runs_that_are_no_scans_go_into_tiled_only(tiled: Any, make_scan: Any, make_live: Any) -> None:
    live = make_live()
    scan = make_scan(purpose="background")
    run(scan, live, count=1)
    with pytest.raises(InputError, match="no scan was started since"):
        live.wait()
    assert live.wait(scan.uid, timeout=WAIT_S).raw_path == f"raw/{scan.uid}"
    assert tiled["raw", scan.uid].metadata["stop"]["exit_status"] == "success"
    assert scan.uid not in tiled["reconstructions"]


def test_a_calibration_keeps_its_probe(tiled: Any, make_scan: Any, live: Any) -> None:
    scan = make_scan(purpose="probe_calibration")
    run(scan, live, start={"slit_gaps_um": [50.0, 20.0]})
    outcome = live.wait(timeout=WAIT_S)
    store = CalibrationStore(tiled)
    record = store.latest_probe()
    assert record.uid == outcome.probe_uid
    assert record.geometry == scan.metadata.geometry
    nominal = scan.metadata.optic
    focal_depth = 0.2e-9 / (nominal.diameter / 2 / nominal.focal_length(0.2e-9)) ** 2
    assert record.optic.defocus == pytest.approx(nominal.defocus, abs=0.1 * focal_depth)
    assert record.optic.defocus != nominal.defocus
    assert record.optic.model_copy(update={"defocus": nominal.defocus}) == nominal
    assert record.metadata["run_uid"] == scan.uid
    assert record.metadata["md"]["slit_gaps_um"] == [50.0, 20.0]
    np.testing.assert_array_equal(record.probe, tiled["reconstructions"][scan.uid].probe)


def test_a_calibration_that_does_not_fit_keeps_no_probe(
    tiled: Any, make_scan: Any, live: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    scan = make_scan(purpose="probe_calibration")
    scan.frames = np.random.default_rng(3).permuted(scan.frames, axis=2)  # no diffraction any more
    run(scan, live)
    outcome = live.wait(timeout=WAIT_S)
    assert outcome.error is None
    assert outcome.probe_uid is None
    assert any("the probe is not kept: R is" in warning for warning in outcome.warnings)


def test_a_run_whose_process_has_ended_is_closed_with_what_there_is(
    tiled: Any, make_scan: Any, live: Any
) -> None:
    scan = make_scan(purpose="probe_calibration")
    for name, document in scan.documents(count=12):
        if name != "stop":
            live(name, document)
    live._spool._open.pop(scan.uid).close()  # as the end of the process would
    outcome = live.wait(timeout=WAIT_S)
    assert outcome.frames == 12
    assert outcome.probe_uid is None
    assert tiled["reconstructions"][scan.uid].metadata["run"]["exit_status"] == "abort"
    stop = tiled["raw", scan.uid].metadata["stop"]
    assert (stop["exit_status"], stop["reason"]) == ("abort", "the process ended before the run")
    assert stop["num_events"] == {"primary": 12}
    assert len(dataset_from_tiled(tiled, scan.uid)) == 12


def test_tiled_that_refuses_the_key_is_told(
    make_scan: Any, make_live: Any, tiled_server: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    live = make_live(tiled_uri=split_key(tiled_server.uri)[0] + "?api_key=0secret0")
    with caplog.at_level(logging.DEBUG):
        run(make_scan(), live, count=3)
        outcome = live.wait(timeout=WAIT_S)
    assert outcome.error is not None
    assert outcome.error.count("refused the API key") == 2  # for the raw run and for the result
    logs = [file.read_text() for file in tmp_path.rglob("*") if file.is_file()]
    assert not any("0secret0" in text for text in (outcome.error, caplog.text, *logs))


def test_frames_outside_the_data_folder_are_refused(make_scan: Any, make_live: Any, tmp_path: Path) -> None:
    live = make_live(data=tmp_path)
    run(make_scan(), live, count=3)
    outcome = live.wait(timeout=WAIT_S)
    assert outcome.error is not None
    assert "lies outside" in outcome.error


def test_a_malformed_line_costs_one_frame_at_most(make_scan: Any, live: Any, tmp_path: Path) -> None:
    scan = make_scan()
    for name, document in scan.documents(count=10):
        live(name, document)
        if name == "event" and document["seq_num"] == 4:
            with (live.spool / scan.uid / FILE_NAME).open("a") as spool:
                spool.write('["event_page", {"data": \n')
    outcome = live.wait(timeout=WAIT_S)
    assert outcome.error is None
    assert (outcome.malformed, outcome.frames) == (1, 10)


def test_lost_documents_are_counted(make_scan: Any, live: Any) -> None:
    for name, document in make_scan().documents(count=10):
        if name != "event" or document["seq_num"] not in (3, 7):
            live(name, document)
    outcome = live.wait(timeout=WAIT_S)
    assert outcome.error is None
    assert (outcome.missing, outcome.frames) == (2, 8)


def test_a_run_without_frames_is_told(make_scan: Any, live: Any) -> None:
    run(make_scan(), live, count=0)
    outcome = live.wait(timeout=WAIT_S)
    assert outcome.error is not None
    assert "no frame to reconstruct" in outcome.error


def test_a_probe_of_another_energy_is_refused(tiled: Any, make_scan: Any, live: Any) -> None:
    scan = make_scan()
    geometry = scan.metadata.geometry
    other = geometry.model_copy(update={"energy_eV": geometry.energy_eV * 1.01})
    uid = CalibrationStore(tiled).store_probe(scan.metadata.optic.probe(other), geometry=other)
    run(make_scan(probe=StoredProbe(uid=uid)), live, count=3)
    outcome = live.wait(timeout=WAIT_S)
    assert outcome.error is not None
    assert "energy" in outcome.error
