"""Steps are as long as fits best; the truth is found, soon, on any machine and in any order of frames."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ptycho_plugin.reconstruction import parallel
from ptycho_plugin.reconstruction.difference_map import DifferenceMap
from ptycho_plugin.reconstruction.estimate import Estimate
from ptycho_plugin.reconstruction.forward import ForwardModel, Sums
from ptycho_plugin.reconstruction.gauge import with_more_modes
from ptycho_plugin.reconstruction.least_squares import LeastSquares, step_lengths
from ptycho_plugin.reconstruction.machine import Processor
from ptycho_plugin.reconstruction.maximum_likelihood import residual_of

from .conftest import start_probe

SIDE = 16


def engine_on(scan, blocks_of, machine=None, modes=1, order=slice(None), frames=None, **options):
    """An engine that has all frames, and the blocks it was given."""
    machine = machine or Processor()
    forward = ForwardModel(machine, scan.geometry)
    counts = (scan.frames if frames is None else frames)[order].astype(np.float32)
    blocks = blocks_of(forward, counts, scan.positions_px[order], modes=modes)
    engine = LeastSquares(start_of(scan, machine, modes), forward, **options)
    engine.add(blocks, power=float(scan.frames.sum() / len(scan.frames)))
    return engine, blocks


def start_of(scan, machine, modes=1):
    """A flat object and a start probe with an error."""
    flat = np.ones((1, *scan.object.shape), np.complex64)
    return Estimate(machine.array(flat), machine.array(with_more_modes(start_probe(scan.probe), modes)))


def run(engine, iterations):
    return [engine.step(update_probe=True) for _ in range(iterations)]


def error_of(engine, scan, phase_error):
    """`phase_error` asks for what a result has."""

    class Found:
        object = engine.estimate.object[0]
        positions_px = scan.positions_px

    return phase_error(Found, scan)


@pytest.mark.parametrize("subpixel", [False, True], ids=["on the grid", "between pixels"])
def test_the_truth_is_found_from_a_poor_probe(simulate, blocks_of, phase_error, subpixel):
    scan = simulate(subpixel=subpixel)
    engine, _ = engine_on(scan, blocks_of)
    run(engine, 40)
    assert error_of(engine, scan, phase_error) < 0.1


def test_its_error_is_r(known_scan, blocks_of):
    """Of the estimate as each batch found it: while all improve, between R before and R after."""
    engine, blocks = engine_on(known_scan, blocks_of)
    run(engine, 1)
    before = residual_of(engine.estimate, blocks, engine._forward)
    (error,) = run(engine, 1)
    assert residual_of(engine.estimate, blocks, engine._forward) < error < before
    assert residual_of(engine.judged, blocks, engine._forward) == before


def test_it_is_ahead_of_the_difference_map(known_scan, blocks_of, phase_error):
    engine, blocks = engine_on(known_scan, blocks_of)
    map_ = DifferenceMap(start_of(known_scan, engine._machine), engine._forward)
    map_.add(blocks, power=engine.estimate.probe_power)
    run(engine, 10)
    run(map_, 10)
    assert error_of(engine, known_scan, phase_error) < 0.7 * error_of(map_, known_scan, phase_error)


def test_masked_pixels_are_left_free(known_scan, blocks_of, phase_error):
    frames = known_scan.frames.copy()
    frames[:, :, 13:15] = -1
    engine, _ = engine_on(known_scan, blocks_of, frames=frames)
    run(engine, 40)
    assert error_of(engine, known_scan, phase_error) < 0.2


def test_partial_coherence_needs_modes(known_scan, blocks_of):
    """A tenth of the beam four detector pixels off, incoherent with the rest."""
    blurred = 0.9 * known_scan.frames + 0.1 * np.roll(known_scan.frames, 4, axis=2)
    one, two = (engine_on(known_scan, blocks_of, modes=modes, frames=blurred)[0] for modes in (1, 2))
    assert run(two, 60)[-1] < 0.4 * run(one, 60)[-1]


def test_frames_may_come_in_while_it_iterates(known_scan, blocks_of, phase_error):
    forward = ForwardModel(Processor(), known_scan.geometry)
    engine = LeastSquares(start_of(known_scan, forward.machine), forward)
    for first in range(0, 100, 30):
        part = slice(first, first + 30)
        counts = known_scan.frames[part].astype(np.float32)
        engine.add(blocks_of(forward, counts, known_scan.positions_px[part]), power=1e6 + first)
        run(engine, 10)
        assert engine.estimate.probe_power == pytest.approx(1e6 + first, rel=1e-5)
    assert error_of(engine, known_scan, phase_error) < 0.1


def test_power_is_held(known_scan, blocks_of):
    engine, _ = engine_on(known_scan, blocks_of)
    run(engine, 5)
    assert engine.estimate.probe_power == pytest.approx(known_scan.frames.sum() / 100, rel=1e-5)


def test_the_probe_stays_where_it_is_told_to(known_scan, blocks_of):
    support = np.zeros((32, 32), np.float32)
    support[8:24, 8:24] = 1
    engine, _ = engine_on(known_scan, blocks_of, support=support)
    before = engine.estimate.probe
    engine.step(update_probe=False)
    np.testing.assert_allclose(engine.estimate.probe, before, rtol=1e-6)
    engine.step(update_probe=True)
    ratio = engine.estimate.probe / before
    outside = support == 0
    np.testing.assert_allclose(ratio[0, outside], ratio[0, 0, 0], rtol=1e-4)
    assert np.abs(ratio[0, ~outside] - ratio[0, 0, 0]).max() > 0.05


def test_the_same_bits_on_any_number_of_threads_and_in_any_order_of_frames(simulate, blocks_of, monkeypatch):
    scan = simulate(subpixel=True)
    found = []
    for threads, order in ((1, np.arange(100)), (3, np.random.default_rng(4).permutation(100))):
        with ThreadPoolExecutor(threads) as pool:
            monkeypatch.setattr(parallel, "thread_pool", lambda pool=pool: pool)
            engine, _ = engine_on(scan, blocks_of, order=order)
            found.append((run(engine, 3), engine.estimate))
    (errors, one), (same, other) = found
    assert errors == same
    np.testing.assert_array_equal(one.object, other.object)
    np.testing.assert_array_equal(one.probe, other.probe)


def test_machines_agree(simulate, blocks_of, machine):
    scan = simulate(subpixel=True)
    frames = scan.frames.copy()
    frames[2, 5, 6] = -1
    found, expected = (
        engine_on(scan, blocks_of, one, modes=2, frames=frames)[0] for one in (machine, Processor())
    )
    np.testing.assert_allclose(run(found, 4), run(expected, 4), rtol=1e-4)
    for part in ("object", "probe"):
        array, wanted = machine.host(getattr(found.estimate, part)), getattr(expected.estimate, part)
        assert array.dtype == wanted.dtype == np.complex64
        assert np.linalg.norm(array - wanted) < 1e-4 * np.linalg.norm(wanted)


def test_it_goes_on_to_the_same_bits(known_scan, blocks_of):
    engine, blocks = engine_on(known_scan, blocks_of)
    run(engine, 3)
    again = LeastSquares(start_of(known_scan, engine._machine), engine._forward)
    again.restore(engine.state(), blocks)
    assert run(again, 3) == run(engine, 3)
    np.testing.assert_array_equal(again.estimate.object, engine.estimate.object)


@given(seed=st.integers(0, 2**32 - 1), modes=st.integers(1, 2), a=st.floats(-3, 3), b=st.floats(-3, 3))
@settings(max_examples=40, deadline=None)
def test_no_other_lengths_fit_better(forward, blocks_of, seed, modes, a, b):
    rng = np.random.default_rng(seed)

    def waves(*shape):
        return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(np.complex64)

    corners = rng.integers(0, 8, (4, 2))
    (block,) = blocks_of(forward, np.ones((4, SIDE, SIDE), np.float32), corners.astype(float), modes=modes)
    estimate, direction = (Estimate(waves(1, 24, 24), waves(modes, SIDE, SIDE)) for _ in range(2))
    changes = waves(4, modes, SIDE, SIDE)
    light, transmission = np.zeros((1, 24, 24), np.float32), np.zeros((SIDE, SIDE), np.float32)
    sums = Sums(np.zeros_like(estimate.object), light, waves(2, modes, SIDE, SIDE) * 0, transmission)
    forward.collect(block, changes, [estimate.probe[None]], estimate.object, sums)
    wanted = Estimate(sums.object, forward.summed_probe(sums.probe))

    def misfit(length, probe_length):
        along = np.empty_like(changes)
        forward.change_of_exit_waves(
            block,
            [estimate.probe[None]],
            np.complex64(probe_length) * direction.probe[None],
            estimate.object,
            np.complex64(length) * direction.object,
            along,
        )
        return np.sum(np.abs(changes - along).astype(np.float64) ** 2)

    best = step_lengths(estimate, direction, wanted, sums, corners)
    assert misfit(*best) <= misfit(a, b) * (1 + 1e-5)
    for length, probe_length in np.array(best) + 0.01 * np.array([(1, 0), (-1, 0), (0, 1), (0, -1)]):
        assert misfit(*best) < misfit(length, probe_length)


def test_a_probe_that_may_not_change_leaves_the_object_its_own_best_length(forward, blocks_of):
    """The equations are then singular: only the object's step counts."""
    rng = np.random.default_rng(0)
    object_, probe = (rng.standard_normal((1, n, n)).astype(np.complex64) for n in (24, SIDE))
    still = Estimate(object_, np.zeros_like(probe))
    (block,) = blocks_of(forward, np.ones((1, SIDE, SIDE), np.float32), np.zeros((1, 2)))
    sums = Sums(
        np.zeros_like(object_),
        np.zeros((1, 24, 24), np.float32),
        np.stack([probe] * 2) * 0,
        probe[0].real * 0,
    )
    forward.collect(block, 2 * (probe * object_[:, :SIDE, :SIDE])[None], [probe[None]], object_, sums)
    wanted = Estimate(sums.object, forward.summed_probe(sums.probe))
    estimate = Estimate(object_, probe)
    assert step_lengths(estimate, still, wanted, sums, block.corners) == pytest.approx((2, 0), rel=1e-5)


def test_what_is_not_finite_is_told_and_what_was_judged_is_kept(known_scan, blocks_of):
    engine, _ = engine_on(known_scan, blocks_of)
    run(engine, 2)
    good = engine.judged
    engine._ahead.probe[0, 5, 5] = np.nan
    assert np.isnan(engine.step(update_probe=True))
    assert np.isfinite(good.object).all()
    assert np.isfinite(good.probe).all()
