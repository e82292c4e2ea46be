"""The figures of maps that are made here: the truth with noise, as far as a scan sees it."""

import json

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from ptycho_plugin.postprocess.registration import shifted
from ptycho_plugin.reproduction.figures import figures, judged, section
from ptycho_plugin.reproduction.options import Conditions
from ptycho_plugin.reproduction.run import MeasuredRegion
from ptycho_plugin.reproduction.scans import Region
from ptycho_plugin.reproduction.store import RepeatMap
from ptycho_plugin.simulation.octapods import OctapodFilm
from ptycho_plugin.simulation.specimens import Truth
from ptycho_plugin.view.report import report_html

CONDITIONS = Conditions()
PIXEL = CONDITIONS.geometry.object_pixel
SIDE, FRAME = 560, CONDITIONS.geometry.frame_side
ORIGIN = (-(SIDE // 2) * PIXEL, -(SIDE // 2) * PIXEL)
SIGMA = 0.013


def repeat(truth: np.ndarray, drift_px: tuple[float, float], seed: int) -> RepeatMap:
    """A map whose middle shows the sample that much farther along."""
    noise = gaussian_filter(np.random.default_rng(seed).normal(size=truth.shape), 0.6)
    moved = shifted(truth, -np.array(drift_px)) * np.exp(1j * noise * (SIGMA / noise.std()))
    offsets = CONDITIONS.trajectory.offsets_um() * 1e-6
    corners = offsets / PIXEL + SIDE // 2 - FRAME // 2
    row, column = (PIXEL * np.array(drift_px)).tolist()
    return RepeatMap(
        transmission=moved.astype(np.complex64),
        positions=offsets,
        positions_px=corners,
        drift=(row, column),
        errors=np.geomspace(1.0, 0.02, 30),
        likelihood_from=20,
        residual=0.02,
        code_sha256="code",
    )


@pytest.fixture(scope="module")
def measured() -> MeasuredRegion:
    film = OctapodFilm(seed=2)
    fine = film.transmission((SIDE, SIDE), PIXEL, CONDITIONS.geometry.energy_eV)
    frequency = np.fft.fftfreq(SIDE)
    low_pass = np.exp(-2 * (np.pi * 0.7) ** 2 * (frequency[:, None] ** 2 + frequency**2))
    truth = np.fft.ifft2(np.fft.fft2(fine) * low_pass).astype(np.complex64)
    repeats = tuple(
        repeat(truth, drift, seed) for seed, drift in enumerate([(3.2, -1.4), (4.1, 0.3), (2.0, -2.6)])
    )
    return MeasuredRegion(Region("PMMA-350", "1", "A"), repeats, Truth(truth, PIXEL, ORIGIN))


@pytest.fixture(scope="module")
def region(measured):
    return judged(CONDITIONS, measured)


def test_the_truth_is_where_the_maps_are(region):
    average, truth = region.result.average, region.true_phase
    assert average.mean.shape == truth.shape
    # It lies to a pixel: the fraction that is left is less than half of one.
    assert np.corrcoef(average.mean.ravel(), truth.ravel())[0, 1] > 0.9
    # The sample seems to move back by what the probe is farther along.
    np.testing.assert_allclose(region.result.drift_px, [[0, 0], [-0.9, -1.7], [1.2, 1.2]], atol=0.05)


def test_a_map_without_noise_is_told_to_resolve_all(region, measured):
    fraction = np.array(measured.repeats[0].drift) / PIXEL % 1
    true = shifted(region.truth, -fraction + np.round(fraction))
    phase = np.angle(true)[20:-20, 20:-20]
    assert region.true_half_period(phase) < 1.2 * PIXEL
    assert region.true_half_period(region.result.phases[0]) > 1.3 * PIXEL


def test_figures_are_json_with_each_key_that_is_promised(region):
    found = json.loads(json.dumps(figures(CONDITIONS, [region])))
    assert (found["object_pixel_nm"], found["oversampling"], found["points"]) == (13.542, 2.89, 324)
    sample = found["samples"]["PMMA-350"]
    for key in ("half_bit_single_nm", "half_bit_average_nm", "half_bit_restored_nm", "true_restored_nm"):
        assert 13 < sample[key] < 60
    assert sample["half_bit_single_nm"] > sample["half_bit_average_nm"]
    assert sample["max_phase_rad"] == pytest.approx(sample["max_phase_true_rad"], abs=0.06)
    assert 0 < sample["max_phase_error_rad"] < 0.1
    assert sample["percentile_rad"] == pytest.approx(sample["percentile_true_rad"], rel=0.05)
    assert sample["residual"] == 0.02


def test_maps_that_are_blurred_agree_with_the_truth_as_they_show_it(measured):
    rng = np.random.default_rng(7)
    blurred = gaussian_filter(measured.truth.transmission, 1.5)
    repeats = tuple(repeat(blurred, (0.0, 0.0), int(seed)) for seed in rng.integers(99, size=4))
    region = judged(CONDITIONS, MeasuredRegion(measured.region, repeats, measured.truth))
    found, sharp = region.result.maximum, -region.true_phase.min()
    shown = region.truth_as_shown()
    assert sharp - found.value > 3 * found.error
    assert -shown.min(axis=(1, 2)).mean() == pytest.approx(found.value, abs=found.error)
    np.testing.assert_allclose(shown.std(axis=(1, 2)), region.result.phases.std(axis=(1, 2)), rtol=0.02)


def test_several_regions_of_a_sample_are_averaged(region, measured):
    one = figures(CONDITIONS, [region])["samples"]["PMMA-350"]
    two = figures(CONDITIONS, [region, region])["samples"]["PMMA-350"]
    assert two == {**one, "regions": 2}


def test_a_region_has_a_section_of_the_report(region):
    page = report_html([section(CONDITIONS, region)], "Reproduced")
    assert "PMMA-350-1-A" in page
    assert page.count("<img") == 6
    assert "Errors of the reconstructions" in page
    assert " kGy in PMMA" in page


def test_of_a_sample_that_drowns_in_noise_no_resolution_is_told():
    nothing = np.exp(1e-4j * np.random.default_rng(9).normal(size=(SIDE, SIDE))).astype(np.complex64)
    repeats = tuple(repeat(nothing, (0.0, 0.0), seed) for seed in range(3))
    measured = MeasuredRegion(Region("OCT", "1", "A"), repeats, Truth(nothing, PIXEL, ORIGIN))
    drowned = judged(CONDITIONS, measured)
    sample = json.loads(json.dumps(figures(CONDITIONS, [drowned])))["samples"]["OCT"]
    assert sample["half_bit_average_nm"] is None
    assert sample["true_average_nm"] is None
    assert sample["max_phase_rad"] > 3 * sample["max_phase_true_rad"]
    assert drowned.result.lost
