import numpy as np
import pytest

from ptycho_plugin.simulation.options import SimulationOptions
from ptycho_plugin.simulation.source import DriftingFlux, source_points_um


def test_a_point_source_is_one_point():
    places, weights = source_points_um((0, 0))
    np.testing.assert_array_equal(places, [[0, 0]])
    np.testing.assert_array_equal(weights, [1])


def test_source_points_have_the_width_of_the_source():
    places, weights = source_points_um((20, 60))
    assert len(places) == 9
    assert weights.sum() == pytest.approx(1)
    fwhm_nm = np.sqrt(weights @ places**2) * 2.3548e3
    np.testing.assert_allclose(fwhm_nm, [20, 60])


def test_a_source_wide_in_columns_needs_no_points_in_rows():
    places, _ = source_points_um((0, 60))
    assert len(places) == 3
    assert not places[:, 0].any()


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
