"""From a transmission and an illumination to photons on the detector.

The exit wave lives on a grid finer than the reconstruction's object pixel, over the same field, so
that the pattern reaches beyond the crop that is reconstructed.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import floor, pi

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from ptycho_plugin.dose import illumination_of
from ptycho_plugin.geometry import Geometry
from ptycho_plugin.optics import ZonePlate
from ptycho_plugin.simulation.options import OpticError

OVERSAMPLING = 2
"""Fine pixels along one object pixel."""


def fine_geometry(geometry: Geometry) -> Geometry:
    """Return the same measurement on a larger crop: the same field in finer pixels."""
    return geometry.with_frame_side(OVERSAMPLING * geometry.frame_side)


class Illumination:
    """A probe of one photon that can stand anywhere, to a fraction of a pixel.

    Parameters
    ----------
    probe : ndarray, (side, side), complex64
        Its centre at ``[side // 2, side // 2]``.
    """

    def __init__(self, probe: NDArray[np.complex64]) -> None:
        self.side = len(probe)
        self.intensity = illumination_of(probe[None])
        """(side, side), float64: where the photon falls."""
        self._spectrum = fft.fft2(probe)
        self._phase_per_pixel = (-2j * pi * fft.fftfreq(self.side)).astype(np.complex64)

    def diffract(self, transmission: NDArray[np.complex64], centre: Iterable[float]) -> NDArray[np.float32]:
        """Return the expected pattern of one photon on the sample.

        Parameters
        ----------
        transmission : ndarray, (row, column), complex64
            Everything beyond its edges transmits fully.
        centre : (float, float)
            Pixel ``(row, column)`` of the transmission on which the probe's centre stands.

        Returns
        -------
        ndarray, (side, side), float32
            In scattering orientation, direct beam at ``[side // 2, side // 2]``. The sum is the part
            of the photons that the sample transmits.
        """
        row, column = (float(at) - self.side // 2 for at in centre)
        exit_wave = self._shifted(row - floor(row), column - floor(column))
        exit_wave *= _patch(transmission, floor(row), floor(column), self.side)
        far_field = fft.fft2(exit_wave, norm="ortho", overwrite_x=True)
        return fft.fftshift(far_field.real**2 + far_field.imag**2)

    def _shifted(self, rows: float, columns: float) -> NDArray[np.complex64]:
        ramp = np.exp(rows * self._phase_per_pixel)[:, None] * np.exp(columns * self._phase_per_pixel)
        shifted: NDArray[np.complex64] = fft.ifft2(self._spectrum * ramp, overwrite_x=True)
        return shifted


def zone_plate_illumination(optic: ZonePlate, error: OpticError, geometry: Geometry) -> Illumination:
    """Return the true probe of an imperfect zone plate on the fine grid.

    Parameters
    ----------
    optic : ZonePlate
        Nominal.
    error : OpticError
    geometry : Geometry
        Of the reconstruction.
    """
    fine = fine_geometry(geometry)
    true_optic = optic.model_copy(update={"defocus": optic.defocus + error.defocus_um * 1e-6})
    probe = true_optic.probe(fine)[0]
    angle = fft.fftfreq(fine.frame_side) * fine.wavelength / fine.object_pixel
    path = error.astigmatism_um * 1e-6 * (angle[:, None] ** 2 - angle**2) / 2
    pupil = fft.fft2(fft.ifftshift(probe)) * np.exp(-2j * pi / fine.wavelength * path)
    return Illumination(fft.fftshift(fft.ifft2(pupil)).astype(np.complex64))


def downsample(transmission: NDArray[np.complex64]) -> NDArray[np.complex64]:
    """Return a fine transmission as object pixels see it: without the frequencies they cannot hold.

    Pixel ``[r, c]`` of the result stands on pixel ``[OVERSAMPLING r, OVERSAMPLING c]``. The low-pass
    is the sharp one of the detector's crop.

    Parameters
    ----------
    transmission : ndarray, (row, column), complex64
        Sides that are multiples of twice the oversampling.
    """
    rows, columns = (side // OVERSAMPLING for side in transmission.shape)
    spectrum = fft.fftshift(fft.fft2(transmission))
    top, left = (transmission.shape[0] - rows) // 2, (transmission.shape[1] - columns) // 2
    kept = fft.ifftshift(spectrum[top : top + rows, left : left + columns])
    coarse: NDArray[np.complex64] = fft.ifft2(kept) / np.float32(OVERSAMPLING**2)
    return coarse


def _patch(transmission: NDArray[np.complex64], row: int, column: int, side: int) -> NDArray[np.complex64]:
    """Return the square from (row, column), padded with ones."""
    inside = transmission[max(row, 0) : max(row + side, 0), max(column, 0) : max(column + side, 0)]
    if inside.shape == (side, side):
        return inside
    patch = np.ones((side, side), np.complex64)
    top, left = max(-row, 0), max(-column, 0)
    patch[top : top + inside.shape[0], left : left + inside.shape[1]] = inside
    return patch
