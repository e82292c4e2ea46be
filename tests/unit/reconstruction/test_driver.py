"""The whole recipe against known truths."""

from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context

import array_api_strict
import numpy as np
import pytest

from ptycho_plugin.errors import InputError, ReconstructionError
from ptycho_plugin.reconstruction import parallel
from ptycho_plugin.reconstruction.driver import Reconstruction
from ptycho_plugin.reconstruction.machine import Namespace, Processor
from ptycho_plugin.reconstruction.options import ReconstructionOptions
from ptycho_plugin.reconstruction.whole_scan import reconstruct, started

SHORT = ReconstructionOptions(difference_map_iterations=80, maximum_likelihood_iterations=40)
TINY = ReconstructionOptions(difference_map_iterations=6, maximum_likelihood_iterations=4)
FAST = ReconstructionOptions(
    difference_map_iterations=0, least_squares_iterations=6, maximum_likelihood_iterations=4
)


def test_the_truth_is_found_from_a_poor_probe(known_scan, phase_error):
    result = reconstruct(known_scan.dataset(), SHORT)
    assert phase_error(result, known_scan) < 0.1
    assert np.sum(np.abs(result.probe) ** 2) == pytest.approx(known_scan.frames.sum() / 100, rel=1e-4)
    assert result.errors.shape == (120,)
    assert result.object.dtype == result.probe.dtype == np.complex64


def test_sub_pixel_positions_are_honoured(simulate, phase_error):
    scan = simulate(subpixel=True)
    rounded = np.rint(scan.positions_px) * scan.geometry.object_pixel
    honoured = reconstruct(scan.dataset(), SHORT)
    ignored = reconstruct(scan.dataset(positions=rounded), SHORT)
    assert phase_error(honoured, scan) < 0.1
    assert honoured.residual < 0.6 * ignored.residual


def test_masked_pixels_are_left_free(known_scan, phase_error):
    """A dead stripe with nonsense in it does not harm what the rest tells, power included."""
    mask = np.ones((32, 32), bool)
    mask[:, 13:15] = False
    frames = known_scan.frames.copy()
    frames[:, ~mask] = 10**6
    result = reconstruct(known_scan.dataset(frames=frames, mask=mask), SHORT)
    assert phase_error(result, known_scan) < 0.2
    assert np.abs(result.object[result.trusted]).mean() == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("options", [SHORT, FAST], ids=["difference map", "least squares"])
def test_frames_may_come_in_while_it_iterates(known_scan, phase_error, options):
    dataset = known_scan.dataset()
    growing = Reconstruction(dataset.geometry, dataset.probe, dataset.positions, options)
    intensities = dataset.intensities()
    for start in range(0, len(dataset), 30):
        growing.add(intensities[start : start + 30], dataset.positions[start : start + 30])
        for _ in range(10):
            growing.iterate()
    result = growing.finish()
    assert phase_error(result, known_scan) < 0.1
    assert len(result.positions) == len(dataset)


def test_the_whole_recipe_runs_after_the_last_frame(known_scan):
    dataset = known_scan.dataset()
    growing = Reconstruction(dataset.geometry, dataset.probe, dataset.positions, TINY)
    growing.add(dataset.intensities()[:50], dataset.positions[:50])
    for _ in range(6):
        growing.iterate()
    growing.add(dataset.intensities()[50:], dataset.positions[50:])
    result = growing.finish()
    assert len(result.errors) == 6 + 6 + 4
    assert result.likelihood_from == 12


@pytest.mark.parametrize("options", [TINY, FAST], ids=lambda options: options.first_engine)
def test_progress_names_every_iteration(known_scan, options):
    seen = []
    reconstruct(known_scan.dataset(), options, seen.append)
    assert [p.iteration for p in seen] == list(range(1, 11))
    assert {p.iterations for p in seen} == {10}
    assert [p.engine for p in seen] == [options.first_engine] * 6 + ["maximum likelihood"] * 4


