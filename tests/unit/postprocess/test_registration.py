import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from ptycho_plugin.errors import InputError
from ptycho_plugin.postprocess.registration import align, find_shift, shifted, without_relative_ramp


def _object(side: int = 128) -> np.ndarray:
    rng = np.random.default_rng(7)
    phase = gaussian_filter(rng.normal(size=(side, side)), 2, mode="wrap")
    return np.exp(0.3j * phase / phase.std())


OBJECT = _object()
SHIFTS = st.tuples(st.floats(-4, 4), st.floats(-4, 4)).map(np.array)


def test_whole_pixels_shift_as_roll_does():
    np.testing.assert_allclose(shifted(OBJECT, np.array([3.0, -5.0])), np.roll(OBJECT, (3, -5), (0, 1)))


@settings(max_examples=8)
@given(SHIFTS)
def test_a_shift_is_found_again(shift):
    moved = shifted(OBJECT, shift)
    found = find_shift(OBJECT.imag, moved.imag)
    np.testing.assert_allclose(found, -shift, atol=0.1)


@settings(max_examples=8)
@given(row=st.floats(-1, 1), column=st.floats(-1, 1), phase=st.floats(-3, 3))
def test_ramp_and_global_phase_go(row, column, phase):
    rows, columns = np.indices(OBJECT.shape)
    ramped = OBJECT * np.exp(1j * (row * rows + column * columns + phase))
    np.testing.assert_allclose(without_relative_ramp(ramped, OBJECT), OBJECT, atol=1e-9)


@settings(max_examples=8)
@given(shift=SHIFTS, row=st.floats(-0.1, 0.1), column=st.floats(-0.1, 0.1))
def test_shift_ramp_and_phase_go_together(shift, row, column):
    rows, columns = np.indices(OBJECT.shape)
    changed = shifted(OBJECT, shift) * np.exp(1j * (row * rows + column * columns + 1))
    inner = np.s_[25:-25, 25:-25]
    np.testing.assert_allclose(align(changed, OBJECT).image[inner], OBJECT[inner], atol=0.01)


def test_maps_of_other_shapes_are_refused():
    with pytest.raises(InputError, match="must be alike"):
        without_relative_ramp(OBJECT, OBJECT[:-1])
    with pytest.raises(InputError, match="larger than 40 px"):
        without_relative_ramp(OBJECT[:40, :40], OBJECT[:40, :40])


@pytest.mark.parametrize("sigma", [0.0, 0.013, 0.02])
@pytest.mark.parametrize("seed", range(3))
def test_repeats_are_registered_to_a_twentieth_of_a_pixel(noisy, sigma, seed):
    """0.013 rad is the noise of a map of 1e6 photons a point."""
    shift = np.random.default_rng(seed).uniform(-3, 3, 2)
    found = align(noisy(2 * seed + 1, shift, sigma), noisy(2 * seed, sigma=sigma)).shift_px
    np.testing.assert_allclose(found, -shift, atol=0.05)


def test_maps_with_nothing_in_common_are_left_finite():
    first, second = (np.exp(0.1j * np.random.default_rng(seed).normal(size=(80, 80))) for seed in range(2))
    assert np.isfinite(align(second, first).image).all()


@pytest.mark.parametrize("slope", [0.5, -0.4])
def test_a_map_keeps_the_reference_s_ramp(noisy, slope):
    rows, columns = np.indices(noisy(0).shape)
    steep = np.exp(1j * slope * (rows - 0.7 * columns))
    found = align(noisy(1, (1.4, -2.7), 0.0), noisy(0, sigma=0.0) * steep)
    inner = np.s_[25:-25, 25:-25]
    assert np.angle(found.image * (noisy(0, sigma=0.0) * steep).conj())[inner].std() < 2e-3
    np.testing.assert_allclose(found.shift_px, [-1.4, 2.7], atol=0.02)
