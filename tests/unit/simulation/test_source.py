import numpy as np
import pytest

from ptycho_plugin.optics import ZonePlate
from ptycho_plugin.simulation.diffraction import fine_geometry, zone_plate_illumination
from ptycho_plugin.simulation.options import OpticError, SimulationOptions
from ptycho_plugin.simulation.siemens import SiemensStar
from ptycho_plugin.simulation.source import FWHM_PER_SIGMA, DriftingFlux, source_points_um


def test_a_point_source_is_one_point():
    places, weights = source_points_um((0, 0), 50)
    np.testing.assert_array_equal(places, [[0, 0]])
    np.testing.assert_array_equal(weights, [1])


def test_source_points_have_the_width_of_the_source():
    places, weights = source_points_um((20, 260), 50)
    assert weights.sum() == pytest.approx(1)
    fwhm_nm = np.sqrt(weights @ places**2) * 2.3548e3
    np.testing.assert_allclose(fwhm_nm, [20, 260])


def test_a_source_wide_in_columns_needs_no_points_in_rows():
    places, _ = source_points_um((0, 60), 50)
    assert len(places) == 5
    assert not places[:, 0].any()


@pytest.mark.parametrize("fwhm_nm", [20.0, 60.0, 200.0, 400.0])
def test_a_blurred_pattern_is_that_of_many_more_points(fwhm_nm, geometry):
    """On a sharp and strong object the error stays a small part of what the blur changes."""
    optic = ZonePlate()
    fine = fine_geometry(geometry)
    star = SiemensStar().transmission((320, 320), fine.object_pixel, geometry.energy_eV)
    illumination = zone_plate_illumination(optic, OpticError(), geometry)

    def pattern(places_nm, weights):
        columns = 170.0 + places_nm * 1e-9 / fine.object_pixel
        shares = zip(weights, columns, strict=True)
        return sum(weight * illumination.diffract(star, (183.0, column)) for weight, column in shares)

    places_um, weights = source_points_um((0, fwhm_nm), optic.outermost_zone * 1e9)
    sigmas = np.linspace(-4, 4, 161)
    gaussian = np.exp(-(sigmas**2) / 2)
    expected = pattern(sigmas * fwhm_nm / FWHM_PER_SIGMA, gaussian / gaussian.sum())
    effect = np.linalg.norm(expected - pattern(np.zeros(1), np.ones(1)))
    assert np.linalg.norm(pattern(places_um[:, 1] * 1e3, weights) - expected) < 0.1 * effect


def test_steady_flux():
    flux = DriftingFlux(SimulationOptions(photons_per_second=5e6), np.random.default_rng(0))
    assert [flux.photons(0.2) for _ in range(3)] == [1e6] * 3


def test_drift_is_slow_and_as_large_as_stated():
    options = SimulationOptions(flux_drift=0.05, flux_drift_s=10)
    flux = DriftingFlux(options, np.random.default_rng(1))
    relative = np.array([flux.photons(0.2) for _ in range(50_000)]) / 1e6 - 1
    assert relative.std() == pytest.approx(0.05, rel=0.1)
    assert np.corrcoef(relative[:-50], relative[50:])[0, 1] == pytest.approx(np.exp(-1), abs=0.1)
    assert np.abs(np.diff(relative)).max() < 0.05
