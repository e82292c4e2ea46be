"""What is said of frames is what was built in."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptycho_plugin.reconstruction.frame_look import expected_misfit, look_at_frames
from ptycho_plugin.reconstruction.maximum_likelihood import residual_of


@given(mean=st.floats(1e-3, 100))
def test_the_expected_misfit_is_the_mean_over_counts(mean):
    counts = np.random.default_rng(0).poisson(mean, 40_000)
    misfit = (np.sqrt(counts) - np.sqrt(mean)) ** 2
    expected = float(expected_misfit(np.array([np.sqrt(mean)], np.float32))[0])
    assert expected == pytest.approx(
        misfit.mean(), abs=6 * misfit.std() / 200 + 0.01 * np.sqrt(mean) / (1 + mean)
    )


@pytest.fixture(scope="module")
def looked(known_scan, known_estimate, forward, blocks_of):
    frames = known_scan.frames.astype(np.float32)
    blocks = blocks_of(forward, frames, known_scan.positions_px)
    return blocks, look_at_frames(blocks, known_estimate, forward, frames.mean(axis=0), 0.0)


def test_the_truth_misfits_by_noise(looked, known_scan):
    _, look = looked
    assert look.misfit.sum() == pytest.approx(look.noise.sum(), rel=0.02)
    assert (np.abs(look.misfit / look.noise - 1) < 0.3).all()
    np.testing.assert_allclose(look.counts, known_scan.frames.sum(axis=(1, 2)), rtol=1e-5)


def test_r_is_that_of_the_reconstruction(looked, known_estimate, forward):
    blocks, look = looked
    residual = residual_of(known_estimate, blocks, forward)
    assert np.sqrt(look.misfit.sum() / look.counts.sum()) == pytest.approx(residual, rel=1e-3)


def test_frames_scatter_about_their_mean_by_the_sample(looked, known_scan):
    _, look = looked
    amplitudes = np.sqrt(known_scan.frames)
    scatter = np.sum((np.sqrt(known_scan.frames.mean(axis=0)) - amplitudes) ** 2, axis=(1, 2))
    np.testing.assert_allclose(look.scatter, scatter, rtol=1e-4)
    assert look.scatter.sum() > 10 * look.scatter_noise.sum()


def test_pixels_that_are_not_measured_count_nothing(known_scan, known_estimate, forward, blocks_of):
    frames = known_scan.frames.astype(np.float32)
    frames[:, 20:24] = -1
    blocks = blocks_of(forward, frames, known_scan.positions_px)
    look = look_at_frames(blocks, known_estimate, forward, np.maximum(frames, 0).mean(axis=0), 0.0)
    np.testing.assert_allclose(look.counts, np.maximum(frames, 0).sum(axis=(1, 2)), rtol=1e-5)
    assert look.misfit.sum() == pytest.approx(look.noise.sum(), rel=0.02)


def test_the_brightest_pixels_are_counted(known_scan, known_estimate, forward, blocks_of):
    frames = np.minimum(known_scan.frames, 900).astype(np.float32)
    blocks = blocks_of(forward, frames, known_scan.positions_px)
    look = look_at_frames(blocks, known_estimate, forward, frames.mean(axis=0), 0.0)
    np.testing.assert_allclose(look.brightest, frames.max(axis=(1, 2)), rtol=1e-5)
    np.testing.assert_array_equal(look.as_bright, np.sum(frames == 900, axis=(1, 2)))
