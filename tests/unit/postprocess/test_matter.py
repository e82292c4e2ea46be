import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptycho_plugin.errors import InputError
from ptycho_plugin.materials import CDS, CDSE, PMMA, PS, Material
from ptycho_plugin.postprocess.matter import electron_density, excess_thickness, mass_per_area, maximum_shift
from ptycho_plugin.simulation.octapods import OctapodFilm

ENERGY_eV = 6199.2
WAVELENGTH = 0.2e-9
AVOGADRO, KG_PER_MOL = 6.02214076e23, 100.12e-3
"""Of PMMA, C5H8O2, which has 54 electrons."""


@pytest.mark.parametrize("matrix", [None, PMMA, PS])
@given(thickness_nm=st.floats(0, 500))
def test_a_thickness_is_found_again(matrix, thickness_nm):
    delta = CDS.delta(ENERGY_eV) - (matrix.delta(ENERGY_eV) if matrix else 0)
    phase = -2 * np.pi / WAVELENGTH * delta * thickness_nm * 1e-9
    found = excess_thickness(phase, CDS, matrix, ENERGY_eV)
    assert found * 1e9 == pytest.approx(thickness_nm, rel=1e-4)
    assert mass_per_area(phase, CDS, matrix, ENERGY_eV) == pytest.approx(4826 * found)


def test_a_material_that_is_its_own_matrix_has_no_thickness():
    with pytest.raises(InputError, match="PMMA in PMMA turns no phase"):
        mass_per_area(np.zeros(3), PMMA, PMMA, ENERGY_eV)


def test_the_published_numbers():
    per_radian = excess_thickness(-1.0, CDS, PMMA, ENERGY_eV)
    assert WAVELENGTH / (2 * np.pi * per_radian) == pytest.approx(1.6e-5, rel=0.01)
    film = PMMA.log_transmission_per_m(ENERGY_eV).imag * 24e-6
    assert -film == pytest.approx(5.25, abs=0.01)


def test_electrons_of_a_film_are_those_of_its_mass():
    phase = PMMA.log_transmission_per_m(ENERGY_eV).imag * 24e-6
    electrons = 24e-6 * PMMA.density / KG_PER_MOL * AVOGADRO * 54
    assert electron_density(phase, ENERGY_eV) == pytest.approx(electrons, rel=0.006)


@pytest.mark.parametrize(("material", "off"), [(CDS, -0.003), (CDSE, -0.012)])
def test_what_edges_make_of_the_electrons_is_as_stated(material: Material, off: float):
    of_molecule = {"CdS": (48 + 16, 144.48e-3), "CdSe": (48 + 34, 191.38e-3)}[material.formula]
    electrons = material.density / of_molecule[1] * AVOGADRO * of_molecule[0]
    found = electron_density(material.log_transmission_per_m(ENERGY_eV).imag, ENERGY_eV)
    assert found / electrons - 1 == pytest.approx(off, abs=0.001)


def test_the_mass_of_a_film_is_that_of_its_octapods():
    """Cores of CdSe are a fiftieth of the volume: taken for CdS, they weigh much the same."""
    film = OctapodFilm(density_per_um2=1500)
    phase = np.angle(film.transmission((300, 300), 13.54e-9, ENERGY_eV))
    radius = film.pod_thickness_nm / 2
    rods = 8 * np.pi * radius**2 * (film.pod_length_nm - radius)
    core = 4 / 3 * np.pi * radius**3
    per_octapod = (rods * CDS.density + core * CDSE.density) * 1e-27
    found = mass_per_area(phase, CDS, PMMA, ENERGY_eV).mean()
    assert found == pytest.approx(1500e12 * per_octapod, rel=0.02)


def test_the_largest_shift_and_its_spread():
    maps = np.zeros((3, 100, 100))
    maps[:, 50, 50] = [-0.5, -0.4, -0.6]
    maps[:, :, :2] = -0.1
    found = maximum_shift(maps)
    assert (found.value, found.error) == pytest.approx((0.5, 0.2))
    assert (found.percentile, found.percentile_error) == pytest.approx((0.1, 0.0))


def test_noise_lifts_the_maximum_and_hardly_the_percentile():
    rng = np.random.default_rng(0)
    ground = np.zeros((5, 200, 200))
    ground[:, :100, :100] = -0.3
    found = maximum_shift(ground + rng.normal(scale=0.02, size=ground.shape))
    assert found.value > 0.36
    assert found.percentile == pytest.approx(0.35, abs=0.01)
