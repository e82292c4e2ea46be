"""What a region has received is what its ledger says, in numbers that a hand calculation gives too."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from ptycho_plugin.dose_query import counted_photons, dose_so_far
from ptycho_plugin.errors import InputError
from ptycho_plugin.geometry import Geometry
from ptycho_plugin.ledger import Beam, Budget, CalibrationUsed, Delivered, Intent, Ledger
from ptycho_plugin.materials import CDSE, PMMA
from ptycho_plugin.optics import ZonePlate
from ptycho_plugin.region_dose import Illumination
from ptycho_plugin.trajectory import ConcentricRings

GEOMETRY = Geometry.from_wavelength(0.2e-9, distance=2.236, detector_pixel=172e-6, frame_side=192)
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
BUDGET = Budget(dose=50e3, material="PMMA", formula=PMMA.formula)
PROBE = Illumination(probe=ZonePlate().probe(GEOMETRY), pixel=GEOMETRY.object_pixel)


def beam(sigma=0.01, energy_eV=GEOMETRY.energy_eV):
    calibration = CalibrationUsed(
        key="flux-1", date=NOW, monitor="i0", energy_eV=energy_eV, gain=1, relative_sigma=sigma
    )
    return Beam(energy_eV=energy_eV, monitor="i0", gain=1, calibration=calibration)


@pytest.fixture
def ledger(tmp_path: Path):
    with Ledger(tmp_path / "film.ledger", new=True) as ledger:
        ledger._database._connection.execute("PRAGMA synchronous = OFF")
        ledger.samples.mount("film")
        yield ledger


@pytest.fixture
def region(ledger):
    region = ledger.samples.place_region("film", "1", "A", stage_um=(100, 200), reach_um=4)
    ledger.samples.set_budget(region, BUDGET)
    return region


def expose(
    ledger, region, places, sigma=0.01, own=0.0, kind="scan", run="run", confirm=True, photons=1e6, **more
):
    total = photons * np.hypot(sigma or 0.0, own)
    for number, (row, column) in enumerate(places):
        start_um = (100 + row, 200 + column)
        entry = {"start_um": start_um, "open_s": 0.2, "photons_at_most": 1.2e6, "beam": beam(sigma, **more)}
        key = ledger.intend(Intent(on=region, run_uid=run, point=number, kind=kind, **entry))
        if confirm:
            done = {"opened": NOW, "closed": NOW, "open_s": 0.2, "photons": photons}
            ledger.confirm(key, Delivered(**done, photons_uncertainty=total))


def test_the_published_scan_has_its_published_dose(ledger, region):
    """By hand, 324e6 photons over 4 x 4 um: 27.24 kGy (decision 11); through 24 um, 0.98 of it."""
    expose(ledger, region, ConcentricRings().offsets_um().tolist())
    found = dose_so_far(ledger, region, PROBE, material=PMMA, thickness=24e-6)
    assert found.map.peak == pytest.approx(27.54e3, rel=1e-3)
    assert found.map.remaining == pytest.approx(50e3 - 27.54e3, rel=1e-3)
    assert found.mean == pytest.approx(0.86 * 27.24e3, rel=0.02), "some falls beside the field"
    assert found.mean_fluence == pytest.approx(0.86 * 2.025e19, rel=0.02)
    assert found.field_um == pytest.approx((4.0, 4.0), abs=0.01)
    lengths = 24e-6 * PMMA.mass_attenuation(GEOMETRY.energy_eV) * PMMA.density
    assert found.through_thickness == pytest.approx((1 - np.exp(-lengths)) / lengths)
    assert found.through_thickness == pytest.approx(0.98, abs=1e-3)
    photons = counted_photons(found.exposures)
    assert (photons.number, photons.sigma) == pytest.approx((324e6, 3.24e6))
    assert len(found.map.points) == len(found.confirmed) == 324
    crystals = dose_so_far(ledger, region, PROBE, material=CDSE)
    assert 20 < crystals.map.peak / found.map.peak < 30


def test_what_went_deep_and_what_did_not_have_their_part_in_the_mean(ledger, region):
    """In whatever order: 1e6 photons of 3 keV, and three times as many of 6.2 keV, in one place."""
    thickness, brought = 24e-6, {3000.0: 1e6, GEOMETRY.energy_eV: 3e6}
    for energy_eV, photons in brought.items():
        expose(ledger, region, [(0.0, 0.0)], run=f"{energy_eV}", photons=photons, energy_eV=energy_eV)
    depths = (np.arange(1001) / 1000)[:, None] * thickness
    energies = np.array(list(brought))
    absorbed = energies * [PMMA.mass_photoabsorption(energy) for energy in brought] * list(brought.values())
    lengths = np.array([PMMA.attenuation_length(energy) for energy in brought])
    dose = np.sum(absorbed * np.exp(-depths / lengths), axis=1)
    found = dose_so_far(ledger, region, PROBE, material=PMMA, thickness=thickness)
    assert found.through_thickness == pytest.approx(dose.mean() / dose[0], rel=1e-3)


def test_the_guard_and_the_query_agree(ledger, region):
    expose(ledger, region, [(0.0, 0.0), (0.5, 0.3)])
    by_budget = dose_so_far(ledger, region, PROBE)
    stated = dose_so_far(ledger, region, PROBE, material=PMMA)
    assert by_budget.map.peak == pytest.approx(stated.map.peak)
    assert by_budget.map.material == "PMMA"


def test_a_region_that_was_never_exposed_has_no_dose(ledger, region):
    found = dose_so_far(ledger, region, PROBE)
    assert (found.map.peak, found.mean, found.mean_fluence) == (0, 0, 0)
    assert found.map.remaining == BUDGET.dose
    assert counted_photons(found.exposures).number == 0


def test_alignment_counts_but_is_no_part_of_the_scanned_field(ledger, region):
    expose(ledger, region, [(-3.0, -3.0), (3.0, 3.0)], kind="alignment", run="map")
    assert dose_so_far(ledger, region, PROBE).field_um == (6.0, 6.0)
    expose(ledger, region, [(-1.0, -0.5), (1.0, 0.5)])
    found = dose_so_far(ledger, region, PROBE)
    assert found.field_um == pytest.approx((2.0, 1.0))
    assert len(found.exposures) == 4


def test_what_nobody_confirmed_counts_at_its_upper_bound(ledger, region, tmp_path):
    expose(ledger, region, [(0.0, 0.0)])
    confirmed = dose_so_far(ledger, region, PROBE).map.peak
    expose(ledger, region, [(0.0, 0.0)], run="cut", confirm=False)
    found = dose_so_far(ledger, region, PROBE)
    assert found.map.peak == pytest.approx(2.2 * confirmed)
    assert (len(found.confirmed), len(found.unconfirmed)) == (1, 1)


def test_common_errors_add_up_and_own_ones_in_quadrature(ledger, region):
    expose(ledger, region, [(0.0, 0.0)] * 4, sigma=0.03, own=0.04)
    photons = counted_photons(ledger.exposures(region))
    assert photons.sigma == pytest.approx(np.hypot(4 * 0.03e6, 2 * 0.04e6))


def test_an_error_that_is_not_told_apart_counts_as_common(ledger, region):
    expose(ledger, region, [(0.0, 0.0)] * 4, sigma=None, own=0.05)
    expose(ledger, region, [(0.0, 0.0)], run="cut", confirm=False)
    assert counted_photons(ledger.exposures(region)).sigma == pytest.approx(4 * 0.05e6 + 1.2e6)


def test_what_cannot_be_said_is_refused(ledger, region):
    bare = ledger.samples.place_region("film", "1", "B", stage_um=(200, 200), reach_um=4)
    with pytest.raises(InputError, match=r"region 'B' .* has no budget that names a material: name one"):
        dose_so_far(ledger, bare, PROBE)
    with pytest.raises(InputError, match="needs a material and its density"):
        dose_so_far(ledger, region, PROBE, thickness=24e-6)
    with pytest.raises(InputError, match="has no largest dose: give a probe"):
        dose_so_far(ledger, region, Illumination.point(), electron_range=0.0)
