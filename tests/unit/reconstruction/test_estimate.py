"""The forward model's pieces against their adjoints."""

import numpy as np
import pytest

from ptycho_plugin.reconstruction.blocks import make_blocks
from ptycho_plugin.reconstruction.estimate import Estimate, Views, intensity
from ptycho_plugin.reconstruction.fourier import to_detector

SIDE = 16


def random(rng, *shape):
    return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(np.complex64)


@pytest.fixture(params=[0.0, 0.3], ids=["on the grid", "between pixels"])
def block(request):
    positions = np.array([[0, 0], [3, 5], [7, 2], [3, 5]]) + request.param
    (block,) = make_blocks(np.ones((4, SIDE, SIDE), np.float32), positions, np.zeros((SIDE, SIDE)), modes=2)
    return block


def test_patches_and_their_sum_are_adjoint(block):
    rng = np.random.default_rng(0)
    views, object_, patches = Views(block), random(rng, 30, 30), random(rng, 4, SIDE, SIDE)
    total = np.zeros_like(object_)
    views.add_patches(total, patches)
    assert np.vdot(views.patches(object_)[:, 0], patches) == pytest.approx(np.vdot(object_, total), rel=1e-4)


def test_shifted_probes_and_their_sum_are_adjoint(block):
    rng = np.random.default_rng(1)
    views, probe_far, waves = Views(block), random(rng, 2, SIDE, SIDE), random(rng, 4, 2, SIDE, SIDE)
    total = np.zeros_like(probe_far)
    views.add_probes(total, waves.copy())
    probes = np.broadcast_to(views.probes(probe_far), waves.shape)
    assert np.vdot(probes, waves) == pytest.approx(np.vdot(probe_far, total), rel=1e-4)


def test_one_patch_for_all_frames_counts_once_for_each(block):
    total = np.zeros((30, 30), np.float32)
    Views(block).add_patches(total, np.ones((1, SIDE, SIDE), np.float32))
    assert total.sum() == 4 * SIDE**2


def test_the_model_is_the_definition_of_a_frame(known_scan, known_estimate, known_blocks, simulate):
    expected = simulate(noise=False).frames
    probe_far = to_detector(known_estimate.probe.copy())
    start = 0
    for block in known_blocks:
        views = Views(block)
        model = intensity(to_detector(views.probes(probe_far) * views.patches(known_estimate.object)))
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
