"""An energy change moves what goes with the energy, and nothing of the old one is used any more."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from bluesky import RunEngine
from bluesky.utils import FailedStatus
from ophyd import Signal

from ptycho_plugin.devices import simulated_beamline
from ptycho_plugin.devices.stage import SimulatedAxis
from ptycho_plugin.errors import InputError, PreflightRefusal
from ptycho_plugin.plans import change_energy, ptycho_scan
from ptycho_plugin.trajectory import ConcentricRings

SMALL = ConcentricRings(height_um=0.3, width_um=0.3)
OLD_EV, NEW_EV = 6199.21, 6400.0


class Nowhere:
    """A world that takes no part."""

    def move(self, axis: str, value_um: float) -> None:
        pass


def axis(name: str, at: float, limits: tuple[float, float]) -> Any:
    device = SimulatedAxis(
        name=name, world=Nowhere(), axis=name, limits_um=limits, velocity_um_s=1e6, settle_s=0, time_factor=0
    )
    device.set(at).wait(timeout=5)
    return device


@pytest.fixture
def beamline(tmp_path: Path) -> Any:
    return replace(
        simulated_beamline(tmp_path, time_factor=0),
        monochromator=axis("monochromator", OLD_EV, (4000.0, 12_000.0)),
        zone_plate_z=axis("zone_plate_z", 100.0, (-5000.0, 5000.0)),
        threshold=Signal(name="threshold", value=3.1),
    )


def test_everything_goes_to_the_new_energy(
    engine: RunEngine, beamline: Any, capsys: Any, caplog: Any
) -> None:
    beamline.start_probe = "old"
    beamline.flux.calibration.set("{}").wait(timeout=5)
    beamline.detector.beam_centre_measured.set(True).wait(timeout=5)
    before = beamline.geometry
    engine(change_energy(beamline, NEW_EV))
    assert beamline.monochromator.position == NEW_EV
    # 200 um wide, outermost zone 50 nm: f = D dr / lambda, 50.0 mm at 0.2 nm, in proportion to the energy.
    assert beamline.zone_plate_z.position == pytest.approx(
        100 - 50_000 * (NEW_EV / before.energy_eV - 1), abs=0.1
    )
    assert beamline.threshold.get() == pytest.approx(3.2)
    assert beamline.geometry.energy_eV == NEW_EV
    assert beamline.geometry.object_pixel == pytest.approx(before.object_pixel * before.energy_eV / NEW_EV)
    assert (beamline.start_probe, beamline.flux.calibration.get()) == (None, "")
    assert beamline.detector.beam_centre_measured.get() is False
    said = " ".join(capsys.readouterr().err.split())
    assert "is at 6400.0 eV: an object pixel is 13.1" in said
    assert "run find_beam_centre, calibrate_flux and probe_calibration" in caplog.text
    engine(ptycho_scan(beamline, trajectory=SMALL))
    engine(change_energy(beamline, before.energy_eV))
    assert beamline.zone_plate_z.position == pytest.approx(100)
    assert beamline.geometry == before


def test_a_monochromator_that_somebody_moved_is_found_before_anything_is_exposed(
    engine: RunEngine, beamline: Any
) -> None:
    beamline.monochromator.set(6300.0).wait(timeout=5)
    starts: list[Any] = []
    engine.subscribe(lambda _, document: starts.append(document), "start")
    said = "monochromator is at 6300.0 eV, and the geometry of simulated is of 6199.2 eV: run change_energy"
    with pytest.raises(PreflightRefusal, match=said):
        engine(ptycho_scan(beamline, trajectory=SMALL))
    assert not starts


def test_a_change_that_fails_brings_the_zone_plate_back_and_no_run_begins(
    engine: RunEngine, beamline: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(value: float) -> Any:
        beamline.monochromator.readback.put(6250.0, internal=True)
        raise RuntimeError("the crystal sticks")

    before = beamline.geometry
    threshold_set = type(beamline.threshold).set
    monkeypatch.setattr(
        Signal,
        "set",
        lambda self, *args, **how: (
            fails(0.0) if self is beamline.threshold else threshold_set(self, *args, **how)
        ),
    )
    with pytest.raises((RuntimeError, FailedStatus)):
        engine(change_energy(beamline, NEW_EV))
    assert beamline.zone_plate_z.position == 100
    assert beamline.geometry == before
    assert beamline.flux.calibration.get() == ""
    with pytest.raises(PreflightRefusal, match="run change_energy to either"):
        engine(ptycho_scan(beamline, trajectory=SMALL))


def test_what_cannot_be_is_refused_and_nothing_moves(engine: RunEngine, beamline: Any) -> None:
    with pytest.raises(InputError, match="it has no monochromator"):
        engine(change_energy(replace(beamline, monochromator=None), NEW_EV))
    with pytest.raises(InputError, match="energy_eV"):
        change_energy(beamline, -1.0)
    with pytest.raises(InputError, match="monochromator cannot go to 20000"):
        engine(change_energy(beamline, 20_000.0))
    assert beamline.zone_plate_z.position == 100
    assert [message.command for message in change_energy(beamline, NEW_EV)] == ["rewindable"]
