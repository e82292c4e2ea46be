"""The scattering geometry: what the detector's pixels mean at the sample.

Everything is in SI units (metres, radians); the photon energy is in eV and says so.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field
from scipy import constants

from ptycho_plugin.checked_model import CheckedModel

PHOTON_ENERGY_TIMES_WAVELENGTH_EV_M = constants.h * constants.c / constants.e
"""Photon energy times wavelength, h c / e, in eV m."""
M_PER_UM = 1e-6
"""Stages speak of micrometres."""
M_PER_NM = 1e-9
"""Resolutions are told in nanometres."""

ENERGY_TOLERANCE = 5e-4
"""Relative, within which two energies are the same. A zone plate's focal length grows with the energy: 25 um
of 50 mm is half the depth of focus. Absorption goes with its third power: 0.15 % of the monitor's."""

ENERGY_RANGE_EV = (100.0, 1e6)
WAVELENGTH_RANGE = (
    PHOTON_ENERGY_TIMES_WAVELENGTH_EV_M / ENERGY_RANGE_EV[1],
    PHOTON_ENERGY_TIMES_WAVELENGTH_EV_M / ENERGY_RANGE_EV[0],
)
DISTANCE_RANGE = (1e-3, 1e3)
DETECTOR_PIXEL_RANGE = (1e-6, 1e-3)
FOCUS_RANGE = (1e-6, 10.0)
"""Ptychography is within all of them: a number outside is in another unit."""


def is_same_energy(one_eV: float, other_eV: float) -> bool:
    """Return whether what was measured at one energy holds at the other."""
    return abs(one_eV - other_eV) <= ENERGY_TOLERANCE * other_eV


def _within(limits: tuple[float, float], remedy: str) -> AfterValidator:
    """Return a check that finds slips of the unit."""
    low, high = limits

    def check(value: float | None) -> float | None:
        if value is not None and not low <= value <= high:
            raise ValueError(f"give {remedy}, between {low:g} and {high:g}")
        return value

    return AfterValidator(check)


class Geometry(CheckedModel):
    """Energy, distance and detector of a measurement with square frames.

    Parameters
    ----------
    energy_eV : float
        Photon energy in eV.
    distance : float
        From the sample to the detector, in metres.
    detector_pixel : float
        Pitch of the (square) detector pixels, in metres.
    frame_side : int
        Rows, and columns, of one cropped frame.
    focus_to_sample : float, optional
        From the focus downstream to the sample, in metres, where the detector sees the sample's
        magnified near field; left out in the far field.
    """

    energy_eV: Annotated[
        float, _within(ENERGY_RANGE_EV, "electronvolts, e.g. 6200"), Field(json_schema_extra={"units": "eV"})
    ]
    distance: Annotated[
        float, _within(DISTANCE_RANGE, "metres, e.g. 2.236"), Field(json_schema_extra={"units": "m"})
    ]
    detector_pixel: Annotated[
        float, _within(DETECTOR_PIXEL_RANGE, "metres, e.g. 172e-6"), Field(json_schema_extra={"units": "m"})
    ]
    frame_side: Annotated[int, Field(ge=8)]
    focus_to_sample: Annotated[
        float | None, _within(FOCUS_RANGE, "metres, e.g. 3.65e-3"), Field(json_schema_extra={"units": "m"})
    ] = None

    @classmethod
    def from_wavelength(
        cls, wavelength: float, *, distance: float, detector_pixel: float, frame_side: int
    ) -> Geometry:
        """Return the geometry of a wavelength in metres."""
        return cls(
            energy_eV=PHOTON_ENERGY_TIMES_WAVELENGTH_EV_M / wavelength,
            distance=distance,
            detector_pixel=detector_pixel,
            frame_side=frame_side,
        )

    @property
    def wavelength(self) -> float:
        """Wavelength in metres."""
        return PHOTON_ENERGY_TIMES_WAVELENGTH_EV_M / self.energy_eV

    @property
    def magnification(self) -> float:
        """Of the sample's shadow on the detector: 1 in the far field, where there is none."""
        return 1.0 if self.focus_to_sample is None else 1 + self.distance / self.focus_to_sample

    @property
    def effective_distance(self) -> float:
        """Distance in metres at which a parallel beam makes the near field that is seen magnified.

        Notes
        -----
        z / M: Paganin, Coherent X-Ray Optics, equation 1.41, the Fresnel scaling theorem.
        """
        return self.distance / self.magnification

    @property
    def illuminated_field(self) -> float:
        """Side of the window that one frame can describe, in metres: lambda z / pixel in the far field."""
        if self.focus_to_sample is not None:
            return self.frame_side * self.detector_pixel / self.magnification
        return self.wavelength * self.distance / self.detector_pixel

    @property
    def object_pixel(self) -> float:
        """Side of one reconstructed pixel in metres: lambda z / (N pixel) in the far field."""
        return self.illuminated_field / self.frame_side

    @property
    def numerical_aperture(self) -> float:
        """Half angle that the frame's edge subtends, in radians (small angles)."""
        return self.frame_side / 2 * self.detector_pixel / self.distance

    @property
    def full_period_resolution(self) -> float:
        """Shortest period in the frame, lambda / NA, in metres: two object pixels."""
        return self.wavelength / self.numerical_aperture

    def oversampling(self, diameter: float) -> float:
        """Return lambda z / (2 d pixel), which must be at least 1, for a probe d metres wide.

        The published experiment asks for 2 of it, and has 2.9 for its 450 nm focus.
        """
        return self.illuminated_field / (2 * diameter)

    def depth_of_focus(self, half_period: float) -> float:
        """Return the thickness, in metres, that a projection still describes.

        Parameters
        ----------
        half_period : float
            Half-period resolution in metres.

        Notes
        -----
        T <= 5.2 r^2 / lambda: Tsai et al., Optics Express 24, 29089 (2016), equation 1.
        """
        return 5.2 * half_period**2 / self.wavelength

    def in_near_field(self, focus_to_sample: float) -> Geometry:
        """Return the same geometry with the sample some metres behind a focus, seen magnified."""
        return Geometry(**{**self.model_dump(), "focus_to_sample": focus_to_sample})

    def at_energy(self, energy_eV: float) -> Geometry:
        """Return the same geometry at another photon energy."""
        return Geometry(**{**self.model_dump(), "energy_eV": energy_eV})

    def with_frame_side(self, frame_side: int) -> Geometry:
        """Return the same geometry for another crop."""
        return self.model_copy(update={"frame_side": frame_side})
