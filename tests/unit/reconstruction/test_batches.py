"""Batches hold every frame once, next to its neighbours, whatever the order they came in."""

import numpy as np
import pytest

from ptycho_plugin.reconstruction.batches import compact_batches
from ptycho_plugin.reconstruction.machine import Namespace

SHAPE = (88, 88)


@pytest.fixture
def batches(known_blocks, processor):
    return compact_batches(known_blocks, SHAPE, 20, processor)


def frames_of(batches):
    """Corner in the object and amplitudes of each frame, in the batches' order."""
    return [
        (block.corners[j] + [side.start for side in batch.window], block.amplitudes[j])
        for batch in batches
        for block in batch.blocks
        for j in range(block.frames)
    ]


def test_every_frame_is_in_one_batch(batches, known_blocks):
    found = {tuple(corner): amplitudes for corner, amplitudes in frames_of(batches)}
    assert len(found) == len(frames_of(batches)) == 100
    for block in known_blocks:
        for corner, amplitudes in zip(block.corners, block.amplitudes, strict=True):
            np.testing.assert_array_equal(found[tuple(corner)], amplitudes)
    assert sum(batch.power for batch in batches) == pytest.approx(sum(block.power for block in known_blocks))


def test_batches_are_compact_and_their_windows_alike(batches):
    """A fifth of a square scan of 49 px, and frames of 32 px: no batch spans the scan both ways."""
    assert [len(batch.corners) for batch in batches] == [20] * 5
    assert len({tuple(side.stop - side.start for side in batch.window) for batch in batches}) == 1
    for batch in batches:
        assert np.ptp(batch.corners, axis=0).min() < 25
        assert batch.corners.min() >= 0
        assert all(0 <= side.start < side.stop <= 88 for side in batch.window)
        assert (batch.corners.max(axis=0) + 32 <= [side.stop - side.start for side in batch.window]).all()


def test_shares_of_a_batch_are_even(batches, processor):
    for batch in batches:
        sizes = [block.frames for block in batch.blocks]
        assert len(sizes) == processor.partial_sums
        assert max(sizes) - min(sizes) <= 1


def test_the_order_of_arrival_does_not_matter(known_scan, forward, blocks_of, batches):
    order = np.random.default_rng(3).permutation(100)
    frames = known_scan.frames[order].astype(np.float32)
    blocks = blocks_of(forward, frames, known_scan.positions_px[order])
    for one, other in zip(
        frames_of(compact_batches(blocks, SHAPE, 20, forward.machine)), frames_of(batches), strict=True
    ):
        np.testing.assert_array_equal(one[0], other[0])
        np.testing.assert_array_equal(one[1], other[1])


def test_frames_on_the_grid_and_off_it_may_meet(known_scan, forward, blocks_of):
    """A block of both has shifts for all: those that move nothing, for frames on the grid."""
    machine = Namespace(np)  # one block a batch
    frames, positions = known_scan.frames[:2].astype(np.float32), known_scan.positions_px[:2]
    on_grid, off_grid = (blocks_of(forward, frames, positions + moved) for moved in (0, 0.25))
    (batch,) = compact_batches([*on_grid, *off_grid], SHAPE, 20, machine)
    (block,) = batch.blocks
    assert np.all(np.isclose(block.shifts, 1 / 32), axis=(1, 2)).sum() == 2
    (still,) = compact_batches(on_grid, SHAPE, 20, machine)
    assert still.blocks[0].shifts is None
