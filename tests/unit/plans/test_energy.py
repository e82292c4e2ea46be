"""An energy change moves what goes with the energy, and nothing of the old one is used any more."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from bluesky import RunEngine
from ophyd import Signal

from ptycho_plugin.devices import simulated_beamline
from ptycho_plugin.devices.stage import SimulatedAxis
from ptycho_plugin.errors import InputError, PreflightRefusal
from ptycho_plugin.ledger import Budget, Ledger
from ptycho_plugin.plans import DoseGuard, calibrate_flux, change_energy, find_beam_centre, ptycho_scan
from ptycho_plugin.plans.flux_calibration import calibration_in_force
from ptycho_plugin.plans.stubs import go_to_region
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
    assert "run find_beam_centre, calibrate_flux and probe_calibration" in said
    assert "calibrate_flux" not in caplog.text  # where nobody has set up logging, it would be told twice
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
    said = "monochromator is at 6300.0 eV, and the geometry of simulated is of 6199.2 eV: bring it back"
    for plan in (
        ptycho_scan(beamline, trajectory=SMALL),
        find_beam_centre(beamline),
        calibrate_flux(beamline),
    ):
        with pytest.raises(PreflightRefusal, match=said):
            engine(plan)
    assert not starts


@pytest.mark.parametrize("wanted_eV", [6300.0, OLD_EV])
def test_where_nobody_knows_what_the_zone_plate_stands_for_it_stays(
    engine: RunEngine, beamline: Any, wanted_eV: float
) -> None:
    """As in a new session, whose beamline file is of the energy before a change."""
    beamline.monochromator.set(6300.0).wait(timeout=5)
    beamline.flux.calibration.set("{}").wait(timeout=5)
    with pytest.raises(PreflightRefusal, match=r"make the beamline with energy_eV = 6300\.0"):
        engine(change_energy(beamline, wanted_eV))
    assert (beamline.monochromator.position, beamline.zone_plate_z.position) == (6300.0, 100)
    assert beamline.flux.calibration.get() == "{}"


@pytest.mark.parametrize("then_eV", [NEW_EV, OLD_EV, 6500.0])
def test_a_change_that_was_cut_off_is_made_again_or_back_and_no_run_begins_before(
    engine: RunEngine, beamline: Any, then_eV: float
) -> None:
    """The zone plate sticks on its way, then is moved a little by hand, as is the monochromator."""
    zone_plate, free = beamline.zone_plate_z, beamline.zone_plate_z.set

    def stick(value: float) -> Any:
        free((value + zone_plate.position) / 2).wait(timeout=5)
        raise RuntimeError("it sticks")

    zone_plate.set = stick
    before = beamline.geometry
    with pytest.raises(RuntimeError, match="it sticks"):
        engine(change_energy(beamline, NEW_EV))
    assert beamline.geometry == before
    zone_plate.set = free
    for device, value in ((zone_plate, -200.0), (beamline.monochromator, before.energy_eV)):
        device.set(value).wait(timeout=5)
        with pytest.raises(PreflightRefusal, match=r"from 6199\.2 eV was cut off.*run change_energy again"):
            engine(ptycho_scan(beamline, trajectory=SMALL))
    engine(change_energy(beamline, then_eV))
    shift_um = 50_000 * (then_eV / before.energy_eV - 1)
    assert zone_plate.position == pytest.approx(100 - shift_um, abs=0.1)
    engine(ptycho_scan(beamline, trajectory=SMALL))


def test_a_guard_of_the_old_energy_is_refused_with_a_new_calibration_too(
    engine: RunEngine, beamline: Any, tmp_path: Path
) -> None:
    engine(calibrate_flux(beamline, frames=2))
    with Ledger(tmp_path / "ledger", new=True) as ledger:
        ledger.samples.mount("film")
        place = beamline.place_um("sample")
        region = ledger.samples.place_region("film", "1", "A", stage_um=place, reach_um=1.5)
        ledger.samples.set_budget(region, Budget(dose=1e6, material="PMMA", formula="C5H8O2"))
        guard = DoseGuard(beamline, ledger, region, repeat=1)
        engine(change_energy(beamline, NEW_EV))
        scan = partial(ptycho_scan, beamline, trajectory=SMALL, exposure_s=0.02)
        with pytest.raises(InputError, match="is not calibrated: run calibrate_flux first"):
            engine(scan(guard=guard))
        engine(calibrate_flux(beamline, frames=2))
        with pytest.raises(InputError, match=r"probe of 6199\.2 eV, and the beam has 6400\.0 eV"):
            engine(scan(guard=guard))
        engine(go_to_region(beamline, ledger.samples.stage_position(region)))
        engine(scan(guard=DoseGuard(beamline, ledger, region, repeat=1)))
        assert set(ledger.exposures(region).energy_eV) == {NEW_EV}


def test_a_stored_calibration_of_the_old_energy_is_refused(
    engine: RunEngine, beamline: Any, store: Any, tmp_path: Path
) -> None:
    beamline = replace(beamline, calibrations=store)
    engine(calibrate_flux(beamline, frames=2))
    engine(change_energy(beamline, NEW_EV))
    with pytest.raises(InputError, match=r"calibrated at 6199\.21 eV, the beam has 6400 eV"):
        engine(calibration_in_force(beamline))


def test_what_cannot_be_is_refused_and_nothing_moves(engine: RunEngine, beamline: Any) -> None:
    with pytest.raises(InputError, match="it has no monochromator"):
        engine(change_energy(replace(beamline, monochromator=None), NEW_EV))
    with pytest.raises(InputError, match="energy_eV"):
        change_energy(beamline, -1.0)
    beamline.flux.calibration.set("{}").wait(timeout=5)
    with pytest.raises(InputError, match="its zone plate has no motor along the beam"):
        engine(change_energy(replace(beamline, zone_plate_z=None), NEW_EV))
    with pytest.raises(InputError, match="monochromator cannot go to 20000"):
        engine(change_energy(beamline, 20_000.0))
    with pytest.raises(InputError, match=r"zone_plate_z cannot go to -.* um: its limits are -5000"):
        engine(change_energy(beamline, 7000.0))
    assert (beamline.monochromator.position, beamline.zone_plate_z.position) == (OLD_EV, 100)
    assert (beamline.flux.calibration.get(), beamline.zone_plate_left_um) == ("{}", None)
    assert [message.command for message in change_energy(beamline, NEW_EV)] == ["rewindable"]
