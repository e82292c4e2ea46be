import numpy as np
import pytest

from ptycho_plugin.errors import InputError
from ptycho_plugin.materials import CDS, CDSE, PMMA, Material
from ptycho_plugin.simulation.octapods import (
    CUBE_CORNERS,
    OctapodFilm,
    _thicken,
    draw_rods,
    projected_cores,
    projected_pods,
)

ENERGY_EV = 6199.2
WAVENUMBER = 2 * np.pi / 2e-10
VACUUM = Material("thin air", "N2", 1e-6)


def rod(sine, half_length, diameter, side=256):
    """A rod along columns, from the centre to both sides."""
    lines = np.zeros((side, side))
    draw_rods(lines, np.full((1, 2), side / 2), np.array([[[0, sine], [0, -sine]]]), 0.0, half_length)
    return _thicken(lines, diameter)


@pytest.mark.parametrize("tilt_deg", [90, 60, 40])
def test_the_middle_of_a_rod_is_a_tilted_cylinder(tilt_deg):
    radius, half_length, sine = 20.0, 90.0, np.sin(np.radians(tilt_deg))
    thickness = rod(sine, half_length, 2 * radius)
    across = np.arange(-15, 16)
    expected = 2 * np.sqrt(radius**2 - across**2) / sine
    np.testing.assert_allclose(thickness[128 + across, 128], expected, rtol=0.02)


def test_a_rod_along_the_beam_is_a_disc_as_thick_as_it_is_long():
    thickness = rod(0.0, 50.0, 40.0)
    assert thickness[128, 128] == pytest.approx(100.0, rel=0.02)
    assert thickness[128, 128 + 25] == pytest.approx(0.0, abs=3)


def test_volume_is_kept():
    rng = np.random.default_rng(3)
    centres = rng.random((7, 2)) * 200
    pods = projected_pods(centres, (200, 220), 13.0, 4.0, rng)
    assert pods.sum() == pytest.approx(7 * 8 * (13.0 - 2.0) * np.pi / 4 * 4.0**2)
    cores = projected_cores(centres, (200, 220), 4.0)
    assert cores.sum() == pytest.approx(7 * 4 / 3 * np.pi * 2.0**3)


@pytest.mark.parametrize("thickness", [8.0, 12.0, 16.0])
def test_an_octapod_holds_as_much_as_the_union_of_its_pods_and_core(thickness):
    rng = np.random.default_rng(7)
    length, radius = 39.0, thickness / 2
    points = rng.uniform(-length, length, (2_000_000, 3))
    distance2 = (points**2).sum(axis=1)
    inside = distance2 <= radius**2
    for corner in CUBE_CORNERS:
        along = points @ corner
        inside |= (along >= 0) & (along <= length) & (distance2 - along**2 <= radius**2)
    union = inside.mean() * (2 * length) ** 3
    centre = np.full((1, 2), 50.0)
    pods = projected_pods(centre, (100, 100), length, thickness, rng).sum()
    cores = projected_cores(centre, (100, 100), thickness).sum()
    assert pods + cores == pytest.approx(union, rel=0.03)


def test_pods_that_do_not_leave_the_core_are_refused():
    with pytest.raises(InputError, match="do not leave a core of 12 nm"):
        OctapodFilm(pod_length_nm=6.0)


def test_phase_and_absorption_of_the_film_are_those_of_its_crystals():
    """The integral of the phase is -k times the volume in excess index, whatever the shapes."""
    film = OctapodFilm(density_per_um2=100, matrix=VACUUM)
    pixel, shape = 5e-9, (400, 300)
    transmission = film.transmission(shape, pixel, ENERGY_EV)
    octapods = round(100 * 2.0 * 1.5)
    pods = octapods * 8 * (39e-9 - 6e-9) * np.pi / 4 * 12e-9**2
    cores = octapods * np.pi / 6 * 12e-9**3
    delta = CDS.delta(ENERGY_EV) * pods + CDSE.delta(ENERGY_EV) * cores
    beta = CDS.beta(ENERGY_EV) * pods + CDSE.beta(ENERGY_EV) * cores
    assert np.angle(transmission).sum() * pixel**2 == pytest.approx(-WAVENUMBER * delta, rel=1e-3)
    assert np.log(np.abs(transmission)).sum() * pixel**2 == pytest.approx(-WAVENUMBER * beta, rel=1e-3)


def test_a_matrix_lessens_the_contrast():
    pixel, shape = 5e-9, (300, 300)
    bare, embedded = (
        np.angle(OctapodFilm(density_per_um2=500, matrix=m).transmission(shape, pixel, ENERGY_EV)).mean()
        for m in (VACUUM, PMMA)
    )
    assert embedded / bare == pytest.approx(1 - PMMA.delta(ENERGY_EV) / CDS.delta(ENERGY_EV), rel=0.01)


def test_the_seed_decides():
    shape, pixel = (100, 100), 10e-9
    first, again, other = (OctapodFilm(seed=s).transmission(shape, pixel, ENERGY_EV) for s in (5, 5, 6))
    assert first.dtype == np.complex64
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_chains_are_chains_in_a_film_of_the_stated_density():
    film = OctapodFilm(density_per_um2=100, octapods_per_chain=10)
    centres = film.centres_nm(np.array([2000.0, 1000.0]), np.random.default_rng(0))
    assert centres.shape == (200, 2)
    chain = centres.reshape(10, 20, 2)
    steps = np.linalg.norm(np.diff(chain, axis=0), axis=-1)
    assert steps.max() <= film.link_nm
    # a random direction in space is seen pi/4 as long
    assert steps.mean() == pytest.approx(film.link_nm * np.pi / 4, rel=0.1)


def test_an_empty_film_transmits_all():
    transmission = OctapodFilm(density_per_um2=0).transmission((50, 50), 10e-9, ENERGY_EV)
    np.testing.assert_array_equal(transmission, 1)


def test_the_default_film_looks_like_the_published_one():
    """Spread, depth and skewness of the phase of the standard case, on its pixels."""
    pixel = 2.6e-6 / 192
    transmission = OctapodFilm().transmission((512, 512), pixel, ENERGY_EV)
    phase = np.angle(transmission)
    assert 0.055 < phase.std() < 0.072
    assert -0.9 < phase.min() < -0.5
    assert -0.08 < phase.mean() < -0.065
    assert np.abs(transmission).max() < 1.001
    skewness = ((phase - phase.mean()) ** 3).mean() / phase.std() ** 3
    assert -2 < skewness < -1
    assert 0.08 < (phase > -0.01).mean() < 0.25, "voids"
