"""Crops of raw frames: the direct beam lands on [side//2, side//2] whatever the camera's mounting."""

import numpy as np
import pytest

from ptycho_plugin.errors import InputError
from ptycho_plugin.orientation import DetectorOrientation, crop_window

EVERY_ORIENTATION = list(DetectorOrientation)


@pytest.mark.parametrize("side", [8, 9])
@pytest.mark.parametrize("orientation", EVERY_ORIENTATION)
def test_the_beam_and_an_asymmetric_pattern_survive_every_mounting(
    orientation: DetectorOrientation, side: int
) -> None:
    # A camera sees a wide scattering pattern; the crop must be the same middle part in all mountings.
    rng = np.random.default_rng(3)
    pattern = rng.integers(0, 1000, (41, 47))
    beam = (22, 19)
    raw = orientation.to_raw(pattern)
    marked = np.zeros(pattern.shape)
    marked[beam] = 1
    raw_beam = np.argwhere(orientation.to_raw(marked))[0]

    window = crop_window(tuple(raw_beam + 0.3), side, raw.shape, orientation)
    crop = orientation.to_scattering(raw[window])

    row, column = beam[0] - side // 2, beam[1] - side // 2
    np.testing.assert_array_equal(crop, pattern[row : row + side, column : column + side])


@pytest.mark.parametrize("orientation", EVERY_ORIENTATION)
def test_raw_and_scattering_are_inverse(orientation: DetectorOrientation) -> None:
    frames = np.arange(2 * 3 * 4).reshape(2, 3, 4)
    np.testing.assert_array_equal(orientation.to_scattering(orientation.to_raw(frames)), frames)


def test_a_window_that_leaves_the_frame_is_refused() -> None:
    with pytest.raises(InputError, match="leaves the 40 x 30 px frame"):
        crop_window((10.0, 28.0), 16, (40, 30))


@pytest.mark.parametrize("side", [8, 9])
@pytest.mark.parametrize("orientation", EVERY_ORIENTATION)
def test_a_crop_turned_about_the_beam_is_the_crop_taken_anew(
    orientation: DetectorOrientation, side: int
) -> None:
    rng = np.random.default_rng(4)
    raw, beam = rng.integers(0, 1000, (41, 47)), (22, 19)
    as_is = raw[crop_window(beam, side, raw.shape)]
    anew = orientation.to_scattering(raw[crop_window(beam, side, raw.shape, orientation)])
    inside = np.s_[1 - side % 2 :, 1 - side % 2 :]
    np.testing.assert_array_equal(orientation.about_beam(as_is)[inside], anew[inside])


@pytest.mark.parametrize("side", [8, 9])
@pytest.mark.parametrize("second", EVERY_ORIENTATION)
@pytest.mark.parametrize("first", EVERY_ORIENTATION)
def test_two_orientations_are_one(first: DetectorOrientation, second: DetectorOrientation, side: int) -> None:
    frames = np.random.default_rng(5).integers(0, 1000, (2, side, side))
    both = first.followed_by(second)
    np.testing.assert_array_equal(
        both.to_scattering(frames), second.to_scattering(first.to_scattering(frames))
    )
    np.testing.assert_array_equal(both.about_beam(frames), second.about_beam(first.about_beam(frames)))
