"""The gradient against finite differences; the descent against the likelihood itself."""

import numpy as np
import pytest

from ptycho_plugin.reconstruction.blocks import make_blocks
from ptycho_plugin.reconstruction.estimate import Estimate
from ptycho_plugin.reconstruction.maximum_likelihood import DARK_COUNTS, MaximumLikelihood, residual_of


def negative_log_likelihood(estimate, blocks, far_fields):
    total = 0.0
    for block in blocks:
        far = far_fields(estimate, block)
        model = np.sum(np.abs(far) ** 2, axis=1).astype(float) + float(DARK_COUNTS)
        total += np.sum((model - block.amplitudes.astype(float) ** 2 * np.log(model))[block.measured])
    return total


@pytest.fixture(params=[0.0, 0.3], ids=["on the grid", "between pixels"])
def blocks(request, known_scan):
    frames = known_scan.frames[:12].astype(np.float32)
    frames[3, 5, 6] = -1
    noise = np.zeros(frames.shape[1:], np.float32)
    return list(make_blocks(frames, known_scan.positions_px[:12] + request.param, noise, modes=1))


@pytest.fixture
def off_truth(known_estimate):
    rng = np.random.default_rng(8)
    blur = 1 + 0.05 * rng.standard_normal(known_estimate.object.shape)
    return Estimate(
        (known_estimate.object * blur).astype(np.complex64), known_estimate.probe * np.float32(1.02)
    )


@pytest.mark.parametrize("part", ["object", "probe"])
def test_gradient_against_finite_differences(off_truth, blocks, far_fields, part):
    """dL = 2 Re <gradient, direction>, the gradient being with respect to the conjugate."""
    gradient = MaximumLikelihood(off_truth, blocks).gradient().steepest
    direction = Estimate(np.zeros_like(off_truth.object), np.zeros_like(off_truth.probe))
    getattr(direction, part)[...] = getattr(gradient, part)
    step = 1e-3 * np.sqrt(off_truth.dot(off_truth) / direction.dot(direction))
    slope = negative_log_likelihood(off_truth.plus(direction, step), blocks, far_fields)
    slope -= negative_log_likelihood(off_truth.plus(direction, -step), blocks, far_fields)
    assert slope / (2 * step) == pytest.approx(2 * gradient.dot(direction), rel=0.02)


def test_every_step_descends(off_truth, blocks, far_fields):
    engine = MaximumLikelihood(off_truth, blocks)
    values = [negative_log_likelihood(off_truth, blocks, far_fields)]
    for _ in range(15):
        engine.step()
        values.append(negative_log_likelihood(engine.estimate, blocks, far_fields))
    assert (np.diff(values[:6]) < 0).all()
    assert (np.diff(values) < 1e-3 * (values[0] - values[-1])).all()


def test_the_truth_explains_the_frames_to_the_noise(known_scan, known_estimate, known_blocks):
    """R of the truth is what Poisson noise alone leaves: sum of min(1/4, I)-like terms over the counts."""
    frames = known_scan.frames
    expected = np.sqrt(np.sum(np.minimum(0.25, frames.mean(axis=0))) * len(frames) / frames.sum())
    assert residual_of(known_estimate, known_blocks) == pytest.approx(expected, rel=0.15)


def test_residual_is_the_definition(known_scan, known_estimate, known_blocks, simulate):
    model, counts = simulate(noise=False).frames.astype(float), known_scan.frames.astype(float)
    expected = np.sqrt(np.sum((np.sqrt(model) - np.sqrt(counts)) ** 2) / counts.sum())
    assert residual_of(known_estimate, known_blocks) == pytest.approx(expected, rel=1e-3)
