"""The illumination: a zone plate's probe, how far from focus one is, how wide; and free space."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from ptycho_plugin.checked_model import CheckedModel
from ptycho_plugin.geometry import Geometry

Metres = Annotated[float, Field(json_schema_extra={"units": "m"})]

CONE_FRACTION = 0.75
"""Of the far field's intensity: what is outside may be noise."""
STEPS_PER_FOCAL_DEPTH = 4
FOCUS_TOLERANCE = 1e-3
"""Of the focal depth."""


class ZonePlate(CheckedModel):
    """A zone plate illuminated by a plane wave, and where the sample stands behind it.

    Parameters
    ----------
    diameter, outermost_zone : float
        In metres; focal length = diameter * outermost zone / wavelength.
    central_stop : float
        Diameter of the stop in metres, smaller than the zone plate's; 0 for none.
    defocus : float
        From the focus downstream to the sample, in metres.
    """

    kind: Literal["zone_plate"] = "zone_plate"
    diameter: Annotated[Metres, Field(gt=0)] = 200e-6
    outermost_zone: Annotated[Metres, Field(gt=0)] = 50e-9
    central_stop: Annotated[Metres, Field(ge=0)] = 40e-6
    defocus: Metres = 270e-6

    @model_validator(mode="after")
    def _stop_leaves_zones(self) -> Self:
        if self.central_stop >= self.diameter:
            raise ValueError(
                f"a central stop of {self.central_stop:g} m covers the zone plate of {self.diameter:g} m: "
                "the stop must be smaller than the diameter"
            )
        return self

    def focal_length(self, wavelength: float) -> float:
        """Return the focal length in metres."""
        return self.diameter * self.outermost_zone / wavelength

    def probe(self, geometry: Geometry, photons: float = 1.0) -> NDArray[np.complex64]:
        """Return the illumination at the sample, ``(1, row, column)`` complex64.

        The pupil is drawn on the detector, in angle, and carries the phase of free-space
        propagation over the defocus (time convention exp(i(kz - wt))).

        Parameters
        ----------
        geometry : Geometry
        photons : float
            sum |probe|^2, the photons of one frame.
        """
        theta2 = _squared_angle(geometry)
        theta = np.sqrt(theta2)
        focal_length = self.focal_length(geometry.wavelength)
        edge = geometry.detector_pixel / geometry.distance
        pupil = _soft_disc(theta, self.diameter / (2 * focal_length), edge)
        if self.central_stop > 0:
            pupil -= _soft_disc(theta, self.central_stop / (2 * focal_length), edge)
        probe = _at_distance(pupil, self.defocus, geometry)
        probe *= np.sqrt(photons / np.sum(np.abs(probe) ** 2))
        return probe[None].astype(np.complex64)


def _squared_angle(geometry: Geometry) -> NDArray[np.float64]:
    """Return the squared scattering angle of each pixel of a frame, (row, column) in rad^2."""
    half = geometry.frame_side // 2
    angle = (np.arange(geometry.frame_side) - half) * geometry.detector_pixel / geometry.distance
    return np.asarray(angle[:, None] ** 2 + angle[None, :] ** 2)


def _at_distance(
    far_field: NDArray[np.inexact[Any]], distance: float, geometry: Geometry
) -> NDArray[np.complex128]:
    """Return the field some metres downstream of the plane that a far field belongs to.

    Both are ``(..., row, column)`` with their origin in the centre. Fresnel's approximation in the time
    convention exp(i(kz - wt)): at an angle theta the phase lags by pi distance theta^2 / lambda.
    """
    axes = (-2, -1)
    wave = far_field * np.exp(-1j * np.pi / geometry.wavelength * distance * _squared_angle(geometry))
    field: NDArray[np.complex128] = np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(wave, axes)), axes)
    return field


