"""The plan finds what the simulated monitor hides."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bluesky import RunEngine

from ptycho_plugin.devices import simulated_beamline
from ptycho_plugin.errors import InputError
from ptycho_plugin.flux import DetectionPath, FluxCalibration
from ptycho_plugin.metadata import ScanMetadata
from ptycho_plugin.plans import background_frames, calibrate_flux, expose_point
from ptycho_plugin.plans.acquisition import acquire
from ptycho_plugin.plans.flux_calibration import calibration_in_force
from ptycho_plugin.simulation.options import SimulationOptions

TRUTH = SimulationOptions(
    monitor_counts_per_photon=0.013, detection=DetectionPath(), flux_drift=0.05, flux_drift_s=2.0,
    background_counts=0.02, hot_pixels=20, seed=3,
)  # fmt: skip


def make(tmp_path: Path, store: Any = None, options: SimulationOptions = TRUTH) -> Any:
    return simulated_beamline(tmp_path, calibrations=store, time_factor=0.0, options=options)


def in_force(engine: RunEngine, beamline: Any) -> FluxCalibration:
    found = []

    def plan() -> Any:
        found.append((yield from calibration_in_force(beamline)))

    engine(plan())
    return found[0]


@pytest.mark.parametrize("gain", [1.0, 100.0])
def test_the_monitors_true_efficiency_is_found(
    engine: RunEngine, documents: Any, tmp_path: Path, store: Any, gain: float
) -> None:
    beamline = make(tmp_path, store)
    beamline.flux.gain.set(gain).wait(timeout=5)
    engine(background_frames(beamline, frames=2))
    (uid,) = engine(calibrate_flux(beamline, transmission=0.5))
    calibration = in_force(engine, beamline)
    true = 1 / (TRUTH.monitor_counts_per_photon * gain)
    assert calibration.photons_per_count == pytest.approx(true, rel=0.01)
    assert calibration.relative_sigma == pytest.approx(0.0105, abs=0.001), "of the path, mostly"
    assert (calibration.gain, calibration.transmission, calibration.run_uid) == (gain, 0.5, uid)
    assert store.latest_flux() == calibration
    assert beamline.attenuator.position == 1.0
    assert ScanMetadata.from_start(documents.of("start")[1]).purpose == "flux_calibration"
    result = documents.events("result")[-1]["data"]["flux_calibration"]
    assert FluxCalibration.model_validate_json(result) == calibration


def test_without_calibrations_it_is_in_the_run_and_in_force(
    engine: RunEngine, documents: Any, tmp_path: Path
) -> None:
    beamline = make(tmp_path)
    with pytest.raises(InputError, match="simulated is not calibrated: run calibrate_flux first"):
        in_force(engine, beamline)
    engine(calibrate_flux(beamline, frames=3))
    assert in_force(engine, beamline).photons_per_count == pytest.approx(1 / 0.013, rel=0.02)
    engine(calibrate_flux(beamline, frames=2))
    (descriptor,) = [doc for doc in documents.of("descriptor") if doc["name"] == "primary"][1:]
    said = descriptor["configuration"]["flux"]["data"]["flux_calibration"]
    assert FluxCalibration.model_validate_json(said).frames == 3


def test_another_session_finds_the_stored_one(engine: RunEngine, tmp_path: Path, store: Any) -> None:
    engine(calibrate_flux(make(tmp_path, store), frames=2))
    older = store.latest_flux().model_copy(update={"date": datetime.now(UTC) - timedelta(days=1)})
    store.store_flux(older)
    beamline = make(tmp_path, store)
    assert in_force(engine, beamline) == store.fluxes[0]
    beamline.flux.gain.set(10.0).wait(timeout=5)
    with pytest.raises(InputError, match="calibrated at gain 1, it is at 10"):
        in_force(engine, beamline)


def test_the_photons_that_are_told_are_those_that_the_sample_received(
    engine: RunEngine, documents: Any, tmp_path: Path
) -> None:
    options = TRUTH.model_copy(update={"monitor_counts_per_photon": 2.0, "flux_drift": 0.0})
    beamline = make(tmp_path, options=options)
    engine(calibrate_flux(beamline))
    calibration = in_force(engine, beamline)
    documents.clear()

    def exposures() -> Any:
        for column in np.linspace(-1, 1, 20):
            yield from expose_point(beamline, (0.0, float(column)))

    engine(acquire(beamline, exposures(), 0.02, {}))
    timing = beamline.shutter_timing
    told = [
        timing.on_sample(calibration.photons(event["data"]["flux_counts"]), 0.02, timing.commanded_s(0.02))
        for event in documents.events()
    ]
    received = beamline.flux._gate._world.photons_on_sample
    total = sum(photons.number for photons in told)
    assert total == pytest.approx(received, rel=0.01)
    assert received > 1.15 * 20 * 0.02 * options.photons_per_second, "a fifth came while it closed"
    assert abs(total - received) < sum(photons.sigma for photons in told)


def test_a_wrong_path_is_a_wrong_flux(engine: RunEngine, tmp_path: Path) -> None:
    beamline = make(tmp_path)
    engine(calibrate_flux(beamline, frames=2, path=DetectionPath(between=())))
    lost = DetectionPath().efficiency(6200) / DetectionPath(between=()).efficiency(6200)
    found = in_force(engine, beamline).photons_per_count
    assert found == pytest.approx(lost / TRUTH.monitor_counts_per_photon, rel=0.01)


def test_saturation_and_a_closed_beam_are_refused(engine: RunEngine, tmp_path: Path) -> None:
    bright = make(tmp_path, options=SimulationOptions(photons_per_second=5e9))
    with pytest.raises(InputError, match=r"photons pile up from 1e\+06 a second: attenuate"):
        engine(calibrate_flux(bright, frames=2))
    with pytest.raises(InputError, match="saturated at 1048575 counts"):
        engine(calibrate_flux(bright, frames=2, exposure_s=0.5))
    dark = make(tmp_path, options=SimulationOptions(photons_per_second=0.0))
    with pytest.raises(InputError, match="no beam in the frames"):
        engine(calibrate_flux(dark, frames=2))
    assert not dark.flux.calibration.get()


def test_a_bad_argument_is_refused_at_the_call(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="frames = 1"):
        calibrate_flux(make(tmp_path), frames=1)
    with pytest.raises(InputError, match="transmission"):
        calibrate_flux(make(tmp_path), transmission=np.nan)
