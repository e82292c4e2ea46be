"""Whole scans through one plan and a RunEngine: the simulated beamline, and recorded data."""

from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import h5py
import numpy as np
import pytest
from bluesky import RunEngine

from ptycho_plugin.devices import replayed_beamline, simulated_beamline
from ptycho_plugin.io import read_dataset
from ptycho_plugin.measurement import Measurement
from ptycho_plugin.metadata import ScanMetadata, StoredProbe
from ptycho_plugin.orientation import DetectorOrientation, PositionSign
from ptycho_plugin.plans import background_frames, find_beam_centre, probe_calibration, ptycho_scan
from ptycho_plugin.publishing.calibrations import CalibrationStore
from ptycho_plugin.simulation import pilatus
from ptycho_plugin.simulation.options import SimulationOptions
from ptycho_plugin.simulation.world import SimulatedWorld
from ptycho_plugin.trajectory import ConcentricRings

SMALL = ConcentricRings(height_um=0.4, width_um=0.4)


@pytest.fixture
def store(tiled: Any) -> CalibrationStore:
    return CalibrationStore(tiled)


class Run:
    """What a RunEngine said of one run."""

    def __init__(self) -> None:
        self.documents: list[tuple[str, dict[str, Any]]] = []

    def __call__(self, name: str, doc: dict[str, Any]) -> None:
        if name == "start":
            self.documents.clear()
        self.documents.append((name, doc))

    def of(self, name: str) -> list[dict[str, Any]]:
        return [doc for kind, doc in self.documents if kind == name]

    @property
    def metadata(self) -> ScanMetadata:
        return ScanMetadata.from_start(self.of("start")[0])

    def measured_um(self) -> Any:
        keys = self.metadata.position_keys
        return np.array([[e["data"][key] for key in keys] for e in self.of("event") if keys[0] in e["data"]])

    def frames(self) -> Any:
        (resource,) = self.of("stream_resource")
        with h5py.File(unquote(urlsplit(resource["uri"]).path)) as file:
            data = file[resource["parameters"]["dataset"]]
            indices = [datum["indices"]["start"] for datum in self.of("stream_datum")]
            return np.stack([data[index] for index in indices])

    def dataset(self, valid: Any = None) -> Any:
        frames = self.frames()
        measurement = Measurement(self.metadata, frames.shape[1:], valid)
        return measurement.dataset(frames[:, *measurement.window], self.measured_um())


@pytest.fixture
def run() -> Run:
    return Run()


@pytest.fixture
def engine(engine: RunEngine, run: Run) -> RunEngine:
    engine.subscribe(run)
    return engine


def test_a_beamline_is_set_up_and_scanned(engine: RunEngine, run: Run, store: Any, tmp_path: Path) -> None:
    options = SimulationOptions(hot_pixels=15, jitter_between_nm=20, beam_centre_px=(946, 735))
    beamline: Any = simulated_beamline(tmp_path, calibrations=store, time_factor=0, options=options)
    beamline.detector.beam_centre_row.set(940).wait(timeout=5)

    engine(find_beam_centre(beamline))
    assert beamline.detector.beam_centre_row.get() == pytest.approx(946, abs=0.2)
    assert beamline.detector.beam_centre_column.get() == pytest.approx(735, abs=0.2)

    engine(background_frames(beamline, frames=4))
    valid = store.mask(beamline.detector.mask_version.get())
    assert np.count_nonzero(~valid & ~pilatus.gaps()) == options.hot_pixels + options.bad_pixels
    assert not valid[pilatus.gaps()].any()

    engine(ptycho_scan(beamline, trajectory=SMALL))
    assert run.metadata.mask_version == beamline.detector.mask_version.get()
    findings = run.of("start")[0]["preflight"]
    assert findings["bright_cone"]["level"] == findings["beam_centre"]["level"] == "ok"
    assert run.frames().shape == (len(SMALL.offsets_um()), *pilatus.SHAPE)
    error_nm = 1e3 * (run.measured_um() - SMALL.offsets_um())
    assert 5 < error_nm.std() < 50
    assert run.dataset(valid).frames.sum() > 0.8e6 * len(SMALL.offsets_um())
    seen = run.dataset()
    counts = [e["data"]["pilatus_roi_counts"] for e in run.of("event") if "encoder_y" in e["data"]]
    assert counts == [frame[seen.mask].sum() for frame in seen.frames]