@pytest.mark.parametrize("options", [TINY, FAST], ids=lambda options: options.first_engine)
def test_the_same_bits_on_any_number_of_threads(simulate, monkeypatch, options):
    dataset, results = simulate(subpixel=True).dataset(), []
    for threads in (1, 2, 3):
        with ThreadPoolExecutor(threads) as pool:
            monkeypatch.setattr(parallel, "thread_pool", lambda pool=pool: pool)
            results.append(reconstruct(dataset, options))
    assert_the_same_bits(*results)


def test_the_same_bits_in_a_fresh_process(simulate, cache_home):
    """Both make their plans of what this process learned."""
    dataset = simulate(subpixel=True).dataset()
    here = reconstruct(dataset, TINY)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as fresh:
        there = fresh.submit(reconstruct, dataset, TINY).result()
    assert_the_same_bits(here, there)
    assert there.device == here.device


def assert_the_same_bits(first, *others):
    for result in others:
        np.testing.assert_array_equal(result.object, first.object)
        np.testing.assert_array_equal(result.probe, first.probe)
        np.testing.assert_array_equal(result.errors, first.errors)


def test_any_machine_does(known_scan):
    dataset = known_scan.dataset()
    machines = [Processor(), Namespace(array_api_strict)]
    results = []
    for machine in machines:
        growing = Reconstruction(dataset.geometry, dataset.probe, dataset.positions, TINY, machine)
        growing.add(dataset.intensities(), dataset.positions)
        results.append(growing.finish())
    one, other = results
    np.testing.assert_allclose(one.object[one.trusted], other.object[one.trusted], atol=1e-3)
    assert isinstance(other.object, np.ndarray)
    assert other.residual == pytest.approx(one.residual, rel=1e-4)
    assert other.device == "array_api_strict (asked for)"


def test_the_options_choose_the_device_and_the_result_says_why(known_scan, monkeypatch):
    found = []

    def choose(device):
        found.append(device)
        return Processor(), "the moon is full"

    monkeypatch.setattr("ptycho_plugin.reconstruction.driver.choose_machine", choose)
    result = reconstruct(known_scan.dataset(), TINY.model_copy(update={"device": "gpu"}))
    assert found == ["gpu"]
    assert result.device == f"{Processor().describe(32)} (the moon is full)"


def test_partial_coherence_needs_modes(simulate):
    """Two beams four detector pixels apart, each incoherent with the other."""
    scan = simulate()
    blurred = 0.5 * (scan.frames + np.roll(scan.frames, 4, axis=2))
    one = reconstruct(scan.dataset(frames=blurred), SHORT)
    two = reconstruct(scan.dataset(frames=blurred), SHORT.model_copy(update={"probe_modes": 2}))
    assert two.probe.shape == (2, 32, 32)
    assert one.mode_powers.tolist() == [1.0]
    np.testing.assert_allclose(two.mode_powers, 0.5, atol=0.1)
    assert two.residual < 0.3 * one.residual


def test_ten_fast_iterations_find_the_truth(known_scan, phase_error):
    """Of both engines the error is R, which falls from one to the other."""
    result = reconstruct(known_scan.dataset(), FAST)
    assert phase_error(result, known_scan) < 0.12
    assert result.likelihood_from == 6
    assert result.errors[-1] < result.errors[5] < result.errors[0]


def test_one_engine_comes_first():
    with pytest.raises(ValueError, match="least_squares_iterations = 5: one takes the other's place"):
        ReconstructionOptions(least_squares_iterations=5)


def test_nothing_inside_the_planned_scan_is_told(known_scan):
    dataset = known_scan.dataset()
    growing = Reconstruction(dataset.geometry, dataset.probe, dataset.positions, TINY)
    scattered = dataset.positions[:2] + np.array([[-1e-3], [1e-3]])
    assert not growing.add(dataset.intensities()[:2], scattered).any()
    with pytest.raises(ReconstructionError, match="no frame lies in the planned scan"):
        growing.finish()


