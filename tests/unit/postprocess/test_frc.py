import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptycho_plugin.errors import InputError
from ptycho_plugin.postprocess.frc import RingCorrelation, ring_correlation


def _noise(seed: int, side: int = 128) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(side, side))


def _low_pass(image: np.ndarray, cut: float) -> np.ndarray:
    frequency = np.fft.fftfreq(len(image))
    return np.fft.ifft2(np.fft.fft2(image) * (np.hypot(frequency[:, None], frequency) <= cut)).real


def test_a_map_correlates_fully_with_itself_at_any_scale():
    image = _noise(0)
    rings = ring_correlation(image, 3 * image + 2)
    np.testing.assert_allclose(rings.correlation, 1, atol=1e-9)
    assert rings.half_period(rings.threshold("half_bit"), 13.5) == 13.5


@pytest.mark.parametrize("cut", [0.1, 0.2, 0.35])
def test_the_resolution_is_where_the_common_signal_ends(cut):
    signal = 3 * _low_pass(_noise(0, 256), cut)
    rings = ring_correlation(signal + _noise(1, 256), signal + _noise(2, 256))
    assert rings.half_period(rings.threshold("half_bit"), 10.0) == pytest.approx(10.0 * 0.5 / cut, rel=0.06)


def test_independent_noise_has_no_resolution_below_the_first_rings():
    rings = ring_correlation(_noise(1), _noise(2))
    assert rings.half_period(rings.threshold("half_bit"), 1.0) > 10


def test_complex_maps_that_differ_by_a_quarter_turn_do_not_correlate():
    image = _noise(0) + 1j * _noise(1)
    assert np.abs(ring_correlation(image, 1j * image).correlation).max() < 1e-9


def test_half_bit_threshold_is_the_published_one():
    # Half a bit of information per Fourier pixel: the limit for many pixels is an FRC of 0.1716.
    rings = RingCorrelation(np.zeros(2), np.zeros(2), np.array([1, 10**12]))
    np.testing.assert_allclose(rings.threshold("half_bit"), [1.0, 0.1716], atol=1e-4)


@given(level=st.floats(0.01, 0.69))
def test_a_crossing_is_interpolated_linearly(level):
    frequency = np.linspace(0, 0.5, 11)
    rings = RingCorrelation(frequency, 1 - 2 * frequency, np.full(11, 100))
    assert rings.half_period(level, 1.0) == pytest.approx(0.5 / ((1 - level) / 2))


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (np.ones((8, 8)), np.ones((8, 9)), "crop both"),
        (np.ones((8, 9)), np.ones((8, 9)), "crop both"),
        (np.zeros((8, 8)), _noise(0, 8), "constant"),
        (np.full((8, 8), np.nan), _noise(0, 8), "not finite"),
    ],
)
def test_what_has_no_resolution_is_refused(first, second, message):
    with pytest.raises(InputError, match=message):
        ring_correlation(first, second)
