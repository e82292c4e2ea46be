import numpy as np
import pytest

from ptycho_plugin.materials import GOLD
from ptycho_plugin.simulation.siemens import SiemensStar

ENERGY_EV = 6199.2
PIXEL = 10e-9
SIDE = 801


@pytest.fixture(scope="module")
def coverage():
    return SiemensStar().coverage((SIDE, SIDE), PIXEL)


def on_circle(coverage, radius_um, points=20_000):
    angle = (np.arange(points) + 0.5) * 2 * np.pi / points
    at = np.array([np.sin(angle), np.cos(angle)]) * radius_um * 1e-6 / PIXEL + SIDE // 2
    return coverage[tuple(np.rint(at).astype(int))]


def test_there_are_36_spokes_half_as_wide_as_their_pitch(coverage):
    circle = on_circle(coverage, 2.0)
    edges = np.count_nonzero(np.diff((circle > 0.5).astype(int), append=int(circle[0] > 0.5)))
    assert edges == 72
    assert circle.mean() == pytest.approx(0.5, abs=0.01)


def test_disc_rings_and_rim(coverage):
    assert on_circle(coverage, 0.2).min() == 1
    for ring in (0.8, 1.6, 2.4, 3.2):
        assert on_circle(coverage, ring).max() == 0
    assert on_circle(coverage, 3.9).max() == 0


def test_symmetry_about_the_centre_pixel(coverage):
    np.testing.assert_allclose(coverage, np.rot90(coverage), atol=1e-6)


def test_edges_are_anti_aliased(coverage):
    partly = (coverage > 0.01) & (coverage < 0.99)
    assert 0.02 < partly.mean() < 0.2
    assert coverage[partly].mean() == pytest.approx(0.5, abs=0.03)


def test_covered_area_does_not_depend_on_the_pixel(coverage):
    coarse = SiemensStar().coverage((201, 201), 4 * PIXEL)
    assert coarse.mean() == pytest.approx(coverage.mean(), rel=0.02)


def test_transmission_is_that_of_gold():
    transmission = SiemensStar(thickness_nm=400).transmission((64, 64), PIXEL, ENERGY_EV)
    assert transmission.dtype == np.complex64
    depth = 2 * np.pi / 2e-10 * 400e-9
    centre = transmission[32, 32]
    assert np.angle(centre) == pytest.approx(-depth * GOLD.delta(ENERGY_EV), rel=1e-3)
    assert np.abs(centre) == pytest.approx(np.exp(-depth * GOLD.beta(ENERGY_EV)), rel=1e-3)
