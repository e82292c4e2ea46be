"""The zone plate's probe against its optics, and the widths that a preflight judges."""

import numpy as np
import pytest

from ptycho_plugin.errors import InputError
from ptycho_plugin.geometry import Geometry
from ptycho_plugin.optics import ZonePlate, defocus_of, enclosing_diameter

GEOMETRY = Geometry.from_wavelength(0.2e-9, distance=2.236, detector_pixel=172e-6, frame_side=192)
FOCAL_DEPTH = 0.2e-9 / (100e-6 / 50e-3) ** 2


def far_field(probe):
    return np.abs(np.fft.fftshift(np.fft.fft2(probe[0], norm="ortho")))


def test_focal_length_of_the_published_zone_plate():
    assert ZonePlate().focal_length(0.2e-9) == pytest.approx(50e-3)


@pytest.mark.parametrize("stop", [200e-6, 300e-6])
def test_a_stop_that_covers_the_zone_plate_is_refused(stop):
    with pytest.raises(InputError, match="the stop must be smaller than the diameter"):
        ZonePlate(central_stop=stop)


def test_the_power_is_the_photons():
    probe = ZonePlate().probe(GEOMETRY, photons=1e6)
    assert probe.shape == (1, 192, 192)
    assert np.sum(np.abs(probe) ** 2, dtype=float) == pytest.approx(1e6, rel=1e-5)


def test_the_published_probe_has_the_published_widths():
    probe = ZonePlate().probe(GEOMETRY)
    assert enclosing_diameter(probe, 0.90, GEOMETRY.object_pixel) == pytest.approx(1.07e-6, rel=0.02)
    assert enclosing_diameter(probe, 0.99, GEOMETRY.object_pixel) == pytest.approx(1.79e-6, rel=0.02)


def test_the_far_field_is_the_zone_plate_with_its_stop():
    far = far_field(ZonePlate().probe(GEOMETRY))
    radius = np.hypot(*(np.indices(far.shape) - 96))
    outer = 100e-6 / 50e-3 * 2.236 / 172e-6
    inner = 20e-6 / 50e-3 * 2.236 / 172e-6
    lit = far > far.max() / 2
    assert lit[(radius > inner + 1) & (radius < outer - 1)].all()
    assert not lit[(radius < inner - 1) | (radius > outer + 1)].any()


def test_defocus_is_positive_downstream():
    """Free-space propagation by +50 um of a probe equals the probe 50 um farther behind the focus."""
    angle = (np.arange(192) - 96) * GEOMETRY.detector_pixel / GEOMETRY.distance
    theta2 = angle[:, None] ** 2 + angle**2
    near = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(ZonePlate(defocus=200e-6).probe(GEOMETRY)[0])))
    # exp(i k z cos(theta)) without exp(ikz), in the time convention exp(i(kz - wt))
    propagated = near * np.exp(-1j * np.pi / GEOMETRY.wavelength * 50e-6 * theta2)
    far = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(ZonePlate(defocus=250e-6).probe(GEOMETRY)[0])))
    overlap = abs(np.vdot(propagated, far)) / np.linalg.norm(propagated) / np.linalg.norm(far)
    assert overlap == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("defocus", [-600e-6, -270e-6, -4e-6, 0.0, 20e-6, 270e-6, 600e-6])
def test_the_defocus_is_found_to_a_thousandth_of_the_focal_depth(defocus):
    probe = ZonePlate(defocus=defocus).probe(GEOMETRY)
    assert defocus_of(probe, GEOMETRY) == pytest.approx(defocus, abs=1e-3 * FOCAL_DEPTH)


@pytest.mark.parametrize("side", [32, 96])
def test_the_defocus_of_another_zone_plate_and_crop(side):
    optic = ZonePlate(diameter=100e-6, outermost_zone=200e-9, central_stop=20e-6, defocus=-500e-6)
    geometry = GEOMETRY.with_frame_side(side)
    assert defocus_of(optic.probe(geometry), geometry) == pytest.approx(-500e-6, abs=1e-3 * 800e-6)


def test_the_defocus_is_blind_to_what_frames_cannot_fix():
    probe = ZonePlate().probe(GEOMETRY)
    rows, columns = np.indices(probe.shape[1:])
    changed = 7 * np.roll(probe * np.exp(1j * (1 + 0.2 * rows - 0.1 * columns)), (9, -20), axis=(1, 2))
    assert defocus_of(changed, GEOMETRY) == pytest.approx(270e-6, abs=1e-3 * FOCAL_DEPTH)


def test_the_defocus_of_a_noisy_probe_of_two_modes():
    rng = np.random.default_rng(5)
    first = ZonePlate().probe(GEOMETRY)
    second = 0.4 * first * np.linspace(-1, 1, 192, dtype=np.float32)
    probe = np.concatenate([first, second])
    noise = rng.normal(size=(*probe.shape, 2)).view(np.complex128)[..., 0]
    noise *= np.sqrt(0.1) * np.linalg.norm(probe) / np.linalg.norm(noise)
    assert defocus_of(probe + noise, GEOMETRY) == pytest.approx(270e-6, abs=0.02 * FOCAL_DEPTH)


def test_the_defocus_of_an_astigmatic_probe_lies_between_its_two_line_foci():
    angle = (np.arange(192) - 96) * GEOMETRY.detector_pixel / GEOMETRY.distance
    phase = np.pi / GEOMETRY.wavelength * 20e-6 * (angle[:, None] ** 2 - angle**2)
    wave = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(ZonePlate().probe(GEOMETRY)[0])))
    probe = np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(wave * np.exp(1j * phase))))[None]
    assert defocus_of(probe, GEOMETRY) == pytest.approx(270e-6, abs=0.02 * FOCAL_DEPTH)


def test_enclosing_diameter_of_a_disc():
    rows, columns = np.indices((64, 64)) - 30
    disc = (np.hypot(rows, columns) <= 20).astype(np.complex64)[None]
    assert enclosing_diameter(disc, 1.0, 1.0) == pytest.approx(40, abs=1)
    assert enclosing_diameter(disc, 0.25, 1.0) == pytest.approx(20, abs=1)


@pytest.mark.parametrize("defocus", [np.nan, np.inf])
def test_a_defocus_that_is_not_finite_is_refused(defocus):
    with pytest.raises(InputError, match=rf"^ZonePlate: defocus = {defocus} cannot be used: .*finite"):
        ZonePlate(defocus=defocus)
