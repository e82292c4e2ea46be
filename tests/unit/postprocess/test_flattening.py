"""The zero of a phase is the ground: however the map lies, and however much matter there is."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from ptycho_plugin.errors import InputError
from ptycho_plugin.postprocess.flattening import flattened, unwrapped
from ptycho_plugin.simulation.octapods import OctapodFilm

SIDE = 240
SIGMA = 0.006
"""Of the average of five maps."""
ROWS, COLUMNS = np.indices((SIDE, SIDE))


def film(density: float) -> np.ndarray:
    sample = OctapodFilm(density_per_um2=density, seed=5)
    return np.angle(sample.transmission((SIDE, SIDE), 13.54e-9, 6199.2)).astype(float)


def noise(seed: int) -> np.ndarray:
    image = gaussian_filter(np.random.default_rng(seed).normal(size=(SIDE, SIDE)), 0.6)
    return image * (SIGMA / image.std())


FILMS = {density: film(density) for density in (200.0, 1500.0, 4500.0, 12_000.0)}


@settings(max_examples=8)
@given(
    density=st.sampled_from([200.0, 1500.0, 4500.0]),
    constant=st.floats(-10, 10),
    row=st.floats(-0.01, 0.01),
    column=st.floats(-0.01, 0.01),
)
def test_constant_and_ramp_go_by_the_ground_and_not_by_the_matter(density, constant, row, column):
    true = FILMS[density] + noise(1)
    found = flattened(true + constant + row * ROWS + column * COLUMNS, noise(2))
    assert found.ground_is_seen
    error = found.phase - true
    assert abs(error.mean()) < SIGMA
    assert np.ptp(error) < 2 * SIGMA  # of the ramp that is left, from one corner to the other
    assert FILMS[density][found.ground].mean() > -2 * SIGMA


def test_where_no_ground_is_seen_it_is_said_and_the_edge_is_the_zero():
    true = FILMS[12_000.0] + noise(1)
    found = flattened(true + 3.0, noise(2))
    assert not found.ground_is_seen
    assert -0.1 < (found.phase - true).mean() < 0.1
    assert np.mean(found.phase > 3 * SIGMA) < 0.01


def test_a_map_with_hardly_a_pixel_at_its_edge_has_no_ground_and_is_levelled_all_the_same():
    """As a small map of a dense film has it: nothing but a peak or two is as high as the highest."""
    peaks = np.full((40, 40), -1.0)
    peaks[::8, ::8] = np.linspace(-0.9, 0.0, 25).reshape(5, 5)
    found = flattened(gaussian_filter(peaks, 1.0) + 0.01 * ROWS[:40, :40], 1e-3 * noise(2)[:40, :40])
    assert not found.ground_is_seen
    assert np.isfinite(found.phase).all()
    assert found.phase.mean() < 0


def test_a_ground_that_is_given_is_the_one():
    where = np.zeros((SIDE, SIDE), bool)
    where[:40, :40] = where[-40:, :20] = True
    image = FILMS[1500.0] * ~where + 0.003 * ROWS - 1.0
    found = flattened(image, ground=where)
    np.testing.assert_allclose(found.phase, FILMS[1500.0] * ~where, atol=1e-9)


@pytest.mark.parametrize("slope", [0.0, 0.03, 0.9])
def test_a_phase_of_many_turns_is_unwrapped(slope):
    hill = -9.0 * np.exp(-((ROWS - 100) ** 2 + (COLUMNS - 130) ** 2) / (2 * 35.0**2))
    found = unwrapped(np.exp(1j * (hill + slope * ROWS + 1.0)))
    corner = np.s_[:5, :5]
    plane = np.gradient(found - hill)
    assert max(np.ptp(part) for part in plane) < 1e-6, "no turn is missing anywhere"
    assert np.ptp((found - hill)[corner]) < 20 * abs(slope) + 0.2


def test_what_cannot_be_levelled_is_refused():
    with pytest.raises(InputError, match="give that, or the ground"):
        flattened(FILMS[200.0])
    with pytest.raises(InputError, match="noise is zero everywhere"):
        flattened(FILMS[200.0], np.zeros((SIDE, SIDE)))
    line = np.zeros((SIDE, SIDE), bool)
    line[7] = True
    with pytest.raises(InputError, match="a ground of 240 pixels does not span a plane"):
        flattened(FILMS[200.0], ground=line)
