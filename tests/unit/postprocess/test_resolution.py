"""Thresholds, uncertainties, and what flatters."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from ptycho_plugin.errors import InputError
from ptycho_plugin.postprocess.frc import RingCorrelation
from ptycho_plugin.postprocess.resolution import (
    NOTHING_IN_COMMON,
    SAME_SOURCE,
    resolution,
    resolution_of_repeats,
    shared_noise,
)

PIXEL = 13.54e-9
SIGNAL = gaussian_filter(np.random.default_rng(99).normal(size=(160, 160)), 1.0, mode="wrap")
SIGNAL /= SIGNAL.std()


def repeats(number: int, seed: int) -> np.ndarray:
    return SIGNAL + np.random.default_rng(seed).normal(scale=1.0, size=(number, *SIGNAL.shape))


@pytest.mark.parametrize(
    ("name", "limit", "one_pixel"),
    [("half_bit", 0.1716, 1.0), ("one_bit", 1 / 3, 1.0), ("one_seventh", 1 / 7, 1 / 7)],
)
def test_thresholds_are_the_published_ones(name, limit, one_pixel):
    """Few pixels must correlate fully; of many, half a bit is 0.1716, one bit a third."""
    rings = RingCorrelation(np.zeros(2), np.zeros(2), np.array([1, 10**12]))
    np.testing.assert_allclose(rings.threshold(name), [one_pixel, limit], atol=1e-4)


def test_another_threshold_is_refused():
    rings = RingCorrelation(np.zeros(2), np.zeros(2), np.ones(2, int))
    with pytest.raises(InputError, match="'three_sigma' is not known: give one of half_bit, one_bit"):
        rings.threshold("three_sigma")


def test_the_uncertainty_of_a_pair_is_its_scatter():
    """Also where a resample falls below the threshold in one of the first rings: of seeds 40, 54, 74, 78."""
    found = [resolution(*repeats(2, seed), PIXEL) for seed in range(40, 80)]
    scatter = np.std([one.half_period for one in found], ddof=1)
    told = [one.sigma for one in found]
    assert 0.9 * scatter < np.mean(told) < 1.6 * scatter
    assert max(told) < 4 * scatter


def test_the_uncertainty_of_five_repeats_covers_their_scatter():
    found = [resolution_of_repeats(repeats(5, seed), PIXEL) for seed in range(40)]
    scatter = np.std([one.half_period for one in found], ddof=1)
    told = np.mean([one.sigma for one in found])
    assert 0.8 * scatter < told < 1.5 * scatter


def test_two_repeats_are_a_pair():
    maps = repeats(2, 0)
    pair, both = resolution(*maps, PIXEL, seed=3), resolution_of_repeats(maps, PIXEL, seed=3)
    assert (pair.half_period, pair.sigma) == (both.half_period, both.sigma)


def test_averages_resolve_more():
    maps = repeats(4, 5)
    single = resolution_of_repeats(maps, PIXEL)
    averaged = resolution(maps[:2].mean(axis=0), maps[2:].mean(axis=0), PIXEL)
    assert averaged.half_period < single.half_period


def test_a_stricter_threshold_tells_less():
    maps = repeats(2, 7)
    half, one = (resolution(*maps, PIXEL, name) for name in ("half_bit", "one_bit"))
    assert half.half_period < one.half_period


def test_the_same_noise_flatters_and_is_warned_of():
    noise = np.random.default_rng(8).normal(size=SIGNAL.shape)
    same = resolution(SIGNAL + noise, SIGNAL + noise, PIXEL, warning=shared_noise("run 1", "run 1"))
    assert (same.half_period, same.crosses, same.warning) == (PIXEL, False, SAME_SOURCE)
    honest = resolution(*repeats(2, 8), PIXEL, warning=shared_noise("run 1", "run 2"))
    assert honest.crosses
    assert honest.warning is None
    assert shared_noise("", "") is None


@pytest.mark.parametrize("number", [2, 3])
def test_noise_alone_has_no_resolution_and_is_warned_of(number):
    noise = np.random.default_rng(0).normal(size=(number, 100, 100))
    none, some = resolution_of_repeats(noise, PIXEL), resolution_of_repeats(repeats(number, 0), PIXEL)
    assert (none.resolved, none.warning) == (False, NOTHING_IN_COMMON)
    assert (some.resolved, some.warning) == (True, None)


def test_one_map_has_no_resolution():
    with pytest.raises(InputError, match="one map alone has no resolution"):
        resolution_of_repeats(repeats(1, 0), PIXEL)
