"""A hardware-timed scan into Tiled: seen while it runs, and the same dataset as a step scan."""

import time
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest
from bluesky import RunEngine
from bluesky.utils import Msg, RunEngineInterrupted

from ptycho_plugin.devices import Beamline, simulated_beamline
from ptycho_plugin.geometry import Geometry
from ptycho_plugin.ledger import Budget, Ledger
from ptycho_plugin.optics import ZonePlate
from ptycho_plugin.plans import DoseGuard, ptycho_fly_scan, ptycho_scan
from ptycho_plugin.publishing.raw import dataset_from_tiled
from ptycho_plugin.publishing.raw_run_writer import RawRunWriter
from ptycho_plugin.reconstruction.options import ReconstructionOptions
from ptycho_plugin.simulation.calibration import true_calibration
from ptycho_plugin.simulation.options import SimulationOptions
from ptycho_plugin.trajectory import ConcentricRings

SMALL = ConcentricRings(height_um=0.5, width_um=0.5)
GEOMETRY = Geometry.from_wavelength(0.2e-9, distance=2.236, detector_pixel=172e-6, frame_side=48)
OPTIC = ZonePlate(diameter=80e-6, outermost_zone=100e-9, central_stop=0.0)
NO_NOISE = SimulationOptions(poisson=False, flux_drift=0.0)
EXPOSURE_S = 0.2
ENOUGH = 4
"""Frames with which the reconstruction starts."""


@pytest.fixture
def beamline(data_folder: Path) -> Beamline:
    beamline = simulated_beamline(
        data_folder, time_factor=0, geometry=GEOMETRY, optic=OPTIC, options=NO_NOISE
    )
    calibration = true_calibration(NO_NOISE, GEOMETRY.energy_eV, EXPOSURE_S)
    beamline.flux.calibration.set(calibration.model_dump_json()).wait(timeout=5)
    for axis, value in zip((beamline.coarse.y, beamline.coarse.x), beamline.place_um("sample"), strict=True):
        axis.set(value).wait(timeout=5)
    return beamline


def test_it_is_the_dataset_of_a_step_scan_also_where_it_goes_on_with_one(
    engine: RunEngine, tiled: Any, beamline: Any, tmp_path: Path
) -> None:
    engine.subscribe(RawRunWriter(tiled))
    place, triggers = beamline.place_um("sample"), iter(range(1000))

    def abort_in_the_third_exposure(message: Msg) -> None:
        if message.command == "trigger" and message.obj is beamline.detector and next(triggers) == 2:
            engine.loop.create_task(engine._abort_coro("the test says so"))

    with Ledger(tmp_path / "film.ledger", new=True) as ledger:
        ledger.samples.mount("film")
        region = ledger.samples.place_region("film", "1", "A", stage_um=place, reach_um=1.5)
        ledger.samples.set_budget(region, Budget(dose=1e7, material="PMMA", formula="C5H8O2"))

        def guard(repeat: int) -> DoseGuard:
            return DoseGuard(beamline, ledger, region, repeat=repeat)

        (step,) = engine(ptycho_scan(beamline, trajectory=SMALL, guard=guard(1)))
        (fly,) = engine(ptycho_fly_scan(beamline, trajectory=SMALL, guard=guard(2)))
        engine.msg_hook = abort_in_the_third_exposure
        with pytest.raises(RunEngineInterrupted):
            engine(ptycho_scan(beamline, trajectory=SMALL, guard=guard(3)))
        engine.msg_hook = None
        (mixed,) = engine(ptycho_fly_scan(beamline, trajectory=SMALL, guard=guard(3)))

    expected = dataset_from_tiled(tiled, step)
    assert len(expected) == len(SMALL.offsets_um())
    for uid in (fly, mixed):
        dataset = dataset_from_tiled(tiled, uid)
        np.testing.assert_array_equal(dataset.frames, expected.frames)
        np.testing.assert_array_equal(dataset.positions, expected.positions)
        np.testing.assert_array_equal(dataset.probe, expected.probe)
        assert dataset.remarks == expected.remarks
    stream = tiled["raw", fly, "primary"]
    assert stream["flux_counts"].read() == pytest.approx(
        NO_NOISE.photons_per_second * EXPOSURE_S * NO_NOISE.monitor_counts_per_photon
    )
    assert stream["pilatus_image"].shape[0] == len(SMALL.offsets_um())


def test_the_live_reconstruction_sees_it_while_it_runs(
    engine: RunEngine, make_live: Any, beamline: Any, monkeypatch: Any
) -> None:
    seen, gate = Event(), beamline.scanner._gate
    shine, begun = gate.shine, time.monotonic()
    during: list[int] = []

    def see(progress: Any) -> None:
        if beamline.scanner.is_running:
            during.append(progress.frames)
            seen.set()

    def wait_to_be_seen(*way: Any) -> None:
        if len(beamline.scanner.captured) == ENOUGH + 1:
            assert seen.wait(120 - (time.monotonic() - begun)), "nobody saw the trajectory while it ran"
        shine(*way)

    monkeypatch.setattr(gate, "shine", wait_to_be_seen)
    live = make_live(on_progress=see)
    engine.subscribe(live)
    options = ReconstructionOptions(
        difference_map_iterations=5, maximum_likelihood_iterations=2, frames_to_start=ENOUGH
    )
    (uid,) = engine(ptycho_fly_scan(beamline, trajectory=SMALL, options=options))
    outcome = live.wait(uid, timeout=120)
    assert outcome.error is None
    assert outcome.frames == len(SMALL.offsets_um())
    assert outcome.missing == outcome.repeated == 0
    assert ENOUGH <= during[0] <= ENOUGH + 1
