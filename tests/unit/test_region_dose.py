"""A map to which exposures are added is the map of all of them."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from ptycho_plugin.dose import DoseModel, fluence_map, illumination_of
from ptycho_plugin.ledger import Beam, Budget, CalibrationUsed, Delivered, Intent, Ledger
from ptycho_plugin.materials import PMMA
from ptycho_plugin.orientation import PositionSign
from ptycho_plugin.region_dose import Illumination, RegionDose, budget_material

PIXEL, ENERGY_EV = 40e-9, 6200.0
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
CALIBRATION = CalibrationUsed(key="flux-1", date=NOW, monitor="i0", energy_eV=ENERGY_EV, gain=1)
BEAM = Beam(energy_eV=ENERGY_EV, monitor="i0", gain=1, calibration=CALIBRATION)
BUDGET = Budget(dose=1e4, material="PMMA", formula=PMMA.formula)
PROBE = (np.hypot(*(np.indices((24, 24)) - np.reshape([11, 13], (2, 1, 1)))) < 5)[None].astype(np.complex64)
EXPOSURES = [((0.1, -0.2), 1e6), ((0.317, -0.211), 2e6), ((-2.9, 2.95), 3e6), ((3.0, 0.0), 1e6)]


@pytest.fixture
def ledger(tmp_path: Path):
    with Ledger(tmp_path / "film.ledger", new=True) as ledger:
        yield ledger


@pytest.fixture
def region(ledger):
    ledger.samples.mount("film")
    return ledger.samples.place_region("film", "1", "A", stage_um=(100, 200), reach_um=3)


def keep(ledger, region, number, from_centre_um, photons):
    start_um = (100 + from_centre_um[0], 200 + from_centre_um[1])
    entry = {"start_um": (100, 200), "open_s": 0.2, "photons_at_most": 1e9, "beam": BEAM}
    intent = Intent(on=region, run_uid="run", point=number, **entry)
    done = Delivered(
        opened=NOW, closed=NOW, open_s=0.2, photons=photons, photons_uncertainty=0, start_um=start_um
    )
    ledger.confirm(ledger.intend(intent), done)


def region_dose(ledger, region, sign=PositionSign.PROBE, illumination=None):
    model = DoseModel(material=budget_material(BUDGET), energy_eV=ENERGY_EV)
    illumination = illumination or Illumination(probe=PROBE, pixel=PIXEL, position_sign=sign)
    return RegionDose(region, model, ledger.exposures(region), illumination)


@pytest.mark.parametrize("sign", list(PositionSign))
def test_adding_exposures_and_reading_the_ledger_give_the_same(ledger, region, sign):
    kept = region_dose(ledger, region, sign)
    for number, (from_centre_um, photons) in enumerate(EXPOSURES):
        kept.add(from_centre_um, photons)
        keep(ledger, region, number, from_centre_um, photons)
    read = region_dose(ledger, region, sign)
    np.testing.assert_allclose(kept.dose, read.dose, atol=1e-9 * read.peak)
    assert read.peak > 0


def test_it_is_the_surface_dose_of_the_fluence(ledger, region):
    kept = region_dose(ledger, region)
    for from_centre_um, photons in EXPOSURES[:3]:
        kept.add(from_centre_um, photons)
    paths = np.array([[place, place] for place, _ in EXPOSURES[:3]]) * 1e-6
    fluence = fluence_map(illumination_of(PROBE), paths, [n for _, n in EXPOSURES[:3]], kept.grid)
    dose = DoseModel(material=PMMA, energy_eV=ENERGY_EV).surface_dose(fluence, PIXEL)
    np.testing.assert_allclose(kept.dose, dose, atol=1e-9 * dose.max())


def test_only_what_would_go_over_the_budget_is_an_overdose(ledger, region):
    kept = region_dose(ledger, region)
    kept.add((0.0, 0.0), 1e6)
    left = (BUDGET.dose / kept.peak - 1) * 1e6
    assert kept.overdose((0.0, 0.0), 0.999 * left, BUDGET) is None
    overdose = kept.overdose((0.0, 0.0), 1.001 * left, BUDGET)
    assert overdose is not None
    assert overdose.so_far == pytest.approx(kept.peak)
    assert overdose.so_far + overdose.by_exposure == pytest.approx(BUDGET.dose, rel=2e-3)
    assert overdose.so_far + overdose.by_exposure > BUDGET.dose
    assert kept.overdose((2.5, 0.0), left, BUDGET) is None, "so far away it has its own budget"


def test_what_falls_off_the_map_is_left_out(ledger, region):
    kept = region_dose(ledger, region)
    for far_um in ((20.0, 0.0), (0.0, -20.0)):
        kept.add(far_um, 1e6)
        assert kept.overdose(far_um, 1e12, BUDGET) is None
    assert kept.peak == 0
    kept.add((4.0, 0.0), 1e6)
    assert kept.peak > 0


def test_the_peak_of_a_plan_is_the_peak_when_it_is_done(ledger, region):
    kept = region_dose(ledger, region)
    kept.add((0.0, 0.0), 1e6)
    places = np.array([[0.0, 0.1], [0.3, 0.0]])
    planned = kept.peak_with(places, 2e6)
    for place in places.tolist():
        kept.add(place, 2e6)
    assert kept.peak == pytest.approx(planned)


def test_a_point_illumination_is_an_upper_bound_that_a_scan_comes_close_to(ledger, region):
    """Points 0.2 um apart, where electrons travel 0.5 um and the probe is 0.4 um wide."""
    places = 0.2 * np.indices((11, 11)).reshape(2, -1).T - 1.0
    for number, place in enumerate(places.tolist()):
        keep(ledger, region, number, place, 1e6)
    peak = region_dose(ledger, region).peak
    bound = region_dose(ledger, region, illumination=Illumination.point()).peak
    assert peak < bound < 1.05 * peak


def test_a_map_knows_its_places(ledger, region):
    keep(ledger, region, 0, (0.5, -1.0), 1e6)
    kept = region_dose(ledger, region, PositionSign.SAMPLE)
    found = kept.map(ledger.exposures(region), BUDGET)
    np.testing.assert_allclose(found.points, [[-0.5e-6, 1e-6]])
    brightest = np.array(np.unravel_index(np.argmax(found.dose), found.dose.shape))
    probe_centre = np.array([-0.5e-6, 1e-6]) + np.array([-1, 1]) * PIXEL
    assert np.abs(found.grid.corner + brightest * PIXEL - probe_centre).max() <= PIXEL
    assert found.remaining == pytest.approx(BUDGET.dose - kept.peak)
    assert kept.map(ledger.exposures(region), None).remaining is None
    np.testing.assert_allclose(kept.fluence(ledger.exposures(region)).sum() * PIXEL**2, 1e6)


@pytest.mark.parametrize("most_px", [20, 50, 1000])
def test_a_binned_map_keeps_energy_and_places(ledger, region, most_px):
    keep(ledger, region, 0, (0.5, -1.0), 1e6)
    whole = region_dose(ledger, region).map(ledger.exposures(region), BUDGET)
    few = whole.binned(most_px)
    assert max(few.dose.shape) <= most_px
    assert few.dose.sum() * few.grid.pixel**2 == pytest.approx(whole.dose.sum() * whole.grid.pixel**2)
    np.testing.assert_allclose(centre_of(few), centre_of(whole), atol=few.grid.pixel / 10)
    assert few.peak == whole.peak


def centre_of(found):
    places = np.indices(found.dose.shape) * found.grid.pixel + np.reshape(found.grid.corner, (2, 1, 1))
    return np.sum(places * found.dose, axis=(1, 2)) / found.dose.sum()
