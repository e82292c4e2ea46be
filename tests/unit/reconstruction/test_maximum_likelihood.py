"""The gradient against finite differences; the descent against the likelihood itself."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ptycho_plugin.reconstruction.blocks import make_blocks
from ptycho_plugin.reconstruction.estimate import Estimate
from ptycho_plugin.reconstruction.kernels import DARK_COUNTS
from ptycho_plugin.reconstruction.maximum_likelihood import MaximumLikelihood, residual_of


@dataclass(frozen=True)
class Model:
    """How counts are said to come about, and the likelihood that follows from it."""

    noise: str
    background: float

    def negative_log_likelihood(self, frames, amplitudes):
        expected = frames.astype(float) + self.background + float(DARK_COUNTS)
        counts = np.where(amplitudes >= 0, amplitudes, 0).astype(float) ** 2
        if self.noise == "poisson":
            terms = expected - counts * np.log(expected)
        else:
            terms = (expected - counts) ** 2 / (2 * np.maximum(counts, 1))
        return np.sum(terms, where=amplitudes >= 0)


MODELS = [Model("poisson", 0.0), Model("poisson", 5.0), Model("gaussian", 0.0), Model("gaussian", 5.0)]


@pytest.fixture(params=MODELS, ids=lambda model: f"{model.noise}, {model.background:g} counts besides")
def model(request):
    return request.param


@pytest.fixture(params=[0.0, 0.3], ids=["on the grid", "between pixels"])
def blocks(request, known_scan, processor, model):
    frames = known_scan.frames[:12].astype(np.float32)
    frames += np.random.default_rng(9).poisson(model.background, frames.shape)
    frames[3, 5, 6] = -1
    noise = np.zeros(frames.shape[1:], np.float32)
    positions = known_scan.positions_px[:12] + request.param
    return list(make_blocks(frames, positions, noise, modes=1, machine=processor))


@pytest.fixture
def off_truth(known_estimate):
    rng = np.random.default_rng(8)
    blur = 1 + 0.05 * rng.standard_normal(known_estimate.object.shape)
    return Estimate(
        (known_estimate.object * blur).astype(np.complex64), known_estimate.probe * np.float32(1.02)
    )


@pytest.fixture
def start(blocks, processor, model):
    """An engine on the blocks: ``start(estimate)``."""
    return lambda estimate: MaximumLikelihood(
        estimate, blocks, processor, noise=model.noise, background=model.background
    )


@pytest.fixture
def likelihood(blocks, modelled_frames, model):
    """L of an estimate: ``likelihood(estimate)``."""
    return lambda estimate: sum(
        model.negative_log_likelihood(modelled_frames(estimate, block), block.amplitudes) for block in blocks
    )


@pytest.mark.parametrize("part", ["object", "probe"])
def test_gradient_against_finite_differences(off_truth, start, likelihood, part):
    """dL = 2 Re <gradient, direction>, the gradient being with respect to the conjugate."""
    gradient = start(off_truth).gradient().steepest
    direction = Estimate(np.zeros_like(off_truth.object), np.zeros_like(off_truth.probe))
    getattr(direction, part)[...] = getattr(gradient, part)
    step = 1e-3 * float(np.linalg.norm(getattr(off_truth, part)) / np.linalg.norm(getattr(gradient, part)))
    slope = likelihood(off_truth.plus(direction, step)) - likelihood(off_truth.plus(direction, -step))
    assert slope / (2 * step) == pytest.approx(2 * gradient.dot(direction), rel=0.02)


def test_every_step_descends(off_truth, start, likelihood):
    engine = start(off_truth)
    values = [likelihood(off_truth)]
    for _ in range(15):
        engine.step()
        values.append(likelihood(engine.estimate))
    assert (np.diff(values[:6]) < 0).all()
    assert (np.diff(values) < 1e-3 * (values[0] - values[-1])).all()


def plane_wave(shape, row, column):
    rows, columns = np.indices(shape)
    return np.exp(1j * (row * rows + column * columns))


@settings(max_examples=10)
@given(
    phase=st.floats(-3, 3),
    scale=st.floats(0.1, 10),
    ramp=st.tuples(st.floats(-0.3, 0.3), st.floats(-0.3, 0.3)),
    mixing=st.floats(-3, 3),
    noise=st.sampled_from(["poisson", "gaussian"]),
)
def test_what_no_frame_can_tell_changes_no_step(known_scan, processor, phase, scale, ramp, mixing, noise):
    """A phase, a factor, a ramp and a mixture of modes: stepping and changing the gauge commute."""
    frames = known_scan.frames[:12].astype(np.float32)
    dark = np.zeros(frames.shape[1:], np.float32)
    blocks = list(make_blocks(frames, known_scan.positions_px[:12], dark, modes=2, machine=processor))
    unitary = np.array([[np.cos(mixing), -np.sin(mixing)], [np.sin(mixing), np.cos(mixing)]])

    def other_gauge(estimate):
        object_, probe = estimate.object, np.einsum("mn,nrc->mrc", unitary, estimate.probe)
        object_ = object_ * plane_wave(object_.shape, *ramp) * np.exp(1j * phase) / scale
        probe = probe * plane_wave(probe.shape[1:], *ramp).conj() * scale
        return Estimate(object_.astype(np.complex64), probe.astype(np.complex64))

    def stepped(estimate):
        engine = MaximumLikelihood(estimate, blocks, processor, noise=noise)
        for _ in range(2):
            engine.step()
        return engine.estimate

    flat = np.ones(known_scan.object.shape, np.complex64)
    second = 0.3 * np.roll(known_scan.probe, 3, axis=1)
    start = Estimate(flat, np.concatenate([known_scan.probe, second]).astype(np.complex64))
    found, expected = stepped(other_gauge(start)), other_gauge(stepped(start))
    for name in ("object", "probe"):
        wanted = getattr(expected, name)
        assert np.linalg.norm(getattr(found, name) - wanted) < 1e-4 * np.linalg.norm(wanted)


def test_the_truth_explains_the_frames_to_the_noise(known_scan, known_estimate, known_blocks, processor):
    """R of the truth is what Poisson noise alone leaves: sum of min(1/4, I)-like terms over the counts."""
    frames = known_scan.frames
    expected = np.sqrt(np.sum(np.minimum(0.25, frames.mean(axis=0))) * len(frames) / frames.sum())
    assert residual_of(known_estimate, known_blocks, processor) == pytest.approx(expected, rel=0.15)


@pytest.mark.parametrize("background", [0.0, 5.0])
def test_residual_is_the_definition(
    known_scan, known_estimate, known_blocks, processor, simulate, background
):
    model = simulate(noise=False).frames.astype(float) + background
    counts = known_scan.frames.astype(float)
    expected = np.sqrt(np.sum((np.sqrt(model) - np.sqrt(counts)) ** 2) / counts.sum())
    found = residual_of(known_estimate, known_blocks, processor, background)
    assert found == pytest.approx(expected, rel=1e-3)
