"""The two regularisations against their definitions, their adjoints and their bounds."""

import numpy as np
import pytest
from scipy import fft

from ptycho_plugin.postprocess.seminorms import Bilateral, TotalVariation

SHAPE = (9, 12)


def _image(seed: int = 0, shape: tuple[int, int] = SHAPE) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


def _seminorms():
    return [TotalVariation(SHAPE), Bilateral(SHAPE, 1, 0.5), Bilateral(SHAPE, 3, 0.8)]


def test_total_variation_is_the_mean_over_the_ways_to_pair_differences():
    """Each flip of the map makes forward differences of another corner's."""
    image = _image()

    def forward(x):
        return np.hypot(np.diff(x, axis=0)[:, :-1], np.diff(x, axis=1)[:-1]).sum()

    flips = [image, image[::-1], image[:, ::-1], image[::-1, ::-1]]
    assert TotalVariation(SHAPE).value(image) == pytest.approx(np.mean([forward(x) for x in flips]))


def test_total_variation_of_a_ramp_does_not_depend_on_its_direction():
    rows, columns = np.indices((20, 20))
    values = [TotalVariation((20, 20)).value(np.cos(t) * rows + np.sin(t) * columns) for t in (0, 0.4, 2.0)]
    np.testing.assert_allclose(values, 19 * 19)


def test_bilateral_is_the_sum_over_all_shifts_within_the_map():
    image, reach, decay = _image(), 2, 0.6
    total = 0.0
    for row in range(SHAPE[0]):
        for column in range(SHAPE[1]):
            for down in range(-reach, reach + 1):
                for right in range(-reach, reach + 1):
                    if 0 <= row + down < SHAPE[0] and 0 <= column + right < SHAPE[1]:
                        difference = abs(image[row, column] - image[row + down, column + right])
                        total += decay ** (abs(down) + abs(right)) * difference
    assert Bilateral(SHAPE, reach, decay).value(image) == pytest.approx(total)


@pytest.mark.parametrize("seminorm", _seminorms())
def test_duals_reach_the_value_and_never_exceed_it(seminorm):
    """<K x, w v> is <x, adjoint(v)>: far up along K x it is sum w |K x|, for other duals less."""
    image, dual = _image(), seminorm.new_dual()
    for source, expected in ((_image(1), None), (image, seminorm.value(image))):
        seminorm.ascend(dual, source, 1e9)
        adjoint = np.zeros(SHAPE)
        seminorm.add_adjoint(dual, adjoint, 1.0)
        paired = float(np.vdot(adjoint, image))
        assert paired < seminorm.value(image) * (1 + 1e-9)
        if expected is not None:
            seminorm.ascend(dual, source, 1e12)
            adjoint[:] = 0
            seminorm.add_adjoint(dual, adjoint, 2.0)
            assert np.vdot(adjoint, image) == pytest.approx(2 * expected, rel=1e-3)


@pytest.mark.parametrize("seminorm", _seminorms())
def test_the_spectrum_bounds_the_differences(seminorm):
    """Without a step out of the balls, adjoint(ascend(x)) is the operator that it must not be below."""
    size = np.prod(SHAPE)
    operator, bound = np.empty((size, size)), np.empty((size, size))
    for pixel, unit in enumerate(np.eye(size).reshape(size, *SHAPE)):
        dual, out = seminorm.new_dual(), np.zeros(SHAPE)
        seminorm.ascend(dual, unit, 0.1)
        seminorm.add_adjoint(dual, out, 10.0)
        operator[pixel] = out.ravel()
        bound[pixel] = fft.idctn(seminorm.spectrum * fft.dctn(unit, norm="ortho"), norm="ortho").ravel()
    assert np.linalg.eigvalsh(bound - operator).min() > -1e-9
    inner = np.ravel_multi_index((4, 6), SHAPE)
    np.testing.assert_allclose(bound[inner], operator[inner], atol=1e-9)
