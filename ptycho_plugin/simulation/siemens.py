"""A Siemens star of gold: the test specimen on which a probe is found."""

from __future__ import annotations

from math import pi

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ptycho_plugin.checked_model import CheckedModel
from ptycho_plugin.materials import GOLD, Material


class SiemensStar(CheckedModel):
    """Spokes from a solid disc to a rim, broken by thin rings; drawn with anti-aliased edges."""

    spokes: int = Field(36, ge=2)
    disc_radius_um: float = Field(0.3, gt=0)
    outer_radius_um: float = Field(3.8, gt=0)
    ring_pitch_um: float = Field(0.8, gt=0)
    """From one break of the spokes to the next; the first is a pitch away from the centre."""
    ring_width_um: float = Field(0.08, ge=0)
    thickness_nm: float = Field(400.0, gt=0)
    material: Material = GOLD

    def transmission(self, shape: tuple[int, int], pixel: float, energy_eV: float) -> NDArray[np.complex64]:
        """Return the star's complex transmission, its centre at ``[rows // 2, columns // 2]``.

        Parameters
        ----------
        shape : (int, int)
            Rows and columns.
        pixel : float
            In metres.
        energy_eV : float

        Returns
        -------
        ndarray, (row, column), complex64
        """
        log_full = self.thickness_nm * 1e-9 * self.material.log_transmission_per_m(energy_eV)
        transmitted: NDArray[np.complex64] = np.exp(log_full * self.coverage(shape, pixel)).astype(
            np.complex64
        )
        return transmitted

    def coverage(self, shape: tuple[int, int], pixel: float) -> NDArray[np.float64]:
        """Return the part of each pixel that is covered, ``(row, column)`` from 0 to 1."""
        pixel_um = pixel * 1e6
        y, x = ((np.arange(n) - n // 2) * pixel_um for n in shape)
        radius = np.hypot(y[:, None], x)
        pitch = 2 * pi / self.spokes
        from_spoke_axis = np.abs(_nearest(np.arctan2(y[:, None], x), pitch))
        from_ring = np.abs(_nearest(radius, self.ring_pitch_um))
        from_ring[radius < self.ring_pitch_um / 2] = np.inf
        star = np.minimum.reduce(
            [
                radius * (pitch / 4 - from_spoke_axis),
                from_ring - self.ring_width_um / 2,
                self.outer_radius_um - radius,
            ]
        )
        inside = np.maximum(star, self.disc_radius_um - radius)
        covered: NDArray[np.float64] = np.clip(inside / pixel_um + 0.5, 0.0, 1.0)
        return covered


def _nearest(values: NDArray[np.float64], pitch: float) -> NDArray[np.float64]:
    """Return the signed distance to the nearest multiple of a pitch."""
    return values - pitch * np.round(values / pitch)
