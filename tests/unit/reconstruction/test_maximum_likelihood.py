"""The gradient against finite differences; the descent against the likelihood itself."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ptycho_plugin.reconstruction.estimate import Estimate
from ptycho_plugin.reconstruction.forward import ForwardModel
from ptycho_plugin.reconstruction.frame_refinement import FrameRefinement
from ptycho_plugin.reconstruction.gauge import in_slices
from ptycho_plugin.reconstruction.kernels import DARK_COUNTS
from ptycho_plugin.reconstruction.maximum_likelihood import MaximumLikelihood, residual_of


@dataclass(frozen=True)
class Model:
    """How counts are said to come about, and the likelihood that follows from it."""

    noise: str
    background: float
    smoothness: float = 0.0

    def __str__(self):
        prior = ", a smooth object" if self.smoothness else ""
        return f"{self.noise}, {self.background:g} counts besides{prior}"

    def negative_log_likelihood(self, frames, amplitudes):
        expected = frames.astype(float) + max(self.background, float(DARK_COUNTS))
        counts = np.where(amplitudes >= 0, amplitudes, 0).astype(float) ** 2
        if self.noise == "poisson":
            terms = expected - counts * np.log(expected)
        else:
            terms = (expected - counts) ** 2 / (2 * np.maximum(counts, 1))
        return np.sum(terms, where=amplitudes >= 0)

    def prior(self, object_):
        return self.smoothness * sum(np.sum(np.abs(np.diff(object_, axis=axis)) ** 2) for axis in (1, 2))


MODELS = [
    Model("poisson", 0.0),
    Model("poisson", 5.0),
    Model("gaussian", 0.0),
    Model("gaussian", 5.0),
    Model("poisson", 0.0, smoothness=1e3),
]


@pytest.fixture(params=MODELS, ids=str)
def model(request):
    return request.param


@dataclass(frozen=True)
class Sample:
    """Where frames are seen, and through how many slices."""

    focus_to_sample: float | None
    slices: int


SAMPLES = {
    "far field": Sample(None, 1),
    "two slices": Sample(None, 2),
    "near field": Sample(1e-3, 1),
    "two slices in the near field": Sample(1e-3, 2),
}


@pytest.fixture(params=SAMPLES.values(), ids=SAMPLES.keys())
def sample(request):
    return request.param


@pytest.fixture
def forward(known_scan, processor, sample):
    geometry = known_scan.geometry.model_copy(update={"focus_to_sample": sample.focus_to_sample})
    return ForwardModel(processor, geometry, slice_distance=2e-5)


@pytest.fixture(params=[0.0, 0.3], ids=["on the grid", "between pixels"])
def blocks(request, known_scan, forward, blocks_of, model):
    frames = known_scan.frames[:12].astype(np.float32)
    frames += np.random.default_rng(9).poisson(model.background, frames.shape)
    frames[3, 5, 6] = -1
    return blocks_of(forward, frames, known_scan.positions_px[:12] + request.param)


@pytest.fixture
def off_truth(known_estimate, sample):
    rng = np.random.default_rng(8)
    sliced = in_slices(known_estimate, sample.slices)
    blur = 1 + 0.05 * rng.standard_normal(sliced.object.shape)
    return Estimate((sliced.object * blur).astype(np.complex64), sliced.probe * np.float32(1.02))


@pytest.fixture
def start(blocks, forward, model):
    """An engine on the blocks: ``start(estimate)``."""
    return lambda estimate: MaximumLikelihood(
        estimate,
        blocks,
        forward,
        noise=model.noise,
        background=model.background,
        smoothness=model.smoothness,
    )


@pytest.fixture
def likelihood(blocks, forward, modelled_frames, model):
    """L of an estimate, its prior included: ``likelihood(estimate)``."""

    def total(estimate):
        frames = (modelled_frames(forward, estimate, block) for block in blocks)
        return model.prior(estimate.object.astype(np.complex128)) + sum(
            model.negative_log_likelihood(expected, block.amplitudes)
            for expected, block in zip(frames, blocks, strict=True)
        )

    return total


@pytest.mark.parametrize("part", ["object", "probe"])
def test_gradient_against_finite_differences(off_truth, start, likelihood, part):
    """dL = 2 Re <gradient, direction>, the gradient being with respect to the conjugate."""
    gradient = start(off_truth).gradient().steepest
    direction = Estimate(np.zeros_like(off_truth.object), np.zeros_like(off_truth.probe))
    getattr(direction, part)[...] = getattr(gradient, part)
    step = 1e-3 * float(np.linalg.norm(getattr(off_truth, part)) / np.linalg.norm(getattr(gradient, part)))
    slope = likelihood(off_truth.plus(direction, step)) - likelihood(off_truth.plus(direction, -step))
    assert slope / (2 * step) == pytest.approx(2 * gradient.dot(direction), rel=0.02)


@pytest.mark.parametrize(
    "sample", [SAMPLES["far field"], SAMPLES["two slices"]], indirect=True, ids=["thin", "thick"]
)
def test_slope_along_ways_against_finite_differences(
    off_truth, known_scan, forward, blocks_of, modelled_frames, model
):
    """dL = 2 slopes . ways: `Gradient` holds half the derivative of positions."""
    frames = known_scan.frames[:12].astype(np.float32) + np.float32(model.background)
    positions = known_scan.positions_px[:12] + 0.3

    def likelihood(positions_px):
        blocks = blocks_of(forward, frames, positions_px, movable=True)
        modelled = (modelled_frames(forward, off_truth, block) for block in blocks)
        pairs = zip(modelled, blocks, strict=True)
        return sum(model.negative_log_likelihood(expected, block.amplitudes) for expected, block in pairs)

    blocks = blocks_of(forward, frames, positions, movable=True)
    shape = off_truth.object.shape[-2:]
    refinement = FrameRefinement(blocks, positions, tolerance_px=3, shape=shape, forward=forward)
    engine = MaximumLikelihood(
        off_truth, blocks, forward, noise=model.noise, background=model.background, refinement=refinement
    )
    slopes = engine.gradient().steepest.positions_px
    ways = slopes / np.abs(slopes).max()
    difference = likelihood(positions + 0.01 * ways) - likelihood(positions - 0.01 * ways)
    assert difference / 0.02 == pytest.approx(2 * np.sum(slopes * ways), rel=0.02)


@pytest.mark.parametrize(
    "sample", [SAMPLES["far field"], SAMPLES["two slices"]], indirect=True, ids=["thin", "thick"]
)
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
def test_what_no_frame_can_tell_changes_no_step(
    known_scan, processor, blocks_of, phase, scale, ramp, mixing, noise
):
    """A phase, a factor, a ramp and a mixture of modes: stepping and changing the gauge commute."""
    frames = known_scan.frames[:12].astype(np.float32)
    far_field = ForwardModel(processor, known_scan.geometry)
    blocks = blocks_of(far_field, frames, known_scan.positions_px[:12], modes=2)
    unitary = np.array([[np.cos(mixing), -np.sin(mixing)], [np.sin(mixing), np.cos(mixing)]])

    def other_gauge(estimate):
        object_, probe = estimate.object, np.einsum("mn,nrc->mrc", unitary, estimate.probe)
        object_ = object_ * plane_wave(object_.shape[1:], *ramp) * np.exp(1j * phase) / scale
        probe = probe * plane_wave(probe.shape[1:], *ramp).conj() * scale
        return Estimate(object_.astype(np.complex64), probe.astype(np.complex64))

    def stepped(estimate):
        engine = MaximumLikelihood(estimate, blocks, far_field, noise=noise)
        for _ in range(2):
            engine.step()
        return engine.estimate

    flat = np.ones((1, *known_scan.object.shape), np.complex64)
    second = 0.3 * np.roll(known_scan.probe, 3, axis=1)
    start = Estimate(flat, np.concatenate([known_scan.probe, second]).astype(np.complex64))
    found, expected = stepped(other_gauge(start)), other_gauge(stepped(start))
    for name in ("object", "probe"):
        wanted = getattr(expected, name)
        assert np.linalg.norm(getattr(found, name) - wanted) < 1e-4 * np.linalg.norm(wanted)


far_field = pytest.mark.parametrize("sample", [SAMPLES["far field"]], indirect=True, ids=["far field"])


@far_field
def test_the_truth_explains_the_frames_to_the_noise(known_scan, known_estimate, known_blocks, forward):
    """R of the truth is what Poisson noise alone leaves: sum of min(1/4, I)-like terms over the counts."""
    frames = known_scan.frames
    expected = np.sqrt(np.sum(np.minimum(0.25, frames.mean(axis=0))) * len(frames) / frames.sum())
    assert residual_of(known_estimate, known_blocks, forward) == pytest.approx(expected, rel=0.15)


@far_field
@pytest.mark.parametrize("background", [0.0, 5.0])
def test_residual_is_the_definition(known_scan, known_estimate, known_blocks, forward, simulate, background):
    model = simulate(noise=False).frames.astype(float) + background
    counts = known_scan.frames.astype(float)
    expected = np.sqrt(np.sum((np.sqrt(model) - np.sqrt(counts)) ** 2) / counts.sum())
    found = residual_of(known_estimate, known_blocks, forward, background)
    assert found == pytest.approx(expected, rel=1e-3)
