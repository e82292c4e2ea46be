import numpy as np
import pytest

from ptycho_plugin.orientation import crop_window
from ptycho_plugin.simulation import pilatus
from ptycho_plugin.simulation.options import SimulationOptions
from ptycho_plugin.simulation.pilatus import Pilatus2M

NOTHING = np.zeros((0, 0), np.float32)


def camera(bad_pixels=0, hot_pixels=0, hot_pixel_counts_per_s=0.0, seed=0):
    return Pilatus2M(bad_pixels, hot_pixels, hot_pixel_counts_per_s, seed)


def dark(camera, background=0.0, rng=None):
    return camera.read_out(NOTHING, (0, 0), background, 0.2, rng)


def test_modules_and_gaps_of_a_real_pilatus_2m():
    gaps = pilatus.gaps()
    assert gaps.shape == (1679, 1475)
    assert np.count_nonzero(gaps) == 197_365
    assert np.count_nonzero(~gaps) == 2_279_160
    assert gaps[195:212].all()
    assert gaps[:, 487:494].all()
    assert not gaps[:195, :487].any()
    assert not gaps[-195:, -487:].any()


def test_gaps_and_bad_pixels_are_marked():
    frame = dark(camera(bad_pixels=12))
    assert frame.dtype == np.int32
    assert frame.shape == (1679, 1475)
    np.testing.assert_array_equal(frame == -1, pilatus.gaps())
    assert np.count_nonzero(frame == -2) == 12
    assert np.count_nonzero(frame == 0) == 2_279_160 - 12


def test_bad_pixels_stay_where_they_are():
    first, again, other = (dark(camera(bad_pixels=5, seed=s)) for s in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_hot_pixels_count_time_without_light():
    frame = dark(camera(hot_pixels=7, hot_pixel_counts_per_s=1000.0))
    assert np.count_nonzero(frame == 200) == 7


def test_counters_saturate():
    pattern = np.array([[2.0**20 - 2, 2.0**20, 1e12]], np.float32)
    frame = camera().read_out(pattern, (900, 700), 0.0, 0.2, np.random.default_rng(0))
    assert frame[900, 701:703].tolist() != [0, 0]
    assert frame[900, 702] == 2**20 - 1
    assert frame.max() == 2**20 - 1


def test_the_pattern_lies_where_its_corner_says():
    pattern = np.arange(12, dtype=np.float32).reshape(3, 4)
    frame = camera().read_out(pattern, (900, 700), 0.0, 0.2, None)
    np.testing.assert_array_equal(frame[900:903, 700:704], pattern)
    assert frame[frame > 0].sum() == pattern.sum()


@pytest.mark.parametrize(
    ("corner", "kept"),
    [((-1, -2), (slice(1, None), slice(2, None))), ((1677, 1472), (slice(0, 2), slice(0, 3)))],
)
def test_what_leaves_the_frame_is_lost(corner, kept):
    pattern = 1 + np.arange(12, dtype=np.float32).reshape(3, 4)
    frame = camera().read_out(pattern, corner, 0.0, 0.2, None)
    assert frame[frame > 0].sum() == pattern[kept].sum()


@pytest.mark.parametrize("mean", [0.02, 0.5], ids=["sparse", "dense"])
def test_background_is_poisson(mean):
    frame = dark(camera(), mean, np.random.default_rng(4))
    counts = frame[frame >= 0]
    error = np.sqrt(mean / counts.size)
    assert counts.mean() == pytest.approx(mean, abs=5 * error)
    assert counts.var() / counts.mean() == pytest.approx(1, abs=5 * np.sqrt(2 / counts.size))


def test_the_pattern_is_poisson():
    pattern = np.full((150, 150), 9.0, np.float32)
    frame = camera().read_out(pattern, (870, 670), 0.0, 0.2, np.random.default_rng(4))
    counts = frame[870:1020, 670:820]
    assert counts.mean() == pytest.approx(9, abs=5 * 3 / 150)
    assert counts.var() == pytest.approx(9, rel=0.05)


def test_the_published_crop_about_the_default_centre_touches_no_gap():
    gaps = pilatus.gaps()
    assert not gaps[crop_window(SimulationOptions().beam_centre_px, 192, gaps.shape)].any()
