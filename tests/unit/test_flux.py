"""From monitor counts to photons on the sample, and when not to."""

from datetime import UTC, datetime
from math import exp, hypot, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptycho_plugin.errors import InputError
from ptycho_plugin.flux import LOSSLESS, DetectionPath, FluxCalibration, Layer, calibrate
from ptycho_plugin.materials import HELIUM, KAPTON, SILICON, Material

ENERGY_EV = 6200.0
DATE = datetime(2025, 6, 1, 12, 30, tzinfo=UTC)
CONDITIONS = {
    "energy_eV": ENERGY_EV,
    "gain": 10.0,
    "transmission": 0.5,
    "exposure_s": 0.2,
    "run_uid": "run",
    "date": DATE,
}


def calibrated(monitor, detected, missing=0.0, path=LOSSLESS):
    return calibrate(monitor, np.asarray(detected, float), missing, path=path, **CONDITIONS)


@pytest.fixture
def calibration():
    return calibrated([4e4, 4e4], [1e6, 1e6])


def test_the_default_path_by_hand():
    """At 6.2 keV, per cm: Kapton 18.9, helium 6.63e-5, silicon 312.2, of which photoabsorption 309.6.

    Two windows of 25 um: exp(-2 x 18.9 x 0.0025) = 0.910; helium 220 cm: exp(-0.0146) = 0.9855;
    silicon 0.032 cm stops all but exp(-10), and 309.6 / 312.2 = 0.9918 of that by absorption.
    """
    by_hand = exp(-0.0945) * exp(-0.0146) * 0.9918
    assert DetectionPath().efficiency(ENERGY_EV) == pytest.approx(by_hand, rel=2e-3)
    assert LOSSLESS.efficiency(ENERGY_EV) == 1.0


def test_a_layer_scatters_what_it_neither_passes_nor_absorbs():
    layer = Layer(material=KAPTON, thickness=1e-3)
    lost = 1 - layer.transmission(ENERGY_EV) - layer.absorption(ENERGY_EV)
    assert 0 < lost < 0.05 * layer.absorption(ENERGY_EV)
    assert Layer(material=SILICON, thickness=320e-6).absorption(20_000) == pytest.approx(0.27, abs=0.02)


@given(st.floats(1e-6, 1e-2), st.floats(1e-6, 1e-2))
def test_two_layers_are_one_of_both_thicknesses(first, second):
    both = DetectionPath(
        sensor=None,
        between=tuple(Layer(material=HELIUM, thickness=thickness) for thickness in (first, second)),
    )
    one = DetectionPath(sensor=None, between=(Layer(material=HELIUM, thickness=first + second),))
    assert both.efficiency(ENERGY_EV) == pytest.approx(one.efficiency(ENERGY_EV))


def test_it_tells_the_flux_of_its_day(calibration):
    """1e6 photons in 0.2 s behind an attenuator that passes half: 1e7 a second."""
    assert calibration.photons_per_s == pytest.approx(1e7)


@given(st.floats(1e-4, 1e3), st.floats(0.1, 1.0), st.integers(0, 2**16))
def test_the_true_efficiency_is_found(counts_per_photon, efficiency, seed):
    """Twenty frames of Poisson counts, within five standard uncertainties."""
    photons = np.full(20, 1e6)
    rng = np.random.default_rng(seed)
    detected = rng.poisson(photons * efficiency).astype(float)
    window = Layer(material=KAPTON, thickness=-np.log(efficiency) * 5.29e-4 + 1e-12)
    path = DetectionPath(sensor=None, between=(window,), relative_sigma=0.0)
    true_efficiency = path.efficiency(ENERGY_EV) / efficiency
    found = calibrated(photons * counts_per_photon, detected, path=path)
    expected = 1 / (counts_per_photon * true_efficiency)
    assert found.photons_per_count == pytest.approx(expected, rel=5 * found.relative_sigma)
    assert found.relative_sigma == pytest.approx(1 / sqrt(20 * 1e6 * efficiency), rel=0.8)


def test_the_uncertainty_by_hand():
    """Ratios 0.9, 1.0 and 1.1: spread 0.1, of their mean 0.1 / sqrt(3); 2 % filled, 3 % of the path."""
    path = LOSSLESS.model_copy(update={"relative_sigma": 0.03})
    found = calibrated([1e6] * 3, [0.9e6, 1e6, 1.1e6], missing=0.02, path=path)
    assert found.scatter == pytest.approx(0.1)
    assert found.relative_sigma == pytest.approx(sqrt(0.01 / 3 + 0.02**2 + 0.03**2))


def test_frames_that_happen_to_agree_still_have_counting_noise(calibration):
    assert calibration.scatter == 0
    assert calibration.relative_sigma == pytest.approx(1 / sqrt(2e6))


def test_photons_with_their_uncertainty():
    """Shared 1 %; 2 % scatter at 4e4 counts is 4 % at a quarter of them."""
    calibration = FluxCalibration(
        photons_per_count=25, relative_sigma=0.01, scatter=0.02, counts_per_frame=4e4, frames=10,
        path=LOSSLESS, **CONDITIONS,
    )  # fmt: skip
    photons = calibration.photons(1e4)
    assert photons.number == 2.5e5
    assert photons.sigma == pytest.approx(2.5e5 * hypot(0.01, 0.04))
    assert calibration.photons(0.0).number == calibration.photons(0.0).sigma == 0


@pytest.mark.parametrize("counts", [-1.0, float("nan"), float("inf")])
def test_a_negative_or_missing_flux_is_refused(calibration, counts):
    with pytest.raises(InputError, match="the flux monitor counted"):
        calibration.photons(counts)


def test_another_energy_or_gain_is_refused(calibration):
    calibration.check(6201.0, 10.0)
    with pytest.raises(InputError, match=r"calibrated at 6200 eV, the beam has 7100 eV: run calibrate_flux"):
        calibration.check(7100.0, 10.0)
    with pytest.raises(InputError, match=r"calibrated at gain 10, it is at 100: .* is of 2025-06-01 12:30"):
        calibration.check(ENERGY_EV, 100.0)


def test_it_is_json_without_tiled():
    calibration = calibrated([4e4, 4.1e4], [1e6, 1e6], path=DetectionPath())
    assert FluxCalibration.model_validate_json(calibration.model_dump_json()) == calibration


@pytest.mark.parametrize(
    ("monitor", "detected", "sentence"),
    [
        ([1e4], [1e6], "two or more"),
        ([1e4, 1e4, 1e4], [1e6, 1e6], "two or more"),
        ([1e4, 0.0], [1e6, 1e6], "flux monitor counted 0"),
        ([1e4, np.nan], [1e6, 1e6], "flux monitor counted nan"),
        ([1e4, 1e4], [1e6, -3.0], "detector counted -3"),
    ],
)
def test_frames_that_calibrate_nothing_are_refused(monitor, detected, sentence):
    with pytest.raises(InputError, match=sentence):
        calibrated(monitor, detected)


def test_an_unknown_material_in_the_path_is_refused():
    path = DetectionPath(between=(Layer(material=Material("foil", "Xy", 1000.0), thickness=1e-6),))
    with pytest.raises(InputError, match="foil: 'Xy' is not a chemical formula"):
        calibrated([1e4, 1e4], [1e6, 1e6], path=path)
