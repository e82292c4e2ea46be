"""What the mean frame tells, against counts of a known background."""

import numpy as np
import pytest

from ptycho_plugin.errors import InputError, ReconstructionError
from ptycho_plugin.reconstruction.driver import Reconstruction
from ptycho_plugin.reconstruction.mean_frame import MeanFrame
from ptycho_plugin.reconstruction.options import ReconstructionOptions
from ptycho_plugin.reconstruction.whole_scan import reconstruct

RECIPE = {"difference_map_iterations": 40, "maximum_likelihood_iterations": 60}


def with_background(scan, counts):
    return scan.dataset(frames=(scan.frames + np.random.default_rng(3).poisson(counts, scan.frames.shape)))


@pytest.fixture(scope="module")
def found(known_scan):
    """The result with and without an estimate: ``found(counts)``."""

    def both(counts):
        dataset = with_background(known_scan, counts)
        recipes = (ReconstructionOptions(**RECIPE, estimate_background=yes) for yes in (True, False))
        return [reconstruct(dataset, recipe) for recipe in recipes]

    return both


def test_background_is_found_and_spares_the_phase(known_scan, found, phase_error):
    """Of five seeds the background was 3 to 4 % low, the darkest of 16 parts, and the error 0.34 to 0.36."""
    estimated, ignored = found(2.0)
    assert estimated.background == pytest.approx(2, rel=0.06)
    assert ignored.background == 0
    assert phase_error(estimated, known_scan) < 0.45 * phase_error(ignored, known_scan)
    light = known_scan.frames.sum() / len(known_scan.frames)
    assert np.sum(np.abs(estimated.probe) ** 2) == pytest.approx(light, rel=1e-3)


def test_few_counts_are_found_too(known_scan, found, phase_error):
    """Of five seeds 0.012 to 0.015, from 32 counts in the darkest part."""
    estimated, ignored = found(0.02)
    assert estimated.background == pytest.approx(0.02, abs=0.01)
    assert phase_error(estimated, known_scan) < 1.01 * phase_error(ignored, known_scan)


def test_no_background_is_none(known_scan, found):
    estimated, ignored = found(0.0)
    assert estimated.background < 1e-3
    np.testing.assert_allclose(estimated.object, ignored.object, atol=1e-3)


def test_parts_that_a_mask_takes_are_not_dark(forward):
    counts = np.full((3, 32, 32), 5, np.float32)
    counts[:, 10:20] = -1
    counts[:, :8, :8] = 4
    empty = MeanFrame(forward, 32, has_background=True)
    frame = empty.with_frames(counts)
    assert frame.background == 4


@pytest.fixture(scope="module")
def mean_of(forward):
    return lambda frames: MeanFrame(forward, 32).with_frames(frames.astype(np.float32))


@pytest.mark.parametrize("shift", [(0, 0), (3, -5), (-1, 14)])
@pytest.mark.parametrize("masked", [False, True])
def test_the_light_is_found_where_it_was_moved_to(known_scan, mean_of, shift, masked):
    frames = np.roll(known_scan.frames, shift, axis=(1, 2))
    if masked:
        frames[:, 12:15] = -1
    mean = mean_of(frames)
    likeness, found = mean.aligned_likeness(known_scan.probe)
    assert found == shift
    assert likeness > 0.97
    assert likeness == pytest.approx(mean.likeness(known_scan.probe), rel=1e-6) or shift != (0, 0)


def test_hot_pixels_are_counted_and_bright_light_is_not(known_scan, mean_of):
    assert mean_of(known_scan.frames).hot_pixels(known_scan.probe) == 0
    frames = known_scan.frames.copy()
    frames[:, 3, 28] = 400
    frames[50:, 29, 2] = 900
    assert mean_of(frames).hot_pixels(known_scan.probe) == 2
    plane = np.ones((1, 32, 32), np.complex64)  # all its light is in one pixel
    spot = np.full((10, 32, 32), 2)
    spot[:, 16, 16] = 10_000
    assert mean_of(spot).hot_pixels(plane) == 0


def test_a_pixel_of_few_counts_is_bright_by_chance(known_scan, mean_of):
    frames = np.zeros((4, 32, 32))
    frames[:, 10:22, 10:22] = 3
    frames[0, 2, 2] = 80
    assert mean_of(frames).hot_pixels(known_scan.probe) == 0
    frames[0, 2, 2] = 300
    assert mean_of(frames).hot_pixels(known_scan.probe) == 1


def test_nothing_but_background_is_told(known_scan):
    flat = known_scan.dataset(frames=np.full_like(known_scan.frames, 7))
    with pytest.raises(ReconstructionError, match="no pixel counted a photon more than another"):
        reconstruct(flat, ReconstructionOptions(estimate_background=True))


def test_a_near_field_has_no_dark_part(known_scan):
    near = known_scan.geometry.model_copy(update={"focus_to_sample": 1e-3})
    dataset = known_scan.dataset()
    with pytest.raises(InputError, match="no part of a near-field frame is dark"):
        Reconstruction(
            near, dataset.probe, dataset.positions, ReconstructionOptions(estimate_background=True)
        )
