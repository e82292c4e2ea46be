import numpy as np
import pytest

from ptycho_plugin.dose import DoseModel
from ptycho_plugin.materials import PMMA
from ptycho_plugin.reproduction.dose import dose_of
from ptycho_plugin.reproduction.options import Conditions
from ptycho_plugin.reproduction.run import MeasuredRegion
from ptycho_plugin.reproduction.scans import Region
from ptycho_plugin.reproduction.store import RepeatMap
from ptycho_plugin.simulation.specimens import Truth

CONDITIONS = Conditions()
EMPTY = np.ones((9, 9), np.complex64)
STEP = 0.2e-6
POINTS_PER_AREA = 5 / (2 * np.pi * STEP**2)
"""Of rings a step apart, with 5 points more in each: 5 i points in 2 pi i step^2."""


def measured(*drifts: tuple[float, float], sample: str = "PMMA-350") -> MeasuredRegion:
    places = CONDITIONS.trajectory.offsets_um() * 1e-6
    repeats = tuple(
        RepeatMap(EMPTY, places, places, drift, np.ones(9), likelihood_from=5, residual=0.02, code_sha256="")
        for drift in drifts
    )
    return MeasuredRegion(Region(sample, "1", "A"), repeats, Truth(EMPTY, 1.0, (0.0, 0.0)))


def middle(dose) -> float:
    return float(dose.dose[dose.grid.rectangle(np.array([[-0.8e-6, -0.8e-6], [0.8e-6, 0.8e-6]]))].mean())


def test_the_middle_of_a_scan_takes_what_its_photons_leave_there():
    dose = dose_of(CONDITIONS, measured((0.0, 0.0)))
    model = DoseModel(material=PMMA, energy_eV=CONDITIONS.geometry.energy_eV)
    expected = model.gray_per_fluence * CONDITIONS.photons * POINTS_PER_AREA
    assert middle(dose) == pytest.approx(expected, rel=0.03)
    assert dose.material == "PMMA"
    assert dose.budget is None


def test_repeats_add_up_where_the_probe_was_on_the_sample():
    drift = (0.3e-6, -0.2e-6)
    one, other = (dose_of(CONDITIONS, measured(each)) for each in ((0.0, 0.0), drift))
    both = dose_of(CONDITIONS, measured((0.0, 0.0), drift))
    assert both.dose.sum() == pytest.approx(2 * one.dose.sum())
    assert both.peak <= one.peak + other.peak
    np.testing.assert_allclose(both.points[324:] - both.points[:324], np.full((324, 2), drift))
    assert np.array(other.grid.corner) - one.grid.corner == pytest.approx(drift, abs=other.grid.pixel)


def test_without_a_polymer_it_is_told_in_the_octapods():
    bare, film = (dose_of(CONDITIONS, measured((0.0, 0.0), sample=name)) for name in ("OCT", "PS-190"))
    assert (bare.material, film.material) == ("CdS", "PS")
    assert bare.peak / film.peak == pytest.approx(382 / 8.8, rel=0.03), "by their mass absorption"
