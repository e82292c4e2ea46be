"""Samples beyond the thin one in the far field, against known truths: near field, two slices."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from ptycho_plugin.errors import InputError
from ptycho_plugin.geometry import Geometry
from ptycho_plugin.optics import near_field_probe
from ptycho_plugin.reconstruction.blocks import make_blocks
from ptycho_plugin.reconstruction.estimate import Estimate
from ptycho_plugin.reconstruction.forward import ForwardModel
from ptycho_plugin.reconstruction.least_squares import LeastSquares
from ptycho_plugin.reconstruction.machine import Processor
from ptycho_plugin.reconstruction.maximum_likelihood import residual_of
from ptycho_plugin.reconstruction.options import ReconstructionOptions
from ptycho_plugin.reconstruction.whole_scan import reconstruct, started

SIDE = 32
NEAR = Geometry(
    energy_eV=6200.0, distance=0.55, detector_pixel=55e-6, frame_side=SIDE, focus_to_sample=1.0e-3
)
GAP = 1.5e-3
"""Between two slices, in metres: several depths of focus of the small scan's 81 nm pixels."""


def free_space(wave, geometry, distance):
    frequency = np.fft.fftfreq(SIDE, geometry.object_pixel)
    phase = np.pi * geometry.wavelength * distance * (frequency[:, None] ** 2 + frequency**2)
    return np.fft.ifft2(np.fft.fft2(wave) * np.exp(-1j * phase))


def patches(object_, positions_px):
    for row, column in positions_px.astype(int):
        yield object_[row : row + SIDE, column : column + SIDE]


@pytest.fixture(scope="session")
def shadow_scan(known_scan):
    """The small scan, seen magnified behind a focus."""
    exits = (known_scan.probe[0] * patch for patch in patches(known_scan.object, known_scan.positions_px))
    frames = [np.abs(free_space(wave, NEAR, NEAR.effective_distance)) ** 2 for wave in exits]
    counts = np.random.default_rng(3).poisson(frames).astype(np.int32)
    return replace(known_scan, frames=counts, geometry=NEAR)


def moved(wave, shift):
    """A wave moved by fractions of a pixel to growing indices."""
    ramps = (
        np.exp(-2j * np.pi * way * np.fft.fftfreq(size)) for way, size in zip(shift, wave.shape, strict=True)
    )
    return np.fft.ifft2(np.fft.fft2(wave) * np.multiply.outer(*ramps))


@pytest.fixture
def between_pixels(known_scan):
    """A model, the truth, and a frame of it: beam and detector stand still while the sample moves."""
    shift = np.array([0.4, -0.3])
    forward = ForwardModel(Processor(), NEAR)
    seen = moved(np.pad(known_scan.object, 8, mode="edge"), -shift)[28 : 28 + SIDE, 28 : 28 + SIDE]
    expected = np.abs(free_space(known_scan.probe[0] * seen, NEAR, NEAR.effective_distance)) ** 2
    counts = expected[None].astype(np.float32)
    noise = np.zeros((SIDE, SIDE), np.float32)
    (block,) = make_blocks(counts, 20 + shift[None], noise, 1, forward.machine, forward.detector)
    truth = Estimate(known_scan.object[None].astype(np.complex64), known_scan.probe.astype(np.complex64))
    return forward, truth, block


def test_a_near_field_shows_where_the_sample_is(between_pixels):
    forward, truth, block = between_pixels
    assert residual_of(truth, [block], forward) < 0.005


def test_least_squares_knows_where_the_sample_is(between_pixels):
    forward, truth, block = between_pixels
    engine = LeastSquares(truth, forward)
    engine.add([block], power=truth.probe_power)
    expected = residual_of(truth, [block], forward)
    assert engine.step(update_probe=True) == pytest.approx(expected, rel=1e-2)


