"""The zone plate's probe against its optics, and the widths that a preflight judges."""

import numpy as np
import pytest
from pydantic import ValidationError

from ptycho_plugin.geometry import Geometry
from ptycho_plugin.optics import ZonePlate, enclosing_diameter

GEOMETRY = Geometry.from_wavelength(0.2e-9, distance=2.236, detector_pixel=172e-6, frame_side=192)


def far_field(probe):
    return np.abs(np.fft.fftshift(np.fft.fft2(probe[0], norm="ortho")))


def test_focal_length_of_the_published_zone_plate():
    assert ZonePlate().focal_length(0.2e-9) == pytest.approx(50e-3)


@pytest.mark.parametrize("stop", [200e-6, 300e-6])
def test_a_stop_that_covers_the_zone_plate_is_refused(stop):
    with pytest.raises(ValidationError, match="the stop must be smaller than the diameter"):
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


def test_enclosing_diameter_of_a_disc():
    rows, columns = np.indices((64, 64)) - 30
    disc = (np.hypot(rows, columns) <= 20).astype(np.complex64)[None]
    assert enclosing_diameter(disc, 1.0, 1.0) == pytest.approx(40, abs=1)
    assert enclosing_diameter(disc, 0.25, 1.0) == pytest.approx(20, abs=1)
