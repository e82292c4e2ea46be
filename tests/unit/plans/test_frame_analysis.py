"""Where the beam is and which pixels lie, against simulated frames with a known truth."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from ptycho_plugin.errors import InputError
from ptycho_plugin.plans.frame_analysis import beam_centre, trusted_pixels

SHAPE = (240, 200)


def ring(centre: tuple[float, float], counts: float = 300.0, seed: int = 0) -> NDArray[np.int32]:
    rows, columns = np.indices(SHAPE)
    radius = np.hypot(rows - centre[0], columns - centre[1])
    rng = np.random.default_rng(seed)
    expected = counts * (np.clip(26.5 - radius, 0, 1) - np.clip(5.5 - radius, 0, 1)) + 0.01
    return rng.poisson(expected).astype(np.int32)


centres = st.tuples(st.floats(60, 180), st.floats(60, 140))


@given(centre=centres, seed=st.integers(0, 99))
def test_the_ring_is_found_to_a_fraction_of_a_pixel(centre: tuple[float, float], seed: int) -> None:
    assert beam_centre(ring(centre, seed=seed)) == pytest.approx(centre, abs=0.15)


@given(centre=centres, seed=st.integers(0, 99), gap=st.integers(-15, 15))
def test_a_gap_through_the_ring_does_not_shift_it(centre: tuple[float, float], seed: int, gap: int) -> None:
    frame = ring(centre, seed=seed)
    start = round(centre[0]) + gap
    frame[start : start + 17] = -1
    assert beam_centre(frame) == pytest.approx(centre, abs=0.5)


def test_hot_and_bad_pixels_do_not_shift_it() -> None:
    frame = ring((110.0, 90.0))
    rng = np.random.default_rng(5)
    for value in (50_000, 2**20 - 1, -2):
        frame[rng.integers(0, SHAPE[0], 20), rng.integers(0, SHAPE[1], 20)] = value
    assert beam_centre(frame) == pytest.approx((110.0, 90.0), abs=0.3)


@pytest.mark.parametrize("frame", [np.zeros(SHAPE, np.int32), np.full(SHAPE, -1, np.int32)])
def test_a_frame_without_beam_is_refused(frame: NDArray[np.int32]) -> None:
    with pytest.raises(InputError, match="0 px of the frame are lit, at least 25 px"):
        beam_centre(frame)


def test_a_bright_line_is_no_beam() -> None:
    frame = np.zeros(SHAPE, np.int32)
    frame[0] = 1000
    with pytest.raises(InputError, match="a line, no beam"):
        beam_centre(frame)


def test_a_hidden_rim_is_refused() -> None:
    frame = ring((110.0, 90.0))
    rows, columns = np.indices(SHAPE)
    frame[np.hypot(rows - 110, columns - 90) > 20] = -1
    with pytest.raises(InputError, match="gaps hide all but 0 points"):
        beam_centre(frame)


def frames_with(hot: Any, counts: int) -> Any:
    for seed in range(5):
        frame = ring((110.3, 90.6), seed=seed)
        frame[tuple(np.transpose(hot))] += counts
        frame[50:67] = -1
        frame[12, 34] = 2**20 - 1
        yield frame


def test_marked_and_hot_pixels_are_not_trusted_and_all_others_are() -> None:
    hot = [(20, 30), (20, 31), (200, 150), (0, 0), (110, 95)]
    trusted = trusted_pixels(frames_with(hot, 2000))
    expected = np.ones(SHAPE, bool)
    expected[50:67] = False
    expected[12, 34] = False
    expected[tuple(np.transpose(hot))] = False
    np.testing.assert_array_equal(trusted, expected)


def test_a_pixel_that_is_hot_only_at_times_is_found() -> None:
    frames = [ring((110.0, 90.0), seed=seed) for seed in range(5)]
    frames[3][180, 20] = 500
    assert not trusted_pixels(frames)[180, 20]