def test_the_near_field_is_found_from_the_mean_frame(shadow_scan, phase_error):
    start = near_field_probe(shadow_scan.frames.mean(axis=0), NEAR)
    options = ReconstructionOptions(difference_map_iterations=20, maximum_likelihood_iterations=200)
    result = reconstruct(shadow_scan.dataset(probe=start), options)
    assert result.object_pixel == pytest.approx(NEAR.detector_pixel / NEAR.magnification)
    assert phase_error(result, shadow_scan) < 0.05
    assert np.sum(np.abs(result.probe) ** 2) == pytest.approx(shadow_scan.frames.sum() / 100, rel=1e-4)


@pytest.fixture(scope="session")
def thick_scan(known_scan):
    """Two layers that have nothing in common, and the frames that they make together."""
    shape = known_scan.object.shape
    rng = np.random.default_rng(12)
    bumps = gaussian_filter(rng.standard_normal((2, *shape)), sigma=(0, 2, 2), mode="wrap")
    layers = np.exp(0.4j * bumps / bumps.std())
    pairs = zip(*(patches(layer, known_scan.positions_px) for layer in layers), strict=True)
    probe, geometry = known_scan.probe[0], known_scan.geometry
    waves = (free_space(probe * upper, geometry, GAP) * lower for upper, lower in pairs)
    frames = [np.abs(np.fft.fftshift(np.fft.fft2(wave, norm="ortho"))) ** 2 for wave in waves]
    return layers, replace(known_scan, frames=rng.poisson(frames).astype(np.int32))


def correlation(found, truth):
    found, truth = (np.angle(layer)[26:62, 26:62] for layer in (found, truth))
    return np.corrcoef(found.ravel(), truth.ravel())[0, 1]


def placed(result, scan):
    row, column = np.rint(result.positions_px[0] - scan.positions_px[0]).astype(int)
    return result.slices[:, row : row + 88, column : column + 88]


def test_two_layers_are_told_apart_where_one_slice_is_wrong(thick_scan):
    """Three seeds: R up to 0.022 against at least 0.133; correlations above 0.97, of one slice below 0.84."""
    layers, scan = thick_scan
    recipe = {"difference_map_iterations": 20, "maximum_likelihood_iterations": 300}
    dataset = scan.dataset(probe=scan.probe.astype(np.complex64))
    thin = reconstruct(dataset, ReconstructionOptions(**recipe))
    thick = reconstruct(dataset, ReconstructionOptions(**recipe, slices=2, slice_distance=GAP))
    assert thick.residual < 0.5 * thin.residual
    assert thick.slices.shape == (2, *thin.object.shape)
    np.testing.assert_allclose(thick.object, thick.slices[0] * thick.slices[1], rtol=1e-5)
    for found, truth in zip(placed(thick, scan), layers, strict=True):
        assert correlation(found, truth) > 0.95
        assert correlation(placed(thin, scan)[0], truth) < 0.9


def test_equal_slices_have_no_step_where_the_phase_wraps(known_scan):
    """A beam half a pixel off the middle is a ramp on the object, and wraps on its own."""
    begun = started(known_scan.dataset(), ReconstructionOptions(slices=2, slice_distance=GAP))
    rows = np.arange(begun._engine.estimate.object.shape[1])[:, None]
    found = np.ones_like(begun._engine.estimate.object)
    found[0, 16:-16, 16:-16] = known_scan.object[: found.shape[1] - 32, : found.shape[2] - 32]
    begun._engine.estimate = replace(
        begun._engine.estimate, object=(found * np.exp(0.3j * rows)).astype(np.complex64)
    )
    lit = begun._likelihood_start().object[:, 40:70, 40:70]
    assert np.abs(np.angle(lit[:, 1:] * lit[:, :-1].conj())).max() < 0.5


@pytest.mark.parametrize("wrong", [{"slices": 2}, {"slice_distance": 1e-6}])
def test_slices_without_a_distance_are_refused(wrong):
    with pytest.raises(InputError, match="give several slices a distance"):
        ReconstructionOptions(**wrong)
