"""A scan with a RunEngine into a real Tiled server, and back from it alone."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bluesky import RunEngine

from ptycho_plugin.devices import simulated_beamline
from ptycho_plugin.errors import InputError, PublishingError
from ptycho_plugin.plans import background_frames, ptycho_scan
from ptycho_plugin.publishing.calibrations import CalibrationStore
from ptycho_plugin.publishing.raw import dataset_from_tiled
from ptycho_plugin.publishing.raw_run_writer import RawRunWriter
from ptycho_plugin.simulation.options import SimulationOptions
from ptycho_plugin.trajectory import ConcentricRings

SMALL = ConcentricRings(height_um=0.4, width_um=0.4)


@pytest.fixture
def engine(engine: RunEngine, tiled: Any, tmp_path: Path) -> RunEngine:
    engine.subscribe(RawRunWriter(tiled))
    return engine


def test_a_scan_with_a_stored_probe_and_mask_comes_back(
    engine: RunEngine, tiled: Any, data_folder: Path
) -> None:
    store = CalibrationStore(tiled)
    options = SimulationOptions(hot_pixels=200, jitter_between_nm=10)
    beamline = simulated_beamline(data_folder, calibrations=store, time_factor=0, options=options)
    assert beamline.optic is not None
    probe = beamline.optic.probe(beamline.geometry)
    store.store_probe(probe, geometry=beamline.geometry, run_uid="a calibration")

    with pytest.raises(PublishingError, match="no run nothing with frames under"):
        engine(ptycho_scan(beamline, trajectory=SMALL, background_run="nothing"))
    (background,) = engine(background_frames(beamline, frames=2))
    (uid,) = engine(ptycho_scan(beamline, trajectory=SMALL, probe="latest", background_run=background))

    with pytest.raises(InputError, match=f"run {uid} is of purpose 'scan' and no background"):
        engine(ptycho_scan(beamline, trajectory=SMALL, background_run=uid))
    farther = beamline.geometry.model_copy(update={"distance": 3.0})
    moved = simulated_beamline(data_folder, calibrations=store, time_factor=0, geometry=farther)
    with pytest.raises(InputError, match=f"background run {background} has distance 2.236 m, the scan 3 m"):
        engine(ptycho_scan(moved, trajectory=SMALL, background_run=background))
    assert list(tiled["raw"])[-1] == uid  # nothing was exposed since

    dataset = dataset_from_tiled(tiled, uid)
    planned = SMALL.offsets_um() * 1e-6
    assert dataset.frames.shape == (len(planned), 192, 192)
    assert 2e-9 < np.abs(dataset.positions - planned).max() < 50e-9
    assert dataset.frames[0, 96 + 15, 96] > 100
    version = tiled["raw", uid].metadata["start"]["ptycho"]["mask_version"]
    rows, columns = slice(945 - 96, 945 + 96), slice(737 - 96, 737 + 96)
    np.testing.assert_array_equal(dataset.mask, store.mask(version)[rows, columns])
    assert not dataset.mask.all()
    frames = tiled["raw", uid, "primary"]["pilatus_image"]
    assert frames.shape == (len(planned), 1679, 1475)
    counts = tiled["raw", uid, "primary"]["pilatus_roi_counts"].read()
    measured = dataset.frames >= 0
    np.testing.assert_array_equal(counts, np.sum(dataset.frames, axis=(1, 2), where=measured))
