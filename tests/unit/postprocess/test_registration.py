import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from ptycho_plugin.errors import InputError
from ptycho_plugin.postprocess.registration import (
    DISTINCT,
    MARGIN_PX,
    align,
    align_repeats,
    distinctness,
    find_shift,
    shifted,
    without_relative_ramp,
)
from ptycho_plugin.simulation.octapods import OctapodFilm


def _object(side: int = 128) -> np.ndarray:
    rng = np.random.default_rng(7)
    phase = gaussian_filter(rng.normal(size=(side, side)), 2, mode="wrap")
    return np.exp(0.3j * phase / phase.std())


OBJECT = _object()
SHIFTS = st.tuples(st.floats(-4, 4), st.floats(-4, 4)).map(np.array)


def test_whole_pixels_shift_as_roll_does():
    np.testing.assert_allclose(shifted(OBJECT, np.array([3.0, -5.0])), np.roll(OBJECT, (3, -5), (0, 1)))


@settings(max_examples=8)
@given(SHIFTS)
def test_a_shift_is_found_again(shift):
    moved = shifted(OBJECT, shift)
    found = find_shift(OBJECT.imag, moved.imag)
    np.testing.assert_allclose(found, -shift, atol=0.1)


@settings(max_examples=8)
@given(row=st.floats(-1, 1), column=st.floats(-1, 1), phase=st.floats(-3, 3))
def test_ramp_and_global_phase_go(row, column, phase):
    rows, columns = np.indices(OBJECT.shape)
    ramped = OBJECT * np.exp(1j * (row * rows + column * columns + phase))
    np.testing.assert_allclose(without_relative_ramp(ramped, OBJECT), OBJECT, atol=1e-9)


@settings(max_examples=8)
@given(shift=SHIFTS, row=st.floats(-0.1, 0.1), column=st.floats(-0.1, 0.1))
def test_shift_ramp_and_phase_go_together(shift, row, column):
    rows, columns = np.indices(OBJECT.shape)
    changed = shifted(OBJECT, shift) * np.exp(1j * (row * rows + column * columns + 1))
    inner = np.s_[25:-25, 25:-25]
    np.testing.assert_allclose(align(changed, OBJECT).image[inner], OBJECT[inner], atol=0.01)


def test_maps_of_other_shapes_are_refused():
    with pytest.raises(InputError, match="must be alike"):
        without_relative_ramp(OBJECT, OBJECT[:-1])
    with pytest.raises(InputError, match="larger than 40 px"):
        without_relative_ramp(OBJECT[:40, :40], OBJECT[:40, :40])


@pytest.mark.parametrize("sigma", [0.0, 0.013, 0.02])
@pytest.mark.parametrize("seed", range(3))
def test_repeats_are_registered_to_a_twentieth_of_a_pixel(noisy, sigma, seed):
    """0.013 rad is the noise of a map of 1e6 photons a point."""
    shift = np.random.default_rng(seed).uniform(-3, 3, 2)
    found = align(noisy(2 * seed + 1, shift, sigma), noisy(2 * seed, sigma=sigma)).shift_px
    np.testing.assert_allclose(found, -shift, atol=0.05)


def test_maps_with_nothing_in_common_are_left_finite():
    first, second = (np.exp(0.1j * np.random.default_rng(seed).normal(size=(80, 80))) for seed in range(2))
    assert np.isfinite(align(second, first).image).all()


def sparse_repeats(number: int) -> tuple[np.ndarray, np.ndarray]:
    """Octapods that one map hardly tells from its noise, and the shifts of the repeats."""
    rng = np.random.default_rng(3)
    film = OctapodFilm(
        density_per_um2=60.0,
        octapods_per_chain=1,
        chains_per_cluster=12,
        cluster_nm=150.0,
        matrix=None,
        seed=4,
    )
    true = film.transmission((260, 260), 13.54e-9, 6199.2)
    shifts = np.vstack([np.zeros(2), rng.uniform(-4, 4, (number - 1, 2))])
    noise = gaussian_filter(rng.normal(size=(number, 260, 260)), (0, 0.6, 0.6))
    noise *= 0.021 / noise.std()
    return np.stack([shifted(true, shift) for shift in shifts]) * np.exp(1j * noise), shifts


def test_many_repeats_find_each_other_where_two_cannot():
    repeats, shifts = sparse_repeats(6)
    errors = [
        align(repeat, repeats[0]).shift_px + shift for repeat, shift in zip(repeats, shifts, strict=True)
    ]
    assert np.abs(errors).max() > 3, "else pairs would do"
    found = align_repeats(repeats)
    np.testing.assert_allclose([one.shift_px for one in found], -shifts, atol=1.5)


@pytest.mark.parametrize("away_px", [23, 30])
def test_no_map_is_moved_farther_than_the_border_that_is_cut_off(away_px):
    wide = _object(220)
    repeats = np.stack([wide[40:160, 40:160], wide[40 + away_px : 160 + away_px, 40:160]])
    found = [align(repeats[1], repeats[0]), *align_repeats(repeats)]
    assert max(np.abs(one.shift_px).max() for one in found) <= MARGIN_PX


def test_a_search_looks_no_farther_than_it_is_told():
    found = find_shift(OBJECT.imag, np.roll(OBJECT.imag, 5, axis=0), reach_px=3)
    assert np.abs(found).max() <= 3


def test_align_repeats_gives_the_first_s_frame(noisy):
    repeats = np.stack([noisy(0), noisy(1, (2.3, -1.2)), noisy(2, (-0.4, 3.1))])
    first, *others = align_repeats(repeats)
    np.testing.assert_allclose(first.shift_px, 0, atol=1e-12)
    np.testing.assert_allclose([one.shift_px for one in others], [[-2.3, 1.2], [0.4, -3.1]], atol=0.05)
    inner = np.s_[25:-25, 25:-25]
    for one in others:
        assert np.angle(one.image * repeats[0].conj())[inner].std() < 2 * 0.013


@pytest.mark.parametrize("number", [2, 3, 5])
def test_noise_is_not_distinct(number):
    noise = np.random.default_rng(number).normal(size=(number, 200, 200))
    found = align_repeats(np.exp(0.01j * noise))
    total = np.sum([one.image for one in found], axis=0)
    assert max(distinctness(one.image, total - one.image) for one in found) < DISTINCT


@pytest.mark.parametrize("side", [56, 60])
def test_a_small_map_is_not_lost_beside_itself(side):
    """So few pixels are left within the margin that the correlation comes round before it ends."""
    windows = [OBJECT[first : first + side, first : first + side] for first in range(0, 48, 12)]
    assert min(distinctness(window, window) for window in windows) > DISTINCT


@pytest.mark.parametrize("slope", [0.5, -0.4])
def test_a_map_keeps_the_reference_s_ramp(noisy, slope):
    rows, columns = np.indices(noisy(0).shape)
    steep = np.exp(1j * slope * (rows - 0.7 * columns))
    found = align(noisy(1, (1.4, -2.7), 0.0), noisy(0, sigma=0.0) * steep)
    inner = np.s_[25:-25, 25:-25]
    assert np.angle(found.image * (noisy(0, sigma=0.0) * steep).conj())[inner].std() < 2e-3
    np.testing.assert_allclose(found.shift_px, [-1.4, 2.7], atol=0.02)
