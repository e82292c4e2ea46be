from dataclasses import astuple

import h5py
import numpy as np
import pytest
from scipy.ndimage import fourier_shift, gaussian_filter

from ptycho_plugin.errors import InputError
from ptycho_plugin.simulation.score import score

PIXEL = 20e-9
POSITIONS = np.array([[30.0, 40.0], [60.0, 50.0]])
SIDE = 240


@pytest.fixture(scope="module")
def truth():
    phase = gaussian_filter(np.random.default_rng(3).normal(size=(SIDE, SIDE)), 1.0)
    return np.exp(-0.06j * phase / phase.std())


def _shifted(image, shift):
    return np.fft.ifft2(fourier_shift(np.fft.fft2(image), shift))


def test_the_truth_is_without_error(truth):
    perfect = score(truth, POSITIONS, truth, POSITIONS, PIXEL)
    assert perfect.phase_error < 1e-6
    assert perfect.half_bit_nm == perfect.frc_05_nm == pytest.approx(PIXEL * 1e9)


def test_gauge_shift_and_frame_of_the_array_do_not_count(truth):
    rows, columns = np.indices(truth.shape)
    changed = _shifted(truth, (0.4, -1.3)) * np.exp(1j * (0.02 * rows - 0.05 * columns + 2))
    padded = np.pad(changed, ((7, 3), (2, 11)), constant_values=1)
    assert score(padded, POSITIONS + np.array([7, 2]), truth, POSITIONS, PIXEL).phase_error < 0.02


def test_white_noise_gives_the_error_it_must(truth):
    noise = np.random.default_rng(4).normal(size=truth.shape)
    noisy = score(truth * np.exp(0.03j * noise), POSITIONS, truth, POSITIONS, PIXEL)
    spread = np.angle(truth)[45:-45, 45:-45].std()
    assert noisy.phase_error == pytest.approx(0.03 / spread, rel=0.02)
    assert noisy.phase_error_smooth < noisy.phase_error / 2


def test_a_blurred_map_has_the_blur_s_resolution(truth):
    rng = np.random.default_rng(5)
    blurred = np.exp(1j * (gaussian_filter(np.angle(truth), 3.0) + 0.004 * rng.normal(size=truth.shape)))
    result = score(blurred, POSITIONS, truth, POSITIONS, PIXEL)
    assert 2 * PIXEL * 1e9 < result.half_bit_nm < 10 * PIXEL * 1e9
    assert result.half_bit_nm < result.frc_05_nm * 1.3


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (np.ones((SIDE, SIDE), complex), "constant"),
        (np.full((SIDE, SIDE), np.nan + 0j), "not finite"),
        (np.ones((100, 100), complex), "does not reach"),
    ],
)
def test_what_cannot_be_scored_is_refused(truth, result, message):
    with pytest.raises(InputError, match=message):
        score(result, POSITIONS, truth, POSITIONS, PIXEL)


def test_the_standard_case_is_scored_as_the_project_s_tool_does(shared_data):
    """The figures are those that tools/score.py gives for this very map."""
    with h5py.File(shared_data / "standard_case.h5") as file:
        truth, positions_px = file["truth/object"][()], file["positions_px"][()]
        pixel = float(file["object_pixel_size"][()])
    rng = np.random.default_rng(0)
    phase = gaussian_filter(np.angle(truth), 1.2) + rng.normal(0, 0.01, truth.shape)
    changed = _shifted(np.abs(truth) * np.exp(1j * phase), (0.5, -0.3))
    found = astuple(score(changed, positions_px, truth, positions_px, pixel))
    assert found == pytest.approx((0.4473, 0.1304, 27.36, 27.37), rel=0.01)
