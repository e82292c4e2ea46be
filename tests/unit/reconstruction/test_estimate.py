"""The forward model's pieces against their adjoints."""

import numpy as np
import pytest

from ptycho_plugin.reconstruction import kernels
from ptycho_plugin.reconstruction.blocks import make_blocks
from ptycho_plugin.reconstruction.estimate import Estimate, add_probes, probes_of, room_for

SIDE = 16


def random(rng, *shape):
    return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(np.complex64)


@pytest.fixture(params=[0.0, 0.3], ids=["on the grid", "between pixels"])
def block(request):
    positions = np.array([[0, 0], [3, 5], [7, 2], [3, 5]]) + request.param
    (block,) = make_blocks(np.ones((4, SIDE, SIDE), np.float32), positions, np.zeros((SIDE, SIDE)), modes=2)
    return block


def test_exit_waves_and_their_sum_in_the_object_are_adjoint(block):
    rng = np.random.default_rng(0)
    object_, waves = random(rng, 30, 30), random(rng, 4, 2, SIDE, SIDE)
    probes = probes_of(block, random(rng, 2, SIDE, SIDE), room_for(waves[0]))
    exits, total = np.empty_like(waves), np.zeros_like(object_)
    kernels.exit_waves(probes, object_, block.corners, exits)
    kernels.add_overlap(waves, probes, block.corners, total, np.zeros(total.shape, np.float32))
    assert np.vdot(exits, waves) == pytest.approx(np.vdot(object_, total), rel=1e-4)


def test_exit_waves_and_their_sum_in_the_probe_are_adjoint(block):
    rng = np.random.default_rng(1)
    object_, probe_far, waves = random(rng, 30, 30), random(rng, 2, SIDE, SIDE), random(rng, 4, 2, SIDE, SIDE)
    exits, total = np.empty_like(waves), np.zeros_like(probe_far)
    kernels.exit_waves(probes_of(block, probe_far, room_for(total)), object_, block.corners, exits)
    add_probes(block, waves, object_, total, np.zeros((SIDE, SIDE), np.float32), room_for(total))
    assert np.vdot(exits, waves) == pytest.approx(np.vdot(probe_far, total), rel=1e-4)


def test_one_probe_for_all_frames_counts_once_for_each(block):
    illumination, waves = np.zeros((30, 30), np.float32), np.zeros((4, 2, SIDE, SIDE), np.complex64)
    probes = np.ones((1, 2, SIDE, SIDE), np.complex64)
    kernels.add_overlap(waves, probes, block.corners, np.zeros((30, 30), np.complex64), illumination)
    assert illumination.sum() == 4 * 2 * SIDE**2


def test_the_model_is_the_definition_of_a_frame(
    known_scan, known_estimate, known_blocks, far_fields, simulate
):
    expected = simulate(noise=False).frames
    start = 0
    for block in known_blocks:
        model = np.sum(np.abs(far_fields(known_estimate, block)) ** 2, axis=1)
        frames = np.fft.fftshift(model, axes=(-2, -1))
        np.testing.assert_allclose(frames, expected[start : start + len(frames)], rtol=1e-3, atol=1e-2)
        start += len(frames)
    assert start == len(known_scan.frames)


def test_holding_the_power_leaves_the_exit_waves(known_estimate):
    held = known_estimate.with_probe_power(7.0)
    assert held.probe_power == pytest.approx(7.0, rel=1e-5)
    np.testing.assert_allclose(
        held.probe[0] * held.object[:32, :32],
        known_estimate.probe[0] * known_estimate.object[:32, :32],
        rtol=1e-3,
    )


def test_algebra():
    one = Estimate(np.full((2, 2), 1 + 1j, np.complex64), np.full((1, 2, 2), 2j, np.complex64))
    assert one.dot(one) == pytest.approx(4 * 2 + 4 * 4)
    np.testing.assert_allclose(one.plus(one, 0.5).probe, 3j)
