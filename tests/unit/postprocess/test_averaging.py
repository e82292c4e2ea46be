import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptycho_plugin.errors import InputError
from ptycho_plugin.postprocess.averaging import average, halves

SHAPE = (60, 70)


@pytest.mark.parametrize("photons", [[1, 1], [1, 1, 1, 1, 1], [4, 1, 2]])
def test_the_error_of_the_average_is_what_is_told(photons):
    rng = np.random.default_rng(2)
    weights = np.array(photons, float)
    errors, told = [], []
    for _ in range(20):
        maps = 5.0 + rng.normal(size=(len(weights), *SHAPE)) / np.sqrt(weights)[:, None, None]
        found = average(maps, weights)
        errors.append(found.mean - 5.0)
        told.append(found.standard_error)
    true = np.std(errors)
    assert true == pytest.approx(1 / np.sqrt(weights.sum()), rel=0.02)
    assert np.sqrt(np.mean(np.square(told))) == pytest.approx(true, rel=0.02)
    assert np.std(told) < 0.15 * true  # also of two repeats, for a single pixel


def test_noise_that_is_larger_in_one_place_is_told_there():
    rng = np.random.default_rng(3)
    sigma = np.where(np.arange(SHAPE[1]) < 35, 0.1, 1.0)
    found = average(sigma * rng.normal(size=(5, *SHAPE)), np.ones(5)).standard_error
    assert found[:, 50:].mean() == pytest.approx(10 * found[:, :20].mean(), rel=0.1)


@given(scale=st.floats(1e-6, 1e6))
def test_the_unit_of_the_weights_does_not_matter(scale):
    maps = np.random.default_rng(4).normal(size=(3, *SHAPE))
    one, other = (average(maps, factor * np.array([1.0, 2.0, 3.0])) for factor in (1.0, scale))
    np.testing.assert_allclose(other.mean, one.mean)
    np.testing.assert_allclose(other.standard_error, one.standard_error)


def test_halves_have_no_repeat_in_common():
    maps = np.stack([np.full(SHAPE, value) for value in (1.0, 10.0, 3.0, 30.0, 5.0)])
    first, second = halves(maps, np.array([1, 1, 1, 3, 2]))
    assert first == pytest.approx(np.full(SHAPE, (1 + 3 + 2 * 5) / 4))
    assert second == pytest.approx(np.full(SHAPE, (10 + 3 * 30) / 4))


@pytest.mark.parametrize(
    ("number", "weights", "said"),
    [
        (1, [1.0], "one map alone has no scatter"),
        (3, [1.0, 2.0], r"weights \[1.0, 2.0\] do not fit 3 maps"),
        (2, [1.0, 0.0], "give each a number > 0"),
        (2, [1.0, np.nan], "give each a number > 0"),
    ],
)
def test_what_cannot_be_averaged_is_refused(number, weights, said):
    with pytest.raises(InputError, match=said):
        average(np.zeros((number, *SHAPE)), weights)
