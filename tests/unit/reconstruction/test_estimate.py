"""The forward model's pieces against their adjoints."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptycho_plugin.reconstruction import kernels
from ptycho_plugin.reconstruction.blocks import make_blocks
from ptycho_plugin.reconstruction.estimate import (
    Estimate,
    Totals,
    add_to_probe,
    probe_far,
    probes_of,
    summed_probe,
)


def random(rng, *shape):
    return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(np.complex64)


class Setting:
    """Frames somewhere in an object, an estimate, and waves to hold against its exit waves."""

    def __init__(self, machine, side, modes, positions, seed):
        rng, frames = np.random.default_rng(seed), len(positions)
        counts = np.ones((frames, side, side), np.float32)
        noise = np.zeros((side, side), np.float32)
        (self.block,) = make_blocks(counts, np.array(positions), noise, modes, machine)
        self.estimate = Estimate(random(rng, side + 8, side + 8), random(rng, modes, side, side))
        self.waves = random(rng, frames, modes, side, side)
        self.probes = probes_of(self.block, self.estimate, probe_far(self.estimate, machine), machine)
        self.exits = np.empty_like(self.waves)
        kernels.exit_waves(self.probes, self.estimate.object, self.block.corners, self.exits)

    def agree(self, inner):
        """Whether <A x, waves> is an inner product, to single precision."""
        scale = float(np.linalg.norm(self.exits) * np.linalg.norm(self.waves))
        return inner == pytest.approx(np.vdot(self.exits, self.waves), abs=1e-5 * scale)


coordinate = st.floats(0.5, 6.5)
settings = {
    "side": st.sampled_from([1, 7, 16]),
    "modes": st.integers(1, 3),
    "positions": st.lists(st.tuples(coordinate, coordinate), min_size=1, max_size=6),
    "on_grid": st.booleans(),
    "seed": st.integers(0, 99),
}


@given(**settings)
def test_exit_waves_and_their_sum_in_the_object_are_adjoint(processor, side, modes, positions, on_grid, seed):
    setting = Setting(processor, side, modes, np.rint(positions) if on_grid else positions, seed)
    total, light = np.zeros_like(setting.estimate.object), np.zeros(setting.estimate.object.shape, np.float32)
    kernels.to_object(setting.waves, setting.probes, setting.block.corners, total, light)
    assert setting.agree(np.vdot(setting.estimate.object, total))
    assert light.sum() == pytest.approx(len(positions) * setting.estimate.probe_power, rel=1e-4)


@given(**settings)
def test_exit_waves_and_their_sum_in_the_probe_are_adjoint(processor, side, modes, positions, on_grid, seed):
    """The sub-pixel shift, which lies between them, included."""
    setting = Setting(processor, side, modes, np.rint(positions) if on_grid else positions, seed)
    sums, transmission = processor.waves((2, modes, side, side)), np.zeros((side, side), np.float32)
    add_to_probe(setting.block, setting.waves, setting.estimate.object, processor, sums, transmission)
    assert setting.agree(np.vdot(setting.estimate.probe, summed_probe(sums, processor)))


def test_the_model_is_the_definition_of_a_frame(
    known_scan, known_estimate, known_blocks, modelled_frames, simulate
):
    expected = simulate(noise=False).frames
    start = 0
    for block in known_blocks:
        frames = np.fft.fftshift(modelled_frames(known_estimate, block), axes=(-2, -1))
        np.testing.assert_allclose(frames, expected[start : start + len(frames)], rtol=1e-3, atol=1e-2)
        start += len(frames)
    assert start == len(known_scan.frames)


def test_unmeasured_pixels_have_no_amplitude_and_no_noise(processor):
    counts = np.full((2, 4, 4), 9, np.float32)
    counts[1, 2, 2] = -1
    noise = np.full((4, 4), 0.25, np.float32)
    (block,) = make_blocks(counts, np.zeros((2, 2)), noise, modes=1, machine=processor)
    assert block.amplitudes[1, 0, 0] == -1
    assert np.count_nonzero(block.amplitudes == 3) == 31
    assert block.noise_power.tolist() == [4, 3.75]
    assert block.power == 31 * 9


def test_totals_add_up_the_shares_and_start_anew_when_cleared(processor):
    totals = Totals(processor, np.ones((2, 2), np.complex64), np.ones(3, np.float32))
    for _ in range(2):
        for share in range(processor.partial_sums):
            waves, light = totals.cleared(share)
            waves += 1j
            light += share
        waves, light = totals.total()
        np.testing.assert_array_equal(waves, np.full((2, 2), 8j, np.complex64))
        np.testing.assert_array_equal(light, np.full(3, 28, np.float32))


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