def defocus_of(probe: NDArray[np.complexfloating], geometry: Geometry) -> float:
    """Return how far downstream of its focus a probe was measured.

    The focus is the plane in which the probe, propagated in free space, is sharpest: where
    the sum of its squared intensity, all modes together, is largest. A global phase, a linear
    phase ramp and a shift of the probe change nothing.

    Parameters
    ----------
    probe : ndarray, (mode, row, column), complex
        Not zero everywhere; any scale.
    geometry : Geometry
        Of the probe's grid.

    Returns
    -------
    float
        In metres, as `ZonePlate.defocus`; negative upstream. It is looked for up to where the
        beam's cone fills the window lambda z / pixel: the grid describes no larger defocus.

    Notes
    -----
    Sharpness as in Muller and Buffington, J. Opt. Soc. Am. 64, 1200 (1974), equation S1.
    """
    from scipy.optimize import minimize_scalar

    axes = (-2, -1)
    far_field = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(probe, axes)), axes)
    pixel_angle = geometry.detector_pixel / geometry.distance
    cone = max(enclosing_diameter(far_field, CONE_FRACTION, pixel_angle), 2 * pixel_angle)
    focal_depth = geometry.wavelength / (cone / 2) ** 2
    step = focal_depth / STEPS_PER_FOCAL_DEPTH

    def blur(defocus: float) -> float:
        intensity = np.sum(np.abs(_at_distance(far_field, -defocus, geometry)) ** 2, axis=0)
        return -float(np.sum(intensity**2))

    steps = int(geometry.illuminated_field / cone / step)
    nearest = min(np.arange(-steps, steps + 1) * step, key=blur)
    found = minimize_scalar(
        blur,
        bounds=(nearest - step, nearest + step),
        method="bounded",
        options={"xatol": FOCUS_TOLERANCE * focal_depth},
    )
    return float(found.x)


def _soft_disc(theta: NDArray[np.float64], radius: float, edge: float) -> NDArray[np.float64]:
    """Return a disc whose rim is one detector pixel wide, so that it moves without steps."""
    disc: NDArray[np.float64] = np.clip((radius - theta) / edge + 0.5, 0.0, 1.0)
    return disc


def enclosing_diameter(probe: NDArray[np.complexfloating], fraction: float, pixel: float) -> float:
    """Return the diameter that holds a fraction of the probe's intensity.

    Parameters
    ----------
    probe : ndarray, (mode, row, column), complex
    fraction : float
        Between 0 and 1.
    pixel : float
        Side of a probe pixel in metres.

    Returns
    -------
    float
        Diameter in metres of the circle about the intensity's centroid.
    """
    intensity = np.sum(np.abs(probe) ** 2, axis=0, dtype=np.float64)
    rows, columns = np.indices(intensity.shape)
    total = intensity.sum()
    centre = (rows * intensity).sum() / total, (columns * intensity).sum() / total
    radius = np.hypot(rows - centre[0], columns - centre[1]).ravel()
    order = np.argsort(radius)
    enclosed = np.cumsum(intensity.ravel()[order]) / total
    return float(2 * pixel * radius[order][min(int(np.searchsorted(enclosed, fraction)), radius.size - 1)])


def fresnel_factors(side: int, pixel: float, wavelength: float, distance: float) -> NDArray[np.complex64]:
    """Return the factors of a wave's transform that propagate it through free space.

    Parameters
    ----------
    side : int
        Rows and columns of the wave.
    pixel, wavelength, distance : float
        In metres; a negative distance is upstream.

    Returns
    -------
    ndarray, (side, side), complex64
        In the transform's order: exp(-i pi lambda distance f^2), the paraxial angular spectrum in the
        time convention exp(i(kz - wt)) (Goodman, Introduction to Fourier Optics, 3rd ed., equation 4-21).
    """
    frequency2 = np.fft.fftfreq(side, pixel) ** 2
    phase = np.pi * wavelength * distance * (frequency2[:, None] + frequency2)
    return np.exp(-1j * phase).astype(np.complex64)


def near_field_probe(mean_frame: NDArray[np.floating], geometry: Geometry) -> NDArray[np.complex64]:
    """Return the start probe of a near-field scan, ``(1, row, column)``: the mean frame, gone back.

    Over many positions the sample averages out, and what reached the detector is the illumination.

    Parameters
    ----------
    mean_frame : ndarray, (row, column)
        Counts, 0 or more.
    geometry : Geometry
        Of a near field.
    """
    distance = -geometry.effective_distance
    factors = fresnel_factors(geometry.frame_side, geometry.object_pixel, geometry.wavelength, distance)
    wave = np.fft.ifft2(np.fft.fft2(np.sqrt(mean_frame)) * factors)
    return wave[None].astype(np.complex64)
