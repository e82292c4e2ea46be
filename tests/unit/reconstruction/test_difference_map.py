"""Projections do what they say, and the map neither drifts nor forgets."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from ptycho_plugin.reconstruction import kernels
from ptycho_plugin.reconstruction.blocks import expected_noise
from ptycho_plugin.reconstruction.difference_map import DifferenceMap
from ptycho_plugin.reconstruction.estimate import Estimate


def random_far(block, seed=0):
    rng = np.random.default_rng(seed)
    shape = block.exit_waves.shape
    return (20 * (rng.standard_normal(shape) + 1j * rng.standard_normal(shape))).astype(np.complex64)


def nearest_measured(far, block):
    """The projection of far fields in their orthonormal scale: `modulus` takes `side` times as much."""
    side = far.shape[-1]
    bare = far * np.float32(side)
    kernels.modulus(bare, block.amplitudes, block.noise_power)
    return bare * np.float32(side)


@pytest.fixture
def noiseless_block(forward, blocks_of):
    counts = np.random.default_rng(5).uniform(50, 500, (3, 16, 16)).astype(np.float32)
    counts[1, 4, 5] = -1
    (block,) = blocks_of(forward, counts, np.zeros((3, 2)), modes=2)
    return block


def test_without_noise_the_modulus_becomes_the_measured_one(noiseless_block):
    far = nearest_measured(random_far(noiseless_block), noiseless_block)
    found = np.sqrt(np.sum(np.abs(far) ** 2, axis=1))
    valid = noiseless_block.amplitudes >= 0
    np.testing.assert_allclose(found[valid], noiseless_block.amplitudes[valid], rtol=1e-5)


def test_unmeasured_pixels_and_phases_are_left_alone(noiseless_block):
    before = random_far(noiseless_block)
    after = nearest_measured(before, noiseless_block)
    free = noiseless_block.amplitudes < 0
    assert free.any()
    np.testing.assert_array_equal(after[:, 0][free], before[:, 0][free])
    np.testing.assert_allclose(np.angle(after * before.conj()), 0, atol=1e-5)


def test_the_projection_is_idempotent(noiseless_block):
    once = nearest_measured(random_far(noiseless_block), noiseless_block)
    np.testing.assert_allclose(nearest_measured(once, noiseless_block), once, rtol=1e-4)


def test_waves_within_the_noise_stay_and_others_stop_at_its_edge(forward, blocks_of):
    counts = np.full((2, 16, 16), 100, np.float32)
    (block,) = blocks_of(forward, counts, np.zeros((2, 2)), noise=0.25)
    far = np.full(block.exit_waves.shape, 10.3, np.complex64)
    far[1] = 13
    after = nearest_measured(far, block)
    np.testing.assert_array_equal(after[0], far[0])
    assert np.sum((np.abs(after[1]) - 10) ** 2) == pytest.approx(0.25 * 256, rel=1e-4)


def test_a_wave_without_a_phase_stays_dark(noiseless_block):
    """A far field that underflows where photons were counted must not become NaN."""
    far = random_far(noiseless_block)
    far[:, :, 3, 3] = 1e-25
    after = nearest_measured(far, noiseless_block)
    assert np.isfinite(after).all()
    np.testing.assert_allclose(after[:, :, 3, 3], 0, atol=1e-6)


def test_overlap_of_true_waves_is_the_truth(known_estimate, known_blocks, forward):
    engine = DifferenceMap(known_estimate, forward)
    engine.add(known_blocks, power=known_estimate.probe_power)
    engine.step(update_probe=True)
    lit = np.s_[0, 16:72, 16:72]
    np.testing.assert_allclose(engine.estimate.object[lit], known_estimate.object[lit], atol=2e-3)
    np.testing.assert_allclose(
        engine.estimate.probe, known_estimate.probe, atol=np.abs(known_estimate.probe).max() / 500
    )


def test_the_scale_stays_with_the_probes_power(known_estimate, known_blocks, forward):
    engine = DifferenceMap(Estimate(np.ones_like(known_estimate.object), known_estimate.probe), forward)
    engine.add(known_blocks[:4], power=1e6)
    engine.step(update_probe=True)
    engine.add(known_blocks[4:], power=1.01e6)
    for _ in range(3):
        engine.step(update_probe=True)
        assert engine.estimate.probe_power == pytest.approx(1.01e6, rel=1e-4)


def test_with_photon_noise_the_error_falls_and_stays_down(known_estimate, known_blocks, forward):
    """The plain map runs off along the gap that noise leaves between the two sets."""
    engine = DifferenceMap(Estimate(np.ones_like(known_estimate.object), known_estimate.probe), forward)
    engine.add(known_blocks, power=known_estimate.probe_power)
    errors = [engine.step(update_probe=True) for _ in range(150)]
    assert errors[-1] < errors[0] / 50
    assert max(errors[60:]) == errors[60]


@pytest.fixture
def phase_errors(simulate, forward, blocks_of, phase_error):
    """``phase_errors(seed, bounded=...)``: of the map after 60 and after 200 iterations, no ramp."""

    def after_60_and_200(seed, *, bounded):
        scan = simulate(seed=seed)
        frames, flat = scan.frames.astype(np.float32), np.ones((1, *scan.object.shape), np.complex64)
        noise = bounded * expected_noise(frames.mean(axis=0))
        start = Estimate(flat, scan.dataset().probe)
        engine = DifferenceMap(start, forward, overlap_tolerance=0.05)
        blocks = blocks_of(forward, frames, scan.positions_px, noise)
        engine.add(blocks, power=float(np.sum(np.abs(scan.probe) ** 2)))
        for iterations in (60, 140):
            for _ in range(iterations):
                engine.step(update_probe=True)
            found = SimpleNamespace(object=engine.estimate.object[0], positions_px=scan.positions_px)
            yield phase_error(found, scan)

    return after_60_and_200


def test_the_map_does_not_drift_with_iterations(phase_errors):
    """Three seeds gave 0.0114 +- 0.0006 after 60 iterations, 0.0125 after 200: what is unlit leaks to 1."""
    settled, late = np.array([list(phase_errors(seed, bounded=True)) for seed in range(3)]).T
    assert late.mean() <= 1.2 * settled.mean()
    assert late.max() < 0.025


def test_without_its_bound_the_map_gets_worse(phase_errors):
    """What the test above would find. Three seeds grew from 0.05 to 0.8 and more.

    Most of it is object and probe moving together, by 3 px; with that taken out, 0.05 grows to 0.08 or 0.10.
    """
    settled, late = phase_errors(0, bounded=False)
    assert late > 2 * settled


def test_passes_over_object_and_probe_go_on_until_the_probe_settles(known_scan, known_blocks, forward):
    def change_of_another_pass(tolerance):
        """By how much of its norm the probe of Pi_O(psi) changes if one more pass is made."""
        start = Estimate(np.ones((1, *known_scan.object.shape), np.complex64), known_scan.dataset().probe)
        engine = DifferenceMap(start, forward, overlap_tolerance=tolerance)
        engine.add(known_blocks, power=float(np.sum(np.abs(known_scan.probe) ** 2)))
        engine.step(update_probe=False)
        engine.estimate = engine._nearest()
        engine._overlap[...], engine._illumination[...] = engine._overlap_of(known_blocks, engine.estimate)
        once_more = engine._nearest_probe(engine._nearest_object())
        return np.linalg.norm(once_more - engine.estimate.probe) / np.linalg.norm(once_more)

    assert change_of_another_pass(np.inf) > 2e-3
    assert change_of_another_pass(1e-3) < 1e-3


def test_a_support_confines_the_probe(known_estimate, known_blocks, forward):
    support = np.zeros((32, 32), np.float32)
    support[10:22, 10:22] = 1
    start = replace(known_estimate, probe=support * known_estimate.probe)
    engine = DifferenceMap(start, forward, overlap_tolerance=0.01, support=support)
    engine.add(known_blocks, power=known_estimate.probe_power)
    for _ in range(3):
        engine.step(update_probe=True)
    np.testing.assert_array_equal(engine.estimate.probe[0] != 0, support > 0)
    assert engine.estimate.probe_power == pytest.approx(known_estimate.probe_power, rel=1e-5)


def test_where_there_is_no_light_the_object_is_1(noiseless_block, forward):
    """Exit waves know the product only: unlit, the object could fall while the probe's rim rose."""
    probe = np.zeros((2, 16, 16), np.complex64)
    probe[0, 6:10, 6:10] = 10
    map_ = DifferenceMap(Estimate(np.full((1, 16, 16), 5, np.complex64), probe), forward)
    map_.add([noiseless_block], power=1600.0)
    for _ in range(200):
        map_.step(update_probe=False)
    np.testing.assert_allclose(map_.estimate.object[0, 0], 1, atol=1e-3)
