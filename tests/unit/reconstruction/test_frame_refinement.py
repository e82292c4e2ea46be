"""Positions and intensities of frames against what they were simulated with."""

import numpy as np
import pytest

from ptycho_plugin.reconstruction import driver
from ptycho_plugin.reconstruction.options import ReconstructionOptions
from ptycho_plugin.reconstruction.whole_scan import reconstruct

RECIPE = {"difference_map_iterations": 20, "maximum_likelihood_iterations": 120}
ERROR_PX = 0.7


def rms_px(positions, scan):
    off = positions / scan.geometry.object_pixel - scan.positions_px
    return float(np.sqrt(np.mean((off - off.mean(axis=0)) ** 2)))


def scatter(values, positions_px):
    """Standard deviation of what a quadratic trend over the scan leaves."""
    row, column = (positions_px - positions_px.mean(axis=0)).T / 30
    trend = np.stack([row**a * column**b for a in range(3) for b in range(3 - a)], axis=1)
    return float(np.std(values - trend @ np.linalg.lstsq(trend, values, rcond=None)[0]))


@pytest.fixture
def wrong_positions(known_scan):
    rng = np.random.default_rng(4)
    moved = known_scan.positions_px + rng.normal(0, ERROR_PX, known_scan.positions_px.shape)
    return moved * known_scan.geometry.object_pixel


def test_positions_are_found_again(known_scan, wrong_positions, phase_error):
    pixel = known_scan.geometry.object_pixel
    dataset = known_scan.dataset(positions=wrong_positions)
    trusting = reconstruct(dataset, ReconstructionOptions(**RECIPE))
    refined = reconstruct(dataset, ReconstructionOptions(**RECIPE, position_tolerance=4 * ERROR_PX * pixel))
    assert rms_px(trusting.positions, known_scan) > 0.9 * ERROR_PX
    assert rms_px(refined.positions, known_scan) < 0.15
    assert refined.residual < 0.5 * trusting.residual
    assert phase_error(refined, known_scan) < 0.5 * phase_error(trusting, known_scan)
    np.testing.assert_array_equal(refined.positions_measured, wrong_positions)
    np.testing.assert_allclose(np.ptp(refined.positions / pixel - refined.positions_px, axis=0), 0, atol=1e-6)


def test_no_position_leaves_its_tolerance(known_scan, wrong_positions):
    pixel = known_scan.geometry.object_pixel
    options = ReconstructionOptions(**RECIPE, position_tolerance=0.3 * pixel)
    refined = reconstruct(known_scan.dataset(positions=wrong_positions), options)
    way_px = np.linalg.norm(refined.positions - refined.positions_measured, axis=1) / pixel
    assert 0.29 < way_px.max() < 0.3 + 1e-6


def test_right_positions_stay(known_scan, phase_error):
    dataset = known_scan.dataset()
    trusting = reconstruct(dataset, ReconstructionOptions(**RECIPE))
    tolerance = 3 * known_scan.geometry.object_pixel
    refined = reconstruct(dataset, ReconstructionOptions(**RECIPE, position_tolerance=tolerance))
    assert rms_px(refined.positions, known_scan) < 0.05
    assert phase_error(refined, known_scan) < 1.2 * phase_error(trusting, known_scan)


def test_large_errors_are_found_and_the_object_with_them(known_scan, phase_error):
    """1.5 px in each direction, a sixth of the beam's width: trusted positions give no object at all."""
    pixel, rng = known_scan.geometry.object_pixel, np.random.default_rng(4)
    moved = (known_scan.positions_px + rng.normal(0, 1.5, known_scan.positions_px.shape)) * pixel
    dataset = known_scan.dataset(positions=moved)
    trusting = reconstruct(dataset, ReconstructionOptions(**RECIPE))
    refined = reconstruct(dataset, ReconstructionOptions(**RECIPE, position_tolerance=7.5 * pixel))
    assert rms_px(refined.positions, known_scan) < 0.45
    assert phase_error(refined, known_scan) < 0.5 * phase_error(trusting, known_scan)
    assert refined.at_tolerance == 0


@pytest.mark.parametrize(("corner", "error_px"), [(0, 7), (9, -7)])
def test_a_stray_at_the_rim_is_found_by_what_others_know(known_scan, monkeypatch, corner, error_px):
    """Its own likelihood prefers it where the object has grown around it: on this scan, not on every one."""
    pixel, moved_px = known_scan.geometry.object_pixel, known_scan.positions_px.copy()
    moved_px[corner, 1] += error_px
    dataset = known_scan.dataset(positions=moved_px * pixel)
    options = ReconstructionOptions(**RECIPE, position_tolerance=9 * pixel)
    found = reconstruct(dataset, options)
    monkeypatch.setattr(driver, "SEARCHES_FOR_STRAYS", ())
    believed = reconstruct(dataset, options)
    assert rms_px(found.positions, known_scan) < 0.2
    assert rms_px(believed.positions, known_scan) > 0.5


def test_a_wrong_orientation_is_not_hidden(known_scan):
    """The trap of refinement, a low R by a ruined object: frames stop at their tolerance, and it shows."""
    pixel = known_scan.geometry.object_pixel
    options = ReconstructionOptions(**RECIPE, position_tolerance=4 * pixel)
    right = reconstruct(known_scan.dataset(), options)
    turned = reconstruct(known_scan.dataset(positions=known_scan.positions_px[:, ::-1] * pixel), options)
    assert turned.residual > 4 * right.residual
    assert turned.at_tolerance > 0.1
    assert right.at_tolerance == 0


def test_weak_frames_do_not_ruin_the_object(simulate, phase_error):
    """A thousand photons a frame, positions right, and leave to move by half a beam."""
    scan = simulate(photons=1e3)
    pixel = scan.geometry.object_pixel
    trusting = reconstruct(scan.dataset(), ReconstructionOptions(**RECIPE))
    refined = reconstruct(scan.dataset(), ReconstructionOptions(**RECIPE, position_tolerance=4.5 * pixel))
    assert rms_px(refined.positions, scan) < 0.8
    assert phase_error(refined, scan) < 1.3 * phase_error(trusting, scan)


def test_intensities_are_found(known_scan):
    rng = np.random.default_rng(6)
    beam = rng.uniform(0.7, 1.3, len(known_scan.frames))
    beam /= beam.mean()
    frames = rng.poisson(known_scan.frames * beam[:, None, None]).astype(np.int32)
    dataset = known_scan.dataset(frames=frames)
    steady = reconstruct(dataset, ReconstructionOptions(**RECIPE))
    refined = reconstruct(dataset, ReconstructionOptions(**RECIPE, refine_intensities=True))
    np.testing.assert_array_equal(steady.intensities, 1)
    # A trend across the scan the object's modulus explains as well: only the scatter can be found.
    assert scatter(refined.intensities / beam, known_scan.positions_px) < 0.1 * np.std(beam)
    assert scatter(steady.intensities / beam, known_scan.positions_px) > 0.9 * np.std(beam)
    assert refined.residual < 0.5 * steady.residual
