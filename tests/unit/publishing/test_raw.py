"""Frames of a run, whether or not an event says how many it has."""

import numpy as np
import pytest

from ptycho_plugin.errors import InputError
from ptycho_plugin.publishing.raw import _read

WINDOW = (slice(1, 3), slice(0, 2))
FRAMES = np.arange(3 * 4 * 5).reshape(3, 4, 5)


@pytest.mark.parametrize("frames", [FRAMES, FRAMES[:, None], FRAMES[:, None, None]])
def test_one_frame_an_event_is_cut(frames: np.ndarray) -> None:
    np.testing.assert_array_equal(_read(frames, WINDOW, "r1"), FRAMES[:, 1:3, :2])


def test_several_frames_an_event_are_refused() -> None:
    with pytest.raises(InputError, match="run r1 has 4 frames in an event"):
        _read(FRAMES[..., None].repeat(2, axis=-1), WINDOW, "r1")