def test_frames_are_the_worlds(engine: RunEngine, run: Run, tmp_path: Path) -> None:
    options = SimulationOptions(poisson=False, seed=4)
    engine(ptycho_scan(simulated_beamline(tmp_path, time_factor=0, options=options), trajectory=SMALL))
    beamline = simulated_beamline(tmp_path)
    world = SimulatedWorld(beamline.geometry, beamline.optic, options)
    world.set_shutter(True)
    for frame, (row, column) in zip(run.frames(), SMALL.offsets_um(), strict=True):
        world.move("stage_row", row)
        world.move("stage_column", column)
        np.testing.assert_array_equal(frame, world.expose(0.2).frame)


def test_another_mounting_gives_the_same_scan(engine: RunEngine, run: Run, tmp_path: Path) -> None:
    scans = []
    for orientation, sign in (
        (DetectorOrientation.AS_IS, PositionSign.PROBE),
        (DetectorOrientation.TRANSPOSE_FLIP_ROWS, PositionSign.SAMPLE),
    ):
        options = SimulationOptions(poisson=False, bad_pixels=0, orientation=orientation, position_sign=sign)
        beamline = simulated_beamline(tmp_path, time_factor=0, options=options)
        points = tuple(map(tuple, sign.to_probe_positions(SMALL.offsets_um()).tolist()))
        engine(ptycho_scan(beamline, trajectory={"kind": "recorded_positions", "points_um": points}))
        scans.append(run.dataset())
    np.testing.assert_allclose(scans[0].positions, scans[1].positions)
    for frames in zip(scans[0].frames, scans[1].frames, strict=True):
        np.testing.assert_allclose(*frames, atol=1)


def test_a_calibration_sees_the_specimen_and_not_the_sample(
    engine: RunEngine, run: Run, tmp_path: Path
) -> None:
    options = SimulationOptions(poisson=False)
    beamline = simulated_beamline(tmp_path, time_factor=0, options=options)
    engine(probe_calibration(beamline, trajectory=SMALL))
    world = SimulatedWorld(beamline.geometry, beamline.optic, options)
    world.set_shutter(True)
    frames = []
    for place in ("sample", "specimen"):
        row, column = beamline.places[place]
        world.move("coarse_row", row)
        world.move("coarse_column", column)
        frames.append(world.expose(0.2).frame)
    assert not np.array_equal(*frames)
    np.testing.assert_array_equal(run.frames()[0], frames[1])


def test_a_recorded_scan_comes_back_as_it_was(
    engine: RunEngine, run: Run, store: Any, small_scan: Any, tmp_path: Path
) -> None:
    rows, columns = np.indices((16, 16)) - 8
    probe = np.exp(-(rows**2 + columns**2) / 8)[None].astype(np.complex64)
    scan = small_scan.with_probe(probe)
    beamline = replayed_beamline(scan, tmp_path, calibrations=store, time_factor=0)
    engine(ptycho_scan(beamline))
    assert run.metadata.probe == StoredProbe(uid=beamline.start_probe)
    dataset = run.dataset(store.mask(run.metadata.mask_version))
    np.testing.assert_array_equal(dataset.frames, small_scan.frames)
    np.testing.assert_allclose(dataset.positions, small_scan.positions, atol=1e-15)


@pytest.mark.parametrize("file", ["aps_siemens_star.h5", "standard_case.h5"])
def test_real_data_is_acquired_through_the_same_plan(
    engine: RunEngine, run: Run, store: Any, shared_data: Path, tmp_path: Path, file: str
) -> None:
    recorded = read_dataset(shared_data / file)
    engine(ptycho_scan(replayed_beamline(recorded, tmp_path, calibrations=store, time_factor=0)))
    dataset = run.dataset(store.mask(run.metadata.mask_version))
    assert not [f for f in run.of("start")[0]["preflight"].values() if f["level"] not in ("info", "ok")]
    np.testing.assert_array_equal(dataset.frames, recorded.frames)
    np.testing.assert_allclose(dataset.positions, recorded.positions, atol=1e-12)
    np.testing.assert_array_equal(store.probe(run.metadata.probe.uid).probe, recorded.probe)
