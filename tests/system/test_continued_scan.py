"""A guarded scan that was interrupted and continued is, in Tiled, the scan that it would have been."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bluesky import RunEngine
from bluesky.utils import Msg, RunEngineInterrupted

from ptycho_plugin.devices import simulated_beamline
from ptycho_plugin.geometry import Geometry
from ptycho_plugin.ledger import Budget, Ledger
from ptycho_plugin.optics import ZonePlate
from ptycho_plugin.plans import DoseGuard, ptycho_scan
from ptycho_plugin.publishing.raw import dataset_from_tiled
from ptycho_plugin.publishing.raw_run_writer import RawRunWriter
from ptycho_plugin.simulation.calibration import true_calibration
from ptycho_plugin.simulation.options import SimulationOptions
from ptycho_plugin.trajectory import ConcentricRings

SMALL = ConcentricRings(height_um=0.5, width_um=0.5)
GEOMETRY = Geometry.from_wavelength(0.2e-9, distance=2.236, detector_pixel=172e-6, frame_side=48)
OPTIC = ZonePlate(diameter=80e-6, outermost_zone=100e-9, central_stop=0.0)
NO_NOISE = SimulationOptions(poisson=False, flux_drift=0.0)
EXPOSURE_S = 0.2


def test_a_continued_scan_is_the_same_dataset(
    engine: RunEngine, tiled: Any, data_folder: Path, tmp_path: Path
) -> None:
    beamline = simulated_beamline(
        data_folder, time_factor=0, geometry=GEOMETRY, optic=OPTIC, options=NO_NOISE
    )
    calibration = true_calibration(NO_NOISE, GEOMETRY.energy_eV, EXPOSURE_S)
    beamline.flux.calibration.set(calibration.model_dump_json()).wait(timeout=5)
    for axis, value in zip((beamline.coarse.y, beamline.coarse.x), beamline.place_um("sample"), strict=True):
        axis.set(value).wait(timeout=5)
    engine.subscribe(RawRunWriter(tiled))
    triggers = iter(range(1000))

    def abort_in_the_third_exposure(message: Msg) -> None:
        if message.command == "trigger" and message.obj is beamline.detector and next(triggers) == 2:
            engine.loop.create_task(engine._abort_coro("the test says so"))

    with Ledger(tmp_path / "film.ledger", new=True) as ledger:
        ledger.samples.mount("film")
        place = beamline.place_um("sample")
        region = ledger.samples.place_region("film", "1", "A", stage_um=place, reach_um=1.5)
        ledger.samples.set_budget(region, Budget(dose=1e7, material="PMMA", formula="C5H8O2"))
        (whole,) = engine(
            ptycho_scan(beamline, trajectory=SMALL, guard=DoseGuard(beamline, ledger, region, repeat=1))
        )
        guard = DoseGuard(beamline, ledger, region, repeat=2)
        engine.msg_hook = abort_in_the_third_exposure
        with pytest.raises(RunEngineInterrupted):
            engine(ptycho_scan(beamline, trajectory=SMALL, guard=guard))
        engine.msg_hook = None
        (last,) = engine(ptycho_scan(beamline, trajectory=SMALL, guard=guard))
        first = ledger.scans.progress(region, 2).runs[0].uid

    assert len(dataset_from_tiled(tiled, first)) == 3
    expected, continued = dataset_from_tiled(tiled, whole), dataset_from_tiled(tiled, last)
    assert len(continued) == len(SMALL.offsets_um())
    np.testing.assert_array_equal(continued.frames, expected.frames)
    np.testing.assert_array_equal(continued.positions, expected.positions)
    np.testing.assert_array_equal(continued.mask, expected.mask)
    np.testing.assert_array_equal(continued.probe, expected.probe)
    assert continued.remarks == expected.remarks
    assert continued.source == f"run {last}, with 1 that it continues"
