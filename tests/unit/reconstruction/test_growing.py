"""Frames that come one by one: what comes of them depends on their order, and on nothing else."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ptycho_plugin.errors import ReconstructionError
from ptycho_plugin.reconstruction.growing import GrowingReconstruction
from ptycho_plugin.reconstruction.options import ReconstructionOptions

OPTIONS = ReconstructionOptions(
    difference_map_iterations=3,
    maximum_likelihood_iterations=2,
    frames_to_start=4,
    frames_per_step=3,
    iterations_per_step=2,
)


@pytest.fixture(scope="module")
def scan():
    """Eleven frames of 16 x 16 counts."""
    from ptycho_plugin.geometry import Geometry

    rng = np.random.default_rng(3)
    geometry = Geometry(energy_eV=6200.0, distance=2.236, detector_pixel=172e-6, frame_side=16)
    probe = rng.normal(size=(1, 16, 16, 2)).view(np.complex128)[..., 0].astype(np.complex64)
    frames = rng.poisson(20, (11, 16, 16)).astype(np.float32)
    return geometry, probe, rng.uniform(0, 6e-7, (11, 2)), frames


def grown(scan, parts, *, iterate):
    """Return what comes of frames that come in parts, some iterations after each."""
    geometry, probe, positions, frames = scan
    growing = GrowingReconstruction(geometry, probe, positions, OPTIONS)
    for start, stop in pairwise(parts):
        growing.add(frames[start:stop], positions[start:stop])
        for _ in range(iterate):
            if growing.is_due:
                growing.iterate()
    return growing.finish()


@pytest.fixture(scope="module")
def one_by_one(scan):
    return grown(scan, range(12), iterate=2)


def test_it_iterates_step_by_step_and_tells_on_what(one_by_one):
    assert one_by_one.frames_used.tolist() == [4, 4, 7, 7, 10, 10] + [11] * 5
    assert len(one_by_one.errors) == len(one_by_one.frames_used)


@settings(max_examples=12, deadline=None)
@given(cuts=st.sets(st.integers(1, 10)), iterate=st.integers(0, 3))
def test_when_frames_came_makes_no_bit_of_difference(scan, one_by_one, cuts, iterate):
    result = grown(scan, [0, *sorted(cuts), 11], iterate=iterate)
    for name in ("slices", "probe", "positions", "errors", "frames_used", "trusted"):
        np.testing.assert_array_equal(getattr(result, name), getattr(one_by_one, name))


def test_another_order_is_another_result(scan, one_by_one):
    geometry, probe, positions, frames = scan
    order = np.roll(np.arange(11), 5)
    other = grown((geometry, probe, positions[order], frames[order]), [0, 11], iterate=0)
    assert not np.array_equal(other.errors, one_by_one.errors)


def test_frames_outside_are_told_and_left_out(scan):
    geometry, probe, positions, frames = scan
    growing = GrowingReconstruction(geometry, probe, positions, OPTIONS)
    moved = positions.copy()
    moved[[5, 9]] += 1e-3
    growing.add(frames, moved)
    result = growing.finish()
    assert len(result.positions) == 9
    assert result.frames_used.tolist() == [4, 4, 6, 6, 8, 8] + [9] * 5
    np.testing.assert_array_equal(growing.outside, moved[[5, 9]])


def test_a_scan_smaller_than_a_step_is_whole(scan):
    geometry, probe, positions, frames = scan
    growing = GrowingReconstruction(geometry, probe, positions, OPTIONS)
    growing.add(frames[:2], positions[:2])
    assert not growing.is_due
    assert len(growing.finish().positions) == 2


def test_nothing_is_nothing(scan):
    geometry, probe, positions, _ = scan
    with pytest.raises(ReconstructionError, match="no frame lies in the planned scan"):
        GrowingReconstruction(geometry, probe, positions, OPTIONS).finish()
