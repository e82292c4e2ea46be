"""Each kernel is its formula, for any number of frames and modes, with one probe for all or one for each."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptycho_plugin.reconstruction import kernels
from ptycho_plugin.reconstruction.fourier import shift_phases

DARK = np.float32(1e-6)
DARK_COUNTS = np.float32(0.5)
CLOSE = {"rtol": 1e-4, "atol": 1e-4}


@dataclass
class Case:
    """A block of frames, random throughout, and an object that their patches may share."""

    frames: int
    modes: int
    side: int
    shared: bool
    seed: int

    def __post_init__(self):
        self.rng = np.random.default_rng(self.seed)
        self.corners = self.rng.integers(0, 4, (self.frames, 2))
        self.object, self.object_step = self.waves(*self.object_shape), self.waves(*self.object_shape)
        probe_shape = (1 if self.shared else self.frames, *self.shape[1:])
        self.probes, self.probe_steps = self.waves(*probe_shape), self.waves(*probe_shape)
        self.exits = self.waves(*self.shape)
        frame_shape = (self.frames, self.side, self.side)
        self.amplitudes = self.rng.uniform(0, 3, frame_shape).astype(np.float32)
        self.measured = self.rng.uniform(size=frame_shape) < 0.8

    @property
    def shape(self):
        return self.frames, self.modes, self.side, self.side

    @property
    def object_shape(self):
        return self.side + 5, self.side + 3

    def waves(self, *shape):
        return (self.rng.standard_normal(shape) + 1j * self.rng.standard_normal(shape)).astype(np.complex64)

    def patches(self, object_):
        """O_j, ``(frame, 1, row, column)``."""
        return np.stack([object_[r : r + self.side, c : c + self.side] for r, c in self.corners])[:, None]

    def placed(self, patches):
        """Sum of ``(frame, mode, row, column)`` where the patches lie in the object."""
        total = np.zeros(self.object_shape, patches.dtype)
        for (r, c), patch in zip(self.corners, patches.sum(axis=1), strict=True):
            total[r : r + self.side, c : c + self.side] += patch
        return total

    def overlap(self, waves):
        """What one object would be seen to be, and how well it is lit."""
        probes = np.broadcast_to(self.probes, self.shape)
        return self.placed(probes.conj() * waves), self.placed(np.abs(probes) ** 2)

    def sums(self):
        """Room for `overlap`, not empty at first."""
        return np.ones(self.object_shape, np.complex64), np.ones(self.object_shape, np.float32)


cases = st.builds(
    Case,
    frames=st.integers(1, 4),
    modes=st.integers(1, 3),
    side=st.integers(1, 19),
    shared=st.booleans(),
    seed=st.integers(0, 99),
)


def intensity(far):
    return np.sum(np.abs(far) ** 2, axis=1)


@given(cases)
def test_shift_and_its_adjoint(case):
    shifts = shift_phases(case.rng.uniform(-0.5, 0.5, (case.frames, 2)), case.side)
    factors = (shifts[:, 0, :, None] * shifts[:, 1, None, :])[:, None]
    out, total = np.empty_like(case.exits), np.ones(case.shape[1:], np.complex64)
    kernels.shift(case.probes[0], shifts, out)
    np.testing.assert_allclose(out, case.probes[0] * factors, **CLOSE)
    kernels.add_shifted_back(case.exits, shifts, total)
    np.testing.assert_allclose(total, 1 + (factors.conj() * case.exits).sum(axis=0), **CLOSE)


@given(cases)
def test_exit_waves_and_their_reflection(case):
    products, reflected = np.empty_like(case.exits), np.empty_like(case.exits)
    kernels.exit_waves(case.probes, case.object, case.corners, products)
    np.testing.assert_allclose(products, case.probes * case.patches(case.object), **CLOSE)
    kernels.reflect(case.probes, case.object, case.corners, case.exits, reflected)
    np.testing.assert_allclose(reflected, 2 * products - case.exits, **CLOSE)


@given(cases, st.floats(0, 50))
def test_nearest_measured(case, noise):
    noise_power = np.full(case.frames, noise, np.float32)
    modulus = np.sqrt(intensity(case.exits))
    excess = np.where(case.measured, modulus - case.amplitudes, 0)
    distance = np.maximum(np.sum(excess**2, axis=(1, 2)), 1e-30)
    way = (1 - np.sqrt(np.minimum(1, noise / distance)))[:, None, None]
    expected = case.exits * (1 - way * excess / np.maximum(modulus, DARK))[:, None]
    kernels.nearest_measured(case.exits, case.amplitudes, case.measured, noise_power, DARK)
    np.testing.assert_allclose(case.exits, expected, **CLOSE)


@given(cases)
def test_advance(case):
    nearest, (overlap, illumination) = case.waves(*case.shape), case.sums()
    step = nearest - case.probes * case.patches(case.object)
    expected = case.exits + step
    distance = kernels.advance(
        case.exits, nearest, case.probes, case.object, case.corners, overlap, illumination
    )
    assert distance == pytest.approx(np.sum(np.abs(step) ** 2), rel=1e-4, abs=1e-5)
    np.testing.assert_allclose(case.exits, expected, **CLOSE)
    for found, wanted in zip((overlap, illumination), case.overlap(expected), strict=True):
        np.testing.assert_allclose(found, 1 + wanted, **CLOSE)


@given(cases)
def test_overlap(case):
    overlap, illumination = case.sums()
    kernels.add_overlap(case.exits, case.probes, case.corners, overlap, illumination)
    for found, wanted in zip((overlap, illumination), case.overlap(case.exits), strict=True):
        np.testing.assert_allclose(found, 1 + wanted, **CLOSE)


@given(cases, st.booleans())
def test_transmission(case, in_place):
    patches = case.patches(case.object)
    expected = patches.conj() * case.exits
    expected = expected.sum(axis=0, keepdims=True) if case.shared else expected
    out = case.exits[: len(expected)] if in_place else np.empty_like(expected)
    transmission = np.ones((case.side, case.side), np.float32)
    kernels.add_transmission(case.exits, case.object, case.corners, out, transmission)
    np.testing.assert_allclose(out, expected, **CLOSE)
    np.testing.assert_allclose(transmission, 1 + np.sum(np.abs(patches[:, 0]) ** 2, axis=0), **CLOSE)


@given(cases, st.booleans())
def test_compare(case, in_place):
    model = intensity(case.exits)
    slope = np.where(case.measured, 1 - case.amplitudes**2 / (model + DARK_COUNTS), 0)
    expected = slope[:, None] * case.exits
    distance = np.sum((np.sqrt(model) - case.amplitudes) ** 2, where=case.measured)
    out = case.exits if in_place else np.empty_like(case.exits)
    found = kernels.compare(case.exits, case.amplitudes, case.measured, DARK_COUNTS, out)
    assert found == pytest.approx(distance, rel=1e-4, abs=1e-5)
    np.testing.assert_allclose(out, expected, **CLOSE)


@given(cases)
def test_change_of_exit_waves(case):
    out = np.empty_like(case.exits)
    kernels.change_of_exit_waves(
        case.probes, case.probe_steps, case.object, case.object_step, case.corners, out
    )
    expected = case.probes * case.patches(case.object_step) + case.probe_steps * case.patches(case.object)
    np.testing.assert_allclose(out, expected, **CLOSE)


@given(cases)
def test_expansion(case):
    change, model = case.waves(*case.shape), intensity(case.exits) + DARK_COUNTS
    growth = 2 * np.sum((case.exits.conj() * change).real, axis=1)
    slope = np.sum((1 - case.amplitudes**2 / model) * growth, where=case.measured)
    curvature = np.sum(growth**2 / model, where=case.measured)
    found = kernels.expand(case.exits, change, case.amplitudes, case.measured, DARK_COUNTS)
    scale = np.sum(np.abs(growth)) + 1
    np.testing.assert_allclose(found, (slope, curvature), rtol=1e-4, atol=1e-5 * scale)


def test_step_lengths_are_summed_in_double_precision():
    """A million small terms beside a large one: float32 would lose them."""
    amplitudes = np.zeros((1, 1000, 1000), np.float32)
    far = np.full((1, 1, 1000, 1000), 1e-2, np.complex64)
    far[0, 0, 0, :] = 1e3
    found = kernels.compare(far, amplitudes, np.ones(amplitudes.shape, bool), DARK_COUNTS, far)
    assert found == pytest.approx(1e3 * 1e6 + 999_000 * 1e-4, rel=1e-9)
