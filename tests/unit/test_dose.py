import pytest

from ptycho_plugin.dose import mean_surface_dose
from ptycho_plugin.errors import InputError
from ptycho_plugin.materials import CDS, PMMA

ENERGY_EV = 6199.2
AREA = 4e-6 * 4e-6


def test_published_scan_by_hand():
    """324e6 / 16e-12 m2 x 6199.2 eV x 1.60218e-19 J/eV x 1.3545 m2/kg."""
    dose = mean_surface_dose(324 * 1e6, AREA, ENERGY_EV, PMMA)
    assert dose == pytest.approx(2.025e19 * 9.9322e-16 * 1.3545, rel=1e-3)
    assert dose == pytest.approx(28e3, rel=0.04)


def test_a_hundred_times_the_photons_is_megagrays():
    assert mean_surface_dose(324e8, AREA, ENERGY_EV, PMMA) == pytest.approx(2.8e6, rel=0.04)


def test_crystals_take_far_more_than_their_matrix():
    crystal, polymer = (mean_surface_dose(1e6, AREA, ENERGY_EV, m) for m in (CDS, PMMA))
    assert 24 < crystal / polymer < 30


@pytest.mark.parametrize(("photons", "area"), [(-1.0, AREA), (float("nan"), AREA), (1.0, 0.0), (1.0, -AREA)])
def test_refuses_what_has_no_dose(photons, area):
    with pytest.raises(InputError):
        mean_surface_dose(photons, area, ENERGY_EV, PMMA)
