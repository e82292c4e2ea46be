"""From a transmission and an illumination to photons on the detector.

The exit wave lives on a grid finer than the reconstruction's object pixel, over the same field, so
that the pattern reaches beyond the crop that is reconstructed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import floor, pi
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from ptycho_plugin.dose import illumination_of
from ptycho_plugin.geometry import Geometry
from ptycho_plugin.optics import ZonePlate, fresnel_factors
from ptycho_plugin.simulation.options import OpticError

OVERSAMPLING = 2
"""Fine pixels along one object pixel."""


LOST_TO_MODES = 1e-3
"""Part of the photons in the modes of a blurred illumination that are left out."""


def fine_geometry(geometry: Geometry) -> Geometry:
    """Return the same measurement on a larger crop: the same field in finer pixels."""
    return geometry.with_frame_side(OVERSAMPLING * geometry.frame_side)


@dataclass(frozen=True, slots=True)
class SliceGap:
    """Free space between the slices of a thick sample, whose middle stands where a thin one would.

    Both are factors of a wave's transform, (side, side) complex64: see `fresnel_factors`.
    """

    to_first: NDArray[np.complex64]
    """From the sample's middle to its first slice, upstream."""
    to_next: NDArray[np.complex64]
    """From one slice to the next."""

    @classmethod
    def between(cls, slices: int, distance: float, geometry: Geometry) -> Self:
        """Return the gap of so many slices, some metres apart, on the pixels of a geometry."""
        side, pixel, wavelength = geometry.frame_side, geometry.object_pixel, geometry.wavelength
        to_first, to_next = (
            fresnel_factors(side, pixel, wavelength, way) for way in (-(slices - 1) / 2 * distance, distance)
        )
        return cls(to_first, to_next)


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
        return _far_field(exit_wave)

    def diffract_through(
        self, slices: NDArray[np.complex64], centre: Iterable[float], gap: SliceGap
    ) -> NDArray[np.float32]:
        """Return the same of a thick sample.

        Parameters
        ----------
        slices : ndarray, (slice, row, column), complex64
            Transmissions, in the order of the beam.
        centre : (float, float)
            As for `diffract`.
        gap : SliceGap

        Notes
        -----
        The multi-slice method: Maiden, Humphry and Rodenburg, JOSA A 29, 1606 (2012), section 2.
        """
        row, column = (float(at) - self.side // 2 for at in centre)
        wave = self._shifted(row - floor(row), column - floor(column), gap.to_first)
        for above, transmission in enumerate(slices):
            if above:
                wave = _filtered(wave, gap.to_next)
            wave *= _patch(transmission, floor(row), floor(column), self.side)
        return _far_field(wave)

    def blurred(
        self, places_px: NDArray[np.float64], weights: NDArray[np.float64]
    ) -> tuple[Illumination, ...]:
        """Return the coherent modes of the illumination on the average over some places.

        Parameters
        ----------
        places_px : ndarray, (place, 2)
            Displacements (row, column).
        weights : ndarray, (place,)
            Which sum to one.

        Returns
        -------
        tuple of Illumination
            Orthogonal and mutually incoherent, the strongest first, together of one photon; the fewest
            that lack no more than `LOST_TO_MODES`. Every one costs what a place would, and they are fewer.

        Notes
        -----
        Karhunen and Loeve's modes of the mutual intensity: Wolf, JOSA 72, 343 (1982).
        """
        if not places_px.any():
            return (self,)
        waves = np.stack([self._shifted(row, column).ravel() for row, column in places_px.tolist()])
        waves *= np.sqrt(weights)[:, None].astype(np.float32)
        powers, mixtures = np.linalg.eigh(waves.conj() @ waves.T)
        powers, mixtures = powers[::-1], mixtures[:, ::-1]
        kept = int(np.searchsorted(np.cumsum(powers), (1 - LOST_TO_MODES) * powers.sum())) + 1
        modes = mixtures[:, :kept].T @ waves / np.sqrt(powers[:kept].sum())
        return tuple(Illumination(mode.reshape(self.side, self.side)) for mode in modes)

    def _shifted(
        self, rows: float, columns: float, factors: NDArray[np.complex64] | None = None
    ) -> NDArray[np.complex64]:
        """Return the probe, moved by some pixels and, with factors of its transform, along the beam."""
        ramp = np.exp(rows * self._phase_per_pixel)[:, None] * np.exp(columns * self._phase_per_pixel)
        spectrum = self._spectrum * ramp
        if factors is not None:
            spectrum *= factors
        shifted: NDArray[np.complex64] = fft.ifft2(spectrum, overwrite_x=True)
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


def _filtered(wave: NDArray[np.complex64], factors: NDArray[np.complex64]) -> NDArray[np.complex64]:
    """Return a wave, which is overwritten, whose transform has been multiplied by factors."""
    spectrum = fft.fft2(wave, overwrite_x=True)
    spectrum *= factors
    filtered: NDArray[np.complex64] = fft.ifft2(spectrum, overwrite_x=True)
    return filtered


def _far_field(exit_wave: NDArray[np.complex64]) -> NDArray[np.float32]:
    """Return the far field's intensity, its middle at ``side // 2``; the wave is overwritten."""
    far_field = fft.fft2(exit_wave, norm="ortho", overwrite_x=True)
    return fft.fftshift(far_field.real**2 + far_field.imag**2)


def _patch(transmission: NDArray[np.complex64], row: int, column: int, side: int) -> NDArray[np.complex64]:
    """Return the square from (row, column), padded with ones."""
    inside = transmission[max(row, 0) : max(row + side, 0), max(column, 0) : max(column + side, 0)]
    if inside.shape == (side, side):
        return inside
    patch = np.ones((side, side), np.complex64)
    top, left = max(-row, 0), max(-column, 0)
    patch[top : top + inside.shape[0], left : left + inside.shape[1]] = inside
    return patch
