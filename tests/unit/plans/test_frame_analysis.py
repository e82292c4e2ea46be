"""Where the beam is and which pixels lie, against simulated frames with a known truth."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from ptycho_plugin.devices import DetectorLimits
from ptycho_plugin.errors import InputError
from ptycho_plugin.plans.frame_analysis import beam_centre, beam_counts, trusted_pixels

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


ALL = np.ones(SHAPE, bool)
MIDDLE = (120.0, 100.0)
RING_COUNTS = 300 * np.pi * (26**2 - 5**2)


def counted(
    frames: NDArray[np.int32], valid: NDArray[np.bool_] = ALL, exposure_s: float = 1.0
) -> tuple[NDArray[np.float64], float]:
    return beam_counts(frames, valid, exposure_s, DetectorLimits())


def rings(number: int = 4, background: float = 0.0) -> NDArray[np.int32]:
    noise = np.random.default_rng(7).poisson(background, (number, *SHAPE))
    return (np.stack([ring(MIDDLE, seed=seed) for seed in range(number)]) + noise).astype(np.int32)


def test_the_beam_is_counted_without_its_background() -> None:
    counts, missing = counted(rings(background=0.5))
    np.testing.assert_allclose(counts, RING_COUNTS, rtol=5e-3)
    assert missing == 0


@given(start=st.integers(85, 140))
def test_what_a_gap_hides_is_filled_in_and_the_error_is_less_than_said(start: int) -> None:
    frames = rings(2)
    hidden = frames[:, start : start + 4].sum() / frames.sum()
    frames[:, start : start + 4] = -1
    counts, missing = counted(frames)
    np.testing.assert_allclose(counts, RING_COUNTS, rtol=missing + 5e-3)
    assert missing == pytest.approx(hidden, abs=0.03)


def test_a_hot_pixel_is_no_beam() -> None:
    frames = rings()
    frames[:, 20, 20] = 100_000
    np.testing.assert_allclose(counted(frames)[0], RING_COUNTS, rtol=5e-3)


def test_a_beam_that_is_half_hidden_is_refused() -> None:
    frames = rings(2)
    frames[:, 100:120] = -1
    with pytest.raises(InputError, match=r"hide \d+% of the direct beam, 10% is the limit: move"):
        counted(frames)


def test_a_pixel_that_does_not_count_every_photon_is_refused() -> None:
    frames = rings(2)
    frames[1, 130, 100] = 2**20 - 1
    with pytest.raises(InputError, match="saturated at 1048575 counts: attenuate more"):
        counted(frames, exposure_s=10.0)
    counted(frames, np.arange(SHAPE[0] * SHAPE[1]).reshape(SHAPE) != 130 * SHAPE[1] + 100)
    with pytest.raises(InputError, match=r"photons pile up from 1e\+06 a second"):
        counted(rings(2), exposure_s=1e-4)


def test_a_rim_that_says_nothing_is_refused() -> None:
    with pytest.raises(InputError, match="rim"):
        counted(rings(2), np.pad(ALL[10:-10, 10:-10], 10))


def test_no_beam_is_refused() -> None:
    with pytest.raises(InputError, match="no beam in the frames"):
        counted(np.zeros((2, *SHAPE), np.int32))
