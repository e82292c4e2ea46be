"""A restored map is nearer to the truth, and its strength near the one that the truth would choose."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from ptycho_plugin.errors import InputError
from ptycho_plugin.postprocess.deconvolution import Deconvolution
from ptycho_plugin.postprocess.restoration import choose_strength, restore
from ptycho_plugin.postprocess.restoration_options import RestorationOptions

SIGMA = 0.01
SIDE = 72


@pytest.fixture(scope="module")
def truth():
    image = np.zeros((SIDE, SIDE))
    rng = np.random.default_rng(0)
    for row, column in rng.integers(5, SIDE - 20, (14, 2)):
        image[row : row + rng.integers(3, 14), column : column + rng.integers(3, 14)] -= 0.1
    return image


def _repeats(truth, smooth_px=0.0, number=4):
    noise = np.random.default_rng(1).normal(size=(number, SIDE, SIDE))
    noise = gaussian_filter(noise, (0, smooth_px, smooth_px), mode="wrap")
    return gaussian_filter(truth, 1.0) + noise * (SIGMA * np.sqrt(number) / noise.std())


def _rms(image, truth):
    return float(np.sqrt(np.mean((image - truth) ** 2)))


def _chosen(repeats, rule):
    sigma = float(np.sqrt(repeats.var(axis=0, ddof=1).mean() / len(repeats)))
    return restore(
        repeats.mean(axis=0),
        RestorationOptions(rule=rule),
        noise_sigma=sigma if rule == "discrepancy" else None,
        halves=(repeats[::2].mean(axis=0), repeats[1::2].mean(axis=0)) if rule == "split_half" else None,
    )


@pytest.mark.parametrize("rule", ["discrepancy", "split_half"])
@pytest.mark.parametrize("smooth_px", [0.0, 0.7])
def test_the_chosen_strength_is_nearly_the_best(truth, rule, smooth_px):
    repeats = _repeats(truth, smooth_px)
    restored = _chosen(repeats, rule)
    average = repeats.mean(axis=0)
    best = min(_rms(restore(average, strength=s * SIGMA).phase, truth) for s in np.geomspace(0.05, 1, 7))
    assert restored.chosen_by == rule
    assert _rms(restored.phase, truth) < (1.05 if rule == "split_half" else 1.3) * best
    assert _rms(restored.phase, truth) < 0.75 * _rms(average, truth)


def test_discrepancy_leaves_a_residual_as_large_as_the_noise(truth):
    restored = _chosen(_repeats(truth), "discrepancy")
    assert restored.residual_rms == pytest.approx(SIGMA, rel=0.02)
    assert abs(restored.residual_correlation) < 0.15


def test_discrepancy_finds_a_strength_far_from_its_first_guess(truth):
    """Noise said to be far less or far more than there is."""
    average = _repeats(truth).mean(axis=0)
    options = RestorationOptions(rule="discrepancy")
    weak, strong = (choose_strength(average, options, noise_sigma=sigma) for sigma in (3e-3, 0.025))
    assert weak < 0.1 * 3e-3
    assert strong > 2 * 0.025
    for strength, sigma in ((weak, 3e-3), (strong, 0.025)):
        assert restore(average, strength=strength).residual_rms == pytest.approx(sigma, rel=0.1)


def test_noisier_halves_ask_for_more(truth):
    options = RestorationOptions()
    clean = gaussian_filter(truth, 1.0)
    strengths = []
    for factor in (1, 3):
        repeats = clean + factor * (_repeats(truth) - clean)
        halves = repeats[::2].mean(axis=0), repeats[1::2].mean(axis=0)
        strengths.append(choose_strength(repeats.mean(axis=0), options, halves=halves))
    assert 2 < strengths[1] / strengths[0] < 6


def test_what_is_returned_tells_how_it_came_about(truth):
    data = _repeats(truth).mean(axis=0).astype(np.float32)
    options = RestorationOptions(bilateral_ratio=0.3)
    restored = restore(data, options, strength=0.003)
    assert restored.phase.dtype == np.float64
    assert (restored.lambda1, restored.chosen_by) == (0.003, "given")
    assert restored.lambda2 == pytest.approx(0.0009)
    assert restored.gap < options.tolerance
    assert 0 < restored.iterations <= options.max_iterations
    assert restored.objective[-1] < restored.objective[0]


def test_the_sign_of_the_phase_does_not_matter(truth):
    repeats = _repeats(truth)
    one, other = (_chosen(sign * repeats, "split_half") for sign in (1, -1))
    np.testing.assert_allclose(one.phase, -other.phase, atol=1e-9)


@pytest.mark.parametrize(
    ("changed", "given", "message"),
    [
        ({"rule": "discrepancy"}, {}, "lacks noise_sigma"),
        ({}, {}, "lacks halves"),
        ({}, {"strength": 0.0}, "give a lambda1 > 0"),
        ({}, {"strength": float("nan")}, "give a lambda1 > 0"),
        ({"rule": "discrepancy"}, {"noise_sigma": 9.0}, "leaves nothing to restore"),
        ({"rule": "discrepancy"}, {"noise_sigma": float("nan")}, "leaves nothing to restore"),
        ({}, {"halves": (np.eye(9), np.eye(9))}, "halves are equal"),
        ({}, {"halves": (np.eye(9), np.eye(8))}, "crop both to one region"),
        ({"psf_sigma_px": -1.0}, {}, "psf_sigma_px"),
    ],
)
def test_what_cannot_be_used_is_refused(changed, given, message):
    with pytest.raises(InputError, match=message):
        restore(np.eye(9), RestorationOptions(**changed), **given)


def test_a_residual_that_no_blurred_map_leaves_is_refused():
    white = np.random.default_rng(0).normal(size=(16, 16))
    options = RestorationOptions(rule="discrepancy", psf_sigma_px=2.0, max_iterations=20)
    with pytest.raises(InputError, match="psf_sigma_px of less than 2"):
        restore(white, options, noise_sigma=0.1)


def test_maps_that_cannot_be_restored_are_refused():
    holes = np.eye(9)
    holes[0, :3] = np.nan
    with pytest.raises(InputError, match="3 pixels of the map are not finite"):
        restore(holes, strength=1.0)
    with pytest.raises(InputError, match="the map is constant"):
        restore(np.ones((9, 9)), strength=1.0)
    with pytest.raises(InputError, match="of two dimensions"):
        restore(np.arange(9.0), strength=1.0)


def test_split_half_takes_what_predicts_best_lowered_to_the_noise_of_both(truth):
    """Among strengths on a grid, by the definition."""
    repeats = _repeats(truth)
    halves = repeats[::2].mean(axis=0), repeats[1::2].mean(axis=0)
    problem = Deconvolution(truth.shape, RestorationOptions())
    grid = np.geomspace(0.1, 1, 13) * SIGMA

    def error(strength):
        restored = (problem.solve(half, strength).image for half in halves)
        return sum(_rms(problem.blurred(x), y) ** 2 for x, y in zip(restored, halves[::-1], strict=True))

    best = grid[np.argmin([error(strength) for strength in grid])]
    found = choose_strength(repeats.mean(axis=0), RestorationOptions(), halves=halves)
    assert found * np.sqrt(2) == pytest.approx(best, rel=0.25)