def test_measured_positions_may_have_another_zero(known_scan, phase_error):
    """An interferometer that reads 3 um more than the stage, and one stray reading."""
    dataset = known_scan.dataset()
    measured = dataset.positions + 3e-6
    growing = Reconstruction(dataset.geometry, dataset.probe, dataset.positions, SHORT)
    growing.add(dataset.intensities()[:40], measured[:40])
    measured[70] += 5e-6
    taken = growing.add(dataset.intensities()[40:], measured[40:])
    assert np.flatnonzero(~taken).tolist() == [30]
    assert growing.frames == 99
    assert phase_error(growing.finish(), known_scan) < 0.1


def test_a_stray_position_is_refused_before_memory_is_asked_for(known_scan):
    dataset = known_scan.dataset()
    stray = dataset.positions.copy()
    stray[3] = 0.05
    with pytest.raises(ReconstructionError, match="stray position"):
        reconstruct(known_scan.dataset(positions=stray), TINY)


def test_nothing_is_taken_in_after_the_difference_map(known_scan):
    dataset = known_scan.dataset()
    growing = Reconstruction(dataset.geometry, dataset.probe, dataset.positions, TINY)
    growing.add(dataset.intensities(), dataset.positions)
    growing.finish()
    with pytest.raises(ReconstructionError, match="start a new reconstruction"):
        growing.add(dataset.intensities()[:1], dataset.positions[:1])
    with pytest.raises(ReconstructionError, match="start a new reconstruction"):
        growing.iterate()


def test_no_probe_and_no_photons_are_refused(known_scan):
    with pytest.raises(InputError, match="no start probe"):
        reconstruct(known_scan.dataset(probe=None), TINY)
    with pytest.raises(ReconstructionError, match="no pixel counted"):
        reconstruct(known_scan.dataset(frames=np.zeros_like(known_scan.frames)), TINY)


def test_divergence_names_the_iteration(known_scan, monkeypatch):
    dataset = known_scan.dataset()
    growing = Reconstruction(dataset.geometry, dataset.probe, dataset.positions, TINY)
    growing.add(dataset.intensities(), dataset.positions)
    growing.iterate()
    monkeypatch.setattr(growing._engine, "step", lambda **_: float("nan"))
    with pytest.raises(ReconstructionError, match="difference map diverged in iteration 2"):
        growing.iterate()


def test_frames_that_cannot_be_taken_in_leave_nothing(known_scan):
    """Dark frames first: what they measured must not count as part of the mean."""
    dataset = known_scan.dataset()
    found, expected = (
        Reconstruction(dataset.geometry, dataset.probe, dataset.positions, TINY) for _ in range(2)
    )
    flat = np.full_like(dataset.intensities()[:5], -1)
    flat[:, 3, 4] = 0
    with pytest.raises(ReconstructionError, match="no pixel counted"):
        found.add(flat, dataset.positions[:5] + 1e-6)
    for reconstruction in (found, expected):
        reconstruction.add(dataset.intensities(), dataset.positions)
    assert found.iterate() == expected.iterate()
    np.testing.assert_array_equal(found.result().probe, expected.result().probe)


def test_without_frames_there_is_nothing_to_iterate_or_keep(known_scan):
    dataset = known_scan.dataset()
    empty = Reconstruction(dataset.geometry, dataset.probe, dataset.positions, TINY)
    for action in (empty.iterate, empty.state, empty.finish):
        with pytest.raises(ReconstructionError, match="no frame lies in the planned scan"):
            action()


@pytest.mark.parametrize("first", [{}, {"difference_map_iterations": 0, "least_squares_iterations": 5}])
def test_a_state_is_not_changed_by_what_comes_after(known_scan, first):
    options = TINY.model_copy(update={"position_tolerance": 3e-7, "refine_intensities": True, **first})
    begun = started(known_scan.dataset(), options)
    begun.iterate()
    state = begun.state()
    expected = [begun.iterate() for _ in range(3)]
    again = Reconstruction.restored(state)
    assert [again.iterate() for _ in range(3)] == expected
