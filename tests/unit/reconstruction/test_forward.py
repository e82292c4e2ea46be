"""The forward model against its definition, its adjoint and its derivative."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptycho_plugin.geometry import Geometry
from ptycho_plugin.optics import fresnel_factors
from ptycho_plugin.reconstruction.estimate import Estimate
from ptycho_plugin.reconstruction.forward import ForwardModel, Sums


def random(rng, *shape):
    return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(np.complex64)


def geometry(side, near=False):
    focus = 1e-3 if near else None
    return Geometry(
        energy_eV=6200, distance=2.2, detector_pixel=172e-6, frame_side=side, focus_to_sample=focus
    )


class Setting:
    """Frames somewhere in an object, an estimate, and waves to hold against its exit waves."""

    def __init__(self, machine, blocks_of, side, modes, slices, positions, seed):
        rng, frames = np.random.default_rng(seed), len(positions)
        self.forward = ForwardModel(machine, geometry(side), slice_distance=2e-5)
        counts = np.ones((frames, side, side), np.float32)
        self.block = blocks_of(self.forward, counts, np.array(positions), modes=modes)[0]
        self.estimate = Estimate(random(rng, slices, side + 8, side + 8), random(rng, modes, side, side))
        self.waves = random(rng, self.block.frames, modes, side, side)
        self.exits = np.empty_like(self.waves)
        self.incoming = self.forward.exit_waves(
            self.block, self.probes_of(self.estimate), self.estimate.object, self.exits
        )

    def probes_of(self, estimate, room="probes"):
        return self.forward.probes(self.block, estimate, self.forward.probe_far(estimate), room)

    def sums(self):
        object_, (modes, side, _) = self.estimate.object, self.estimate.probe.shape
        probe = self.forward.machine.waves((2, modes, side, side))
        light = np.zeros((side, side), np.float32)
        return Sums(np.zeros_like(object_), np.zeros(object_.shape, np.float32), probe, light)

    def agree(self, inner, wave):
        """Whether <A x, waves> is an inner product, to single precision."""
        scale = float(np.linalg.norm(wave) * np.linalg.norm(self.waves))
        return inner == pytest.approx(np.vdot(wave, self.waves), abs=1e-5 * scale)


coordinate = st.floats(0.5, 6.5)
settings = {
    "side": st.sampled_from([8, 15, 16]),
    "modes": st.integers(1, 3),
    "slices": st.integers(1, 3),
    "positions": st.lists(st.tuples(coordinate, coordinate), min_size=1, max_size=6),
    "on_grid": st.booleans(),
    "seed": st.integers(0, 99),
}


@given(**settings)
def test_collecting_is_the_adjoint_of_a_small_change(
    processor, blocks_of, side, modes, slices, positions, on_grid, seed
):
    """Of object and probe together, through every slice and the sub-pixel shift."""
    positions = np.rint(positions) if on_grid else positions
    setting = Setting(processor, blocks_of, side, modes, slices, positions, seed)
    rng = np.random.default_rng(seed + 100)
    step = Estimate(random(rng, *setting.estimate.object.shape), random(rng, modes, side, side))
    change, sums = np.empty_like(setting.waves), setting.sums()
    setting.forward.change_of_exit_waves(
        setting.block,
        setting.incoming,
        setting.probes_of(step, "steps"),
        setting.estimate.object,
        step.object,
        change,
    )
    setting.forward.collect(
        setting.block, setting.waves.copy(), setting.incoming, setting.estimate.object, sums
    )
    inner = np.vdot(step.object, sums.object) + np.vdot(step.probe, setting.forward.summed_probe(sums.probe))
    assert setting.agree(inner, change)
    assert sums.illumination[0].sum() == pytest.approx(
        setting.block.frames * setting.estimate.probe_power, rel=1e-4
    )


@given(**settings)
def test_a_small_change_is_the_derivative(
    processor, blocks_of, side, modes, slices, positions, on_grid, seed
):
    positions = np.rint(positions) if on_grid else positions
    setting = Setting(processor, blocks_of, side, modes, slices, positions, seed)
    change = np.empty_like(setting.waves)
    setting.forward.change_of_exit_waves(
        setting.block,
        setting.incoming,
        setting.probes_of(setting.estimate, "steps"),
        setting.estimate.object,
        np.zeros_like(setting.estimate.object),
        change,
    )
    np.testing.assert_allclose(change, setting.exits, rtol=1e-3, atol=1e-3)
    setting.forward.change_of_exit_waves(
        setting.block,
        setting.incoming,
        np.zeros_like(setting.probes_of(setting.estimate, "steps")),
        setting.estimate.object,
        setting.estimate.object,
        change,
    )
    np.testing.assert_allclose(change, slices * setting.exits, rtol=1e-3, atol=5e-3)


def test_free_space_is_additive_and_spreads_a_focus():
    """A Gaussian of waist w is sqrt(2) times as wide after the Rayleigh length."""
    side, pixel, wavelength, waist = 128, 1e-8, 2e-10, 8e-8
    rayleigh = np.pi * waist**2 / wavelength
    once = fresnel_factors(side, pixel, wavelength, rayleigh / 2)
    whole = fresnel_factors(side, pixel, wavelength, rayleigh)
    np.testing.assert_allclose(once**2, whole, atol=1e-5)
    x = (np.arange(side) - side // 2) * pixel
    radius2 = x[:, None] ** 2 + x**2
    wave = np.fft.ifft2(np.fft.fft2(np.exp(-radius2 / waist**2)) * whole)
    intensity = np.abs(wave) ** 2
    spread = np.sqrt(np.sum(radius2 * intensity) / np.sum(intensity))
    assert spread == pytest.approx(waist, rel=1e-3)  # sqrt(<r^2>) of a waist is w / sqrt(2)
    ring = wave[side // 2, side // 2 :]
    assert np.angle(ring[8] / ring[0]) > 0  # diverging: the wavefront lags behind off the axis


def test_the_model_is_the_definition_of_a_frame(
    known_scan, known_estimate, known_blocks, forward, modelled_frames, simulate
):
    expected = simulate(noise=False).frames
    start = 0
    for block in known_blocks:
        frames = np.fft.fftshift(modelled_frames(forward, known_estimate, block), axes=(-2, -1))
        np.testing.assert_allclose(frames, expected[start : start + len(frames)], rtol=1e-3, atol=1e-2)
        start += len(frames)
    assert start == len(known_scan.frames)


def test_unmeasured_pixels_have_no_amplitude_and_no_noise(forward, blocks_of):
    counts = np.full((2, 4, 4), 9, np.float32)
    counts[1, 2, 2] = -1
    (block,) = blocks_of(forward, counts, np.zeros((2, 2)), noise=0.25)
    assert block.amplitudes[1, 0, 0] == -1
    assert np.count_nonzero(block.amplitudes == 3) == 31
    assert block.noise_power.tolist() == [4, 3.75]
    assert block.power == 31 * 9
