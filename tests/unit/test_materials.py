import subprocess
import sys

import numpy as np
import pytest

from ptycho_plugin.errors import InputError
from ptycho_plugin.materials import CDS, CDSE, GOLD, PMMA, PS, SI3N4, Material

ENERGY_EV = 6199.2


@pytest.mark.parametrize(
    ("material", "delta"),
    [(PMMA, 6.96e-6), (PS, 6.06e-6), (CDSE, 2.66e-5), (CDS, 2.30e-5)],
)
def test_delta_at_6200_ev(material, delta):
    assert material.delta(ENERGY_EV) == pytest.approx(delta, rel=2e-3)


@pytest.mark.parametrize(("material", "cm2_per_g"), [(PMMA, 13.5), (PS, 8.8), (CDSE, 322), (CDS, 382)])
def test_mass_photoabsorption_is_photoelectric_alone(material, cm2_per_g):
    assert material.mass_photoabsorption(ENERGY_EV) == pytest.approx(cm2_per_g / 10, rel=4e-3)


def test_mass_photoabsorption_leaves_scattering_out():
    """The total for PMMA is 14.0 cm2/g."""
    assert PMMA.mass_photoabsorption(ENERGY_EV) < 1.37
    assert PMMA.mass_attenuation(ENERGY_EV) == pytest.approx(1.40, rel=4e-3)
    assert PMMA.attenuation_length(ENERGY_EV) == pytest.approx(1 / (1.40 * 1188), rel=4e-3)


def test_beta_is_half_the_absorption_of_intensity():
    wavelength = 2e-10
    for material in (PMMA, CDS, SI3N4, GOLD):
        absorbed_per_m = 4 * np.pi / wavelength * material.beta(ENERGY_EV)
        expected = material.mass_photoabsorption(ENERGY_EV) * material.density
        assert absorbed_per_m == pytest.approx(expected, rel=0.1)


def test_a_wave_loses_phase_and_modulus():
    log = CDS.log_transmission_per_m(ENERGY_EV)
    assert log.imag == pytest.approx(-2 * np.pi / 2e-10 * 2.302e-5, rel=1e-3)
    assert log.real == pytest.approx(log.imag * CDS.beta(ENERGY_EV) / CDS.delta(ENERGY_EV))


def test_mass_photoabsorption_does_not_depend_on_density():
    lighter = Material("foam", PMMA.formula, 10.0)
    assert lighter.mass_photoabsorption(ENERGY_EV) == pytest.approx(PMMA.mass_photoabsorption(ENERGY_EV))


@pytest.mark.parametrize("density", [0.0, -1.0, float("nan"), float("inf")])
def test_density_must_be_positive(density):
    with pytest.raises(InputError, match="thing: density"):
        Material("thing", "CdS", density)


@pytest.mark.parametrize("formula", ["Xx2", "PMMA", "", "C5H8O2)"])
@pytest.mark.parametrize("ask", ["delta", "beta", "mass_photoabsorption"])
def test_unknown_formula(formula, ask):
    with pytest.raises(InputError, match="thing"):
        getattr(Material("thing", formula, 1000.0), ask)(ENERGY_EV)


@pytest.mark.parametrize("energy_ev", [6.2, -1.0, float("nan"), 1e7])
def test_energy_outside_the_tables(energy_ev):
    with pytest.raises(InputError, match="outside the tables"):
        PMMA.delta(energy_ev)


def test_xraydb_is_not_imported_before_it_is_needed():
    code = "import sys, ptycho_plugin.materials; print('xraydb' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "False"
