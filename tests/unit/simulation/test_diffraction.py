import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ptycho_plugin.optics import ZonePlate
from ptycho_plugin.simulation.diffraction import (
    Illumination,
    downsample,
    fine_geometry,
    zone_plate_illumination,
)
from ptycho_plugin.simulation.options import OpticError

SIDE = 64
CENTRE = np.array([100.0, 110.0])
NO_ERROR = OpticError(defocus_um=0, astigmatism_um=0)


def gaussian_probe(sigma=5.0):
    axis = np.arange(SIDE) - SIDE // 2
    probe = np.exp(-(axis[:, None] ** 2 + axis**2) / (4 * sigma**2)).astype(np.complex64)
    return probe / np.sqrt(np.sum(np.abs(probe) ** 2))


def waves(rows, columns):
    """A smooth object given by a formula, so that it can be sampled anywhere."""
    return (
        1
        + 0.3 * np.cos(2 * np.pi * (0.05 * rows[:, None] + 0.11 * columns))
        + 0.2j * np.sin(2 * np.pi * 0.07 * rows[:, None])
    ).astype(np.complex64)


def grid():
    return np.arange(200.0), np.arange(220.0)


def test_photons_are_conserved():
    rng = np.random.default_rng(0)
    transmission = rng.random((200, 220)).astype(np.complex64)
    probe = gaussian_probe()
    pattern = Illumination(probe).diffract(transmission, CENTRE)
    patch = transmission[100 - 32 : 100 + 32, 110 - 32 : 110 + 32]
    assert pattern.sum() == pytest.approx(np.sum(np.abs(probe * patch) ** 2), rel=1e-5)
    assert pattern.dtype == np.float32


def test_the_direct_beam_is_at_half_the_side():
    pattern = Illumination(gaussian_probe()).diffract(np.ones((200, 220), np.complex64), CENTRE)
    assert np.unravel_index(pattern.argmax(), pattern.shape) == (SIDE // 2, SIDE // 2)
    assert pattern.sum() == pytest.approx(1, rel=1e-5)


def test_the_pattern_is_the_far_field_of_probe_times_patch():
    transmission, probe = waves(*grid()), gaussian_probe()
    exit_wave = probe * transmission[100 - 32 : 100 + 32, 110 - 32 : 110 + 32]
    expected = np.abs(np.fft.fftshift(np.fft.fft2(exit_wave, norm="ortho"))) ** 2
    pattern = Illumination(probe).diffract(transmission, CENTRE)
    np.testing.assert_allclose(pattern, expected, atol=1e-6 * expected.max())


def test_moving_the_probe_is_moving_the_object_back():
    transmission = waves(*grid())
    illumination = Illumination(gaussian_probe())
    moved = illumination.diffract(transmission, np.add(CENTRE, (3, -2)))
    rolled = illumination.diffract(np.roll(transmission, (-3, 2), axis=(0, 1)), CENTRE)
    np.testing.assert_allclose(moved, rolled, atol=1e-7)


@settings(max_examples=20, deadline=None)
@given(st.floats(-5, 5), st.floats(-5, 5))
def test_fractions_of_a_pixel_are_exact(row, column):
    rows, columns = grid()
    illumination = Illumination(gaussian_probe())
    moved = illumination.diffract(waves(rows, columns), np.add(CENTRE, (row, column)))
    resampled = illumination.diffract(waves(rows + row, columns + column), CENTRE)
    np.testing.assert_allclose(moved, resampled, atol=1e-6 * float(resampled.max()))


@pytest.mark.parametrize("centre", [(0, 0), (5, 215), (199, 110), (-500, 100), (1000, -1000)])
def test_beyond_its_edges_nothing_is_in_the_beam(centre):
    transmission = np.full((200, 220), 0.5, np.complex64)
    padded = np.pad(transmission, 1200, constant_values=1)
    illumination = Illumination(gaussian_probe())
    np.testing.assert_array_equal(
        illumination.diffract(transmission, centre), illumination.diffract(padded, np.array(centre) + 1200)
    )


def test_the_true_probe_without_error_is_the_nominal_one(geometry):
    optic = ZonePlate()
    pattern = zone_plate_illumination(optic, NO_ERROR, geometry).diffract(
        np.ones((1, 1), np.complex64), (0, 0)
    )
    nominal = optic.probe(geometry)[0]
    expected = np.abs(np.fft.fftshift(np.fft.fft2(nominal, norm="ortho"))) ** 2
    inner = slice(geometry.frame_side // 2, -(geometry.frame_side // 2))
    assert pattern.shape == (128, 128)
    np.testing.assert_allclose(pattern[inner, inner], expected, atol=1e-4 * expected.max())


def at_the_sample(illumination):
    return illumination._shifted(0, 0)


def test_defocus_error_is_a_farther_sample(geometry):
    wrong = at_the_sample(
        zone_plate_illumination(ZonePlate(), OpticError(defocus_um=30, astigmatism_um=0), geometry)
    )
    expected = ZonePlate(defocus=300e-6).probe(fine_geometry(geometry))[0]
    np.testing.assert_allclose(wrong, expected, atol=1e-5)


def test_astigmatism_focuses_rows_and_columns_apart(geometry):
    """In the row's focus, a half before the nominal one, the probe is narrow in rows alone."""
    optic = ZonePlate(defocus=-100e-6)
    error = OpticError(defocus_um=0, astigmatism_um=100)
    intensity = np.abs(at_the_sample(zone_plate_illumination(optic, error, geometry))) ** 2
    at = np.arange(len(intensity)) - len(intensity) // 2
    rows, columns = (np.sqrt(np.sum(intensity.sum(axis) * at**2)) for axis in (1, 0))
    assert rows < columns / 2


def test_downsampling_keeps_what_coarse_pixels_can_hold():
    turn = 2 * np.pi * np.arange(200) / 200
    fine = (1 + 0.3 * np.cos(5 * turn[:, None] + 7 * turn) + 0.2j * np.sin(40 * turn)).astype(np.complex64)
    too_fine = 0.1 * np.cos(80 * turn)
    np.testing.assert_allclose(downsample((fine + too_fine).astype(np.complex64)), fine[::2, ::2], atol=1e-6)
