"""Transforms conserve photons; shifts move waves."""

import numpy as np
import pytest

from ptycho_plugin.reconstruction.fourier import detector_order, shift_phases, to_detector, to_sample


@pytest.fixture
def wave():
    rng = np.random.default_rng(3)
    return (rng.standard_normal((2, 16, 16)) + 1j * rng.standard_normal((2, 16, 16))).astype(np.complex64)


def test_transforms_are_unitary_and_inverse(wave):
    far = to_detector(wave.copy())
    assert far.dtype == np.complex64
    assert np.vdot(far, far).real == pytest.approx(np.vdot(wave, wave).real, rel=1e-5)
    np.testing.assert_allclose(to_sample(far), wave, atol=1e-5)


@pytest.mark.parametrize("transform", [to_detector, to_sample])
def test_transforms_work_in_place(wave, transform):
    result = transform(wave)
    assert np.shares_memory(result, wave)
    np.testing.assert_array_equal(result, wave)


def test_the_direct_beam_comes_first_in_detector_order():
    frame = np.zeros((1, 16, 16), np.float32)
    frame[0, 8, 8] = 1
    assert detector_order(frame)[0, 0, 0] == 1


@pytest.mark.parametrize("shift", [(1.0, 0.0), (0.0, 1.0), (2.0, -3.0)])
def test_a_whole_pixel_shift_moves_to_growing_indices(wave, shift):
    ((rows, columns),) = shift_phases(np.array([shift]), 16)
    moved = to_sample(to_detector(wave.copy()) * rows[:, None] * columns)
    np.testing.assert_allclose(moved, np.roll(wave, np.array(shift, int), axis=(-2, -1)), atol=1e-5)


def test_half_shifts_add_up(wave):
    half = shift_phases(np.array([[0.5, 0.25]]), 16)
    whole = shift_phases(np.array([[1.0, 0.5]]), 16)
    np.testing.assert_allclose(half * half, whole, atol=1e-6)
