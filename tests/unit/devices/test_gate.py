from typing import Any

import pytest

from ptycho_plugin.devices.counters import Encoder, FluxMonitor
from ptycho_plugin.devices.gate import ExposureGate


@pytest.fixture
def gate(world: Any) -> ExposureGate:
    return ExposureGate(world, time_factor=0.0)


def test_counters_measure_during_the_next_exposure_only(gate: ExposureGate, world: Any) -> None:
    encoder, flux = Encoder(name="encoder", gate=gate), FluxMonitor(name="flux", gate=gate)
    world.move("stage_row", 2.0)
    gate.expose(0.1).result(timeout=5)
    statuses = [encoder.trigger(), flux.trigger()]
    assert not any(status.done for status in statuses)
    gate.expose(0.1).result(timeout=5)
    for status in statuses:
        status.wait(timeout=5)
    gate.expose(0.1).result(timeout=5)
    assert encoder.read()["encoder_y"]["value"] == pytest.approx(2.001)
    assert flux.read()["flux_counts"]["value"] == 2000.0
    assert encoder.describe()["encoder_x"]["units"] == "um"


def test_the_flux_monitor_has_a_gain(gate: ExposureGate) -> None:
    flux = FluxMonitor(name="flux", gate=gate)
    flux.gain.set(10.0).wait(timeout=5)
    status = flux.trigger()
    gate.expose(0.1).result(timeout=5)
    status.wait(timeout=5)
    assert flux.read()["flux_counts"]["value"] == 10_000.0
    assert flux.read_configuration()["flux_gain"]["value"] == 10.0
    assert flux.read_configuration()["flux_calibration"]["value"] == ""


def test_a_counter_cannot_be_written_from_outside(gate: ExposureGate) -> None:
    with pytest.raises(Exception, match="internal use only"):
        FluxMonitor(name="flux", gate=gate).counts.put(7.0)


def test_an_exposure_that_fails_fails_everything_that_waits(gate: ExposureGate, world: Any) -> None:
    world.fails_at = 1
    status = FluxMonitor(name="flux", gate=gate).trigger()
    with pytest.raises(RuntimeError, match="the camera died"):
        gate.expose(0.1).result(timeout=5)
    assert "the camera died" in str(status.exception(timeout=5))
    assert not gate.is_high


def test_the_gate_is_high_for_the_exposure_time(world: Any) -> None:
    gate = ExposureGate(world, time_factor=1.0)
    exposure = gate.expose(0.1)
    assert gate.is_high
    with pytest.raises(RuntimeError, match="under way"):
        gate.expose(0.1)
    gate.wait_until_low()
    assert exposure.result(timeout=5).monitor_counts == 1000.0
    assert len(world.exposures) == 1
