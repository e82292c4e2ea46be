"""The solver against known minima and invariances."""

from itertools import chain

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.optimize import minimize

from ptycho_plugin.errors import InputError
from ptycho_plugin.postprocess.deconvolution import ITERATIONS_BETWEEN_CHECKS, Deconvolution
from ptycho_plugin.postprocess.restoration_options import RestorationOptions

EXACT = RestorationOptions(bilateral_ratio=0.2, bilateral_reach_px=1, tolerance=1e-5, max_iterations=5000)
DEFAULT = RestorationOptions()
NOISE = 0.02


def _data(shape=(24, 31), seed=0):
    rng = np.random.default_rng(seed)
    image = np.zeros(shape)
    image[6:15, 8:20] = -0.3
    return gaussian_filter(image, 1.0) + NOISE * rng.normal(size=shape)


def _minimum(data, strength=0.02, options=DEFAULT):
    return Deconvolution(data.shape, options).solve(data, strength).image


def test_the_blur_is_a_gaussian_mirrored_at_the_borders():
    image = gaussian_filter(np.random.default_rng(0).normal(size=(30, 40)), 1.5)
    problem = Deconvolution(image.shape, RestorationOptions(psf_sigma_px=1.7))
    np.testing.assert_allclose(problem.blurred(image), gaussian_filter(image, 1.7, truncate=8), atol=1e-4)


def test_a_step_between_two_halves_is_lowered_by_what_it_costs():
    """Without blur, total variation lowers a step over n of N columns by strength * (1/n + 1/(N-n))."""
    data = np.zeros((1, 40))
    data[:, 10:] = 1.0
    data, strength = np.repeat(data, 30, axis=0), 0.6
    options = EXACT.model_copy(update={"psf_sigma_px": 0.0, "bilateral_ratio": 0.0})
    found = _minimum(data, strength, options)
    # 29 rows of squares weigh on 30 rows of pixels: the border's rows are free on one side.
    middle = found[15]
    assert middle[20] - middle[5] == pytest.approx(1 - strength * (1 / 10 + 1 / 30), abs=5e-3)
    assert found.mean() == pytest.approx(data.mean())
    assert np.ptp(middle[:10]) < 1e-3


def test_no_other_map_has_a_lower_objective():
    """A general minimiser, from the minimum that was found, over a map of few pixels."""
    data = _data()[4:8, 6:11]
    problem = Deconvolution(data.shape, EXACT)
    found = problem.solve(data, 0.02)
    least = problem.objective(found.image, data, 0.02)

    def objective(x):
        return problem.objective(x.reshape(data.shape), data, 0.02)

    start = found.image.ravel() + 0.003 * np.random.default_rng(0).normal(size=data.size)
    other = minimize(objective, start, method="Powell", options={"maxiter": 10})
    assert least == pytest.approx(other.fun, rel=0.01)
    assert least < other.fun * (1 + EXACT.tolerance)
    assert objective(start) > least * 1.01
    for seed in range(50):
        nearby = found.image + 1e-3 * np.random.default_rng(seed).normal(size=data.shape)
        assert objective(nearby) > least


@pytest.mark.parametrize("ratio", [0.0, 0.5])
@pytest.mark.parametrize("strength", [0.001, 0.01, 0.1])
def test_the_gap_bounds_what_was_missed_and_is_not_far_above(ratio, strength):
    data = _data()
    best, rough = (
        Deconvolution(data.shape, EXACT.model_copy(update={"bilateral_ratio": ratio, **changes})).solve(
            data, strength
        )
        for changes in ({}, {"tolerance": 1e-2})
    )
    missed = 1 - best.objective[-1] / rough.objective[-1]
    assert best.gap < EXACT.tolerance
    assert 0 < missed < rough.gap < 1e-2


def test_the_objective_of_the_history_is_that_of_the_map():
    data = _data()
    problem = Deconvolution(data.shape, EXACT)
    solution = problem.solve(data, 0.02)
    assert solution.objective[0] == pytest.approx(problem.objective(data, data, 0.02))
    assert solution.objective[-1] == pytest.approx(problem.objective(solution.image, data, 0.02))
    assert len(solution.objective) == solution.iterations // ITERATIONS_BETWEEN_CHECKS + 1
    np.testing.assert_allclose(solution.residual, problem.blurred(solution.image) - data, atol=1e-12)


def test_every_iteration_comes_nearer_to_the_solution():
    """No falling objective is promised, but a falling distance from (x, u) in the method's metric."""
    data = _data()
    best = _minimum(data, options=EXACT)
    errors = []
    for iterations in (10, 20, 40, 80, 160):
        options = EXACT.model_copy(update={"max_iterations": iterations})
        errors.append(np.linalg.norm(_minimum(data, options=options) - best))
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.3 * errors[0]


def test_iterations_end_where_they_may_not_go_on():
    data = _data()
    solution = Deconvolution(data.shape, EXACT.model_copy(update={"max_iterations": 7})).solve(data, 0.02)
    assert solution.iterations == 7
    assert solution.gap > EXACT.tolerance


def test_the_solution_at_another_strength_is_a_better_start():
    data = _data()
    problem = Deconvolution(data.shape, EXACT.model_copy(update={"tolerance": 1e-4}))
    cold = problem.solve(data, 0.02)
    near = problem.solve(data, 0.021)
    kept = [[v.copy() for v in dual] for dual in near.duals]
    warm = problem.solve(data, 0.02, near)
    assert warm.iterations < cold.iterations
    np.testing.assert_allclose(warm.image, cold.image, atol=5e-3)
    for before, after in zip(chain(*kept), chain(*near.duals), strict=True):
        np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize(
    "change",
    [
        lambda x: -x,
        lambda x: x + 1.7,
        lambda x: x.T,
        lambda x: x[::-1],
        lambda x: x[:, ::-1],
    ],
)
def test_sign_constant_and_orientation_do_not_matter(change):
    data = _data()
    np.testing.assert_allclose(_minimum(change(data)), change(_minimum(data)), atol=1e-9)


def test_a_map_in_another_unit_needs_a_strength_in_that_unit():
    data = _data()
    np.testing.assert_allclose(_minimum(1000 * data, 20.0), 1000 * _minimum(data, 0.02), rtol=1e-9)


def test_a_great_strength_leaves_the_mean_and_a_small_one_the_data():
    data = _data()
    problem = Deconvolution(data.shape, EXACT)
    np.testing.assert_allclose(problem.solve(data, 1.0).image, data.mean(), atol=2e-3)
    assert problem.solve(data, 1e-6).residual.std() < 0.25 * NOISE


def test_nothing_rings_from_the_borders():
    """A map that ends amid structure: as good beside the border as elsewhere."""
    truth = np.zeros((60, 60))
    truth[:, 30:] = 1.0
    truth[50:] += 1.0
    blurred = gaussian_filter(np.pad(truth, 20, mode="edge"), 1.0)[20:-20, 20:-20]
    found = _minimum(blurred, 1e-3)
    assert np.abs(found - truth)[:2, [5, 10, 40, 50]].max() < 0.02
    assert np.abs(found - truth)[-2:, [5, 10, 40, 50]].max() < 0.02


@pytest.mark.parametrize("shape", [(5,), (1, 9), (2, 9), (3, 9, 9)])
def test_maps_that_are_too_small_are_refused(shape):
    with pytest.raises(InputError, match="larger than bilateral_reach_px = 2"):
        Deconvolution(shape, RestorationOptions(bilateral_reach_px=2))
