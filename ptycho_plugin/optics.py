"""The illumination: a Fresnel zone plate's probe, and the widths that a preflight judges."""

from __future__ import annotations

from typing import Annotated, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from ptycho_plugin.geometry import Geometry

Metres = Annotated[float, Field(json_schema_extra={"units": "m"})]


class ZonePlate(BaseModel):
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

    model_config = ConfigDict(frozen=True, extra="forbid")

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
        half = geometry.frame_side // 2
        angle = (np.arange(geometry.frame_side) - half) * geometry.detector_pixel / geometry.distance
        theta2 = angle[:, None] ** 2 + angle[None, :] ** 2
        theta = np.sqrt(theta2)
        focal_length = self.focal_length(geometry.wavelength)
        edge = geometry.detector_pixel / geometry.distance
        pupil = _soft_disc(theta, self.diameter / (2 * focal_length), edge)
        if self.central_stop > 0:
            pupil -= _soft_disc(theta, self.central_stop / (2 * focal_length), edge)
        wave = pupil * np.exp(-1j * np.pi / geometry.wavelength * self.defocus * theta2)
        probe = np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(wave)))
        probe *= np.sqrt(photons / np.sum(np.abs(probe) ** 2))
        return probe[None].astype(np.complex64)


def _soft_disc(theta: NDArray[np.float64], radius: float, edge: float) -> NDArray[np.float64]:
    """Return a disc whose rim is one detector pixel wide, so that it moves without steps."""
    disc: NDArray[np.float64] = np.clip((radius - theta) / edge + 0.5, 0.0, 1.0)
    return disc


def enclosing_diameter(probe: NDArray[np.complex64], fraction: float, pixel: float) -> float:
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
