"""Scans with a known truth."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import reduce
from math import ceil
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray
from scipy import fft

from benchmarks.simulate import expected_frames
from ptycho_plugin.dataset import PtychoDataset
from ptycho_plugin.geometry import Geometry
from ptycho_plugin.io.reader import read_dataset
from ptycho_plugin.optics import ZonePlate, fresnel_factors
from ptycho_plugin.simulation.diffraction import OVERSAMPLING, downsample, fine_geometry
from ptycho_plugin.simulation.octapods import OctapodFilm
from ptycho_plugin.trajectory import ConcentricRings

PHOTONS = 1e6
"""Of a frame."""
FIELD_UM = 8.0
"""Side of a simulated film."""
START_ZONE_PLATE = ZonePlate(defocus=290e-6, outermost_zone=50e-9 / 0.97)
"""The start probe of our own cases: 20 um too much defocus, a 3 % too small aperture."""

STEPS_PER_SIDE = 8
"""Density of a scan over nothing."""

SLABS = 4
SLAB_M = 24e-6
POSITION_ERROR_M = 20e-9
"""Standard deviation, in each direction, of what the reconstruction is not told."""
BACKGROUND_COUNTS = 0.02
SECOND_MODE = 0.08
"""Share of the photons."""


@dataclass(frozen=True, slots=True)
class Case:
    """A scan, and what it was made of.

    Parameters
    ----------
    scan : PtychoDataset
    truth : ndarray, (row, column), complex64
        The object on the reconstruction's pixels.
    positions_px : ndarray, (frame, 2), float64
        True top-left pixel of each frame's patch in `truth`.
    expected : ndarray, (frame, row, column), float32
        Mean counts.
    """

    scan: PtychoDataset
    truth: NDArray[np.complex64]
    positions_px: NDArray[np.float64]
    expected: NDArray[np.float32]

    def counted(self, seed: int, share: float = 1.0) -> Case:
        """Return the case with other Poisson counts, for a share of the photons."""
        return replace(self, scan=replace(self.scan, frames=_counts(share * self.expected, seed)))

    def chi_square(self) -> float:
        """Return the mean of (counts - expected)^2 / expected where at least one count is expected."""
        lit = (self.expected >= 1) & self.scan.mask
        counts, expected = self.scan.frames[lit].astype(np.float64), self.expected[lit]
        return float(np.mean((counts - expected) ** 2 / expected))


def standard_case(path: Path) -> Case:
    """Return the standard case of a file that holds its truth."""
    scan = read_dataset(path)
    with h5py.File(path) as file:
        truth, probe = file["truth/object"][()], file["truth/probe"][()]
        positions_px = file["positions_px"][()]
    expected = expected_frames([truth], probe[None], positions_px, scan.geometry.frame_side)
    return Case(scan, truth, positions_px, expected)


def standard_like(side: int) -> Case:
    """Return a scan of the standard case's kind, for where its file is not at hand.

    Parameters
    ----------
    side : int
        Rows, and columns, of a frame.
    """
    geometry = _geometry(side)
    film = downsample(_film(geometry, OctapodFilm()))
    corners = np.rint(_corners_px(geometry, film))
    modes = ZonePlate().probe(geometry, PHOTONS)
    expected = expected_frames([film], modes, corners, side)
    mask = np.ones((side, side), bool)
    return Case(_scan(geometry, expected, corners, mask), film, corners, expected)


def harder_case(side: int, mask: NDArray[np.bool_]) -> Case:
    """Return a scan that the reconstruction's model of the world does not describe.

    Exit waves on twice as fine a grid, a film as thick as the published one in four slabs, measured
    positions that are `POSITION_ERROR_M` off, partial coherence, background.

    Parameters
    ----------
    side : int
        Rows, and columns, of a frame.
    mask : ndarray of bool, (side, side)
        With module gaps.
    """
    geometry = _geometry(side)
    fine, distance = fine_geometry(geometry), SLAB_M / SLABS
    density = OctapodFilm().density_per_um2 / SLABS
    slices = [_film(geometry, OctapodFilm(density_per_um2=density, seed=seed)) for seed in range(SLABS)]
    truth = downsample(reduce(np.multiply, slices))
    nominal = _corners_px(geometry, truth)
    error = np.random.default_rng(0).normal(
        scale=POSITION_ERROR_M / geometry.object_pixel, size=nominal.shape
    )
    # the slab's middle stands where the standard case's thin film does
    to_first = (SLABS - 1) / 2 * distance
    modes = _partly_coherent(ZonePlate(defocus=270e-6 - to_first).probe(fine, PHOTONS)[0])
    step = fresnel_factors(fine.frame_side, fine.object_pixel, fine.wavelength, distance)
    expected = expected_frames(slices, modes, OVERSAMPLING * (nominal + error), side, step)
    expected += np.float32(BACKGROUND_COUNTS)
    return Case(_scan(geometry, expected, nominal, mask), truth, nominal + error, expected)


def empty_scan(frames: int, side: int) -> PtychoDataset:
    """Return a raster of constant density over nothing: what is in a frame does not change its cost."""
    geometry = _geometry(side)
    axis = np.arange(side) - side // 2
    radius2 = axis[:, None] ** 2 + axis**2
    probe = np.exp((-8 + 8j) * radius2 / (side / 2) ** 2)
    probe *= np.sqrt(PHOTONS / np.sum(np.abs(probe) ** 2))
    expected = np.abs(np.fft.fftshift(np.fft.fft2(probe, norm="ortho"))) ** 2
    expected = np.broadcast_to(expected.astype(np.float32), (frames, side, side))
    columns = ceil(frames**0.5)
    corners = side // STEPS_PER_SIDE * np.stack(np.divmod(np.arange(frames), columns), axis=1)
    return PtychoDataset(
        frames=_counts(expected, seed=0),
        positions=corners * geometry.object_pixel,
        mask=np.ones((side, side), bool),
        geometry=geometry,
        probe=probe[None].astype(np.complex64),
    )


def _geometry(side: int) -> Geometry:
    return Geometry.from_wavelength(0.2e-9, distance=2.236, detector_pixel=172e-6, frame_side=side)


def _film(geometry: Geometry, film: OctapodFilm) -> NDArray[np.complex64]:
    """Return a film on the fine grid."""
    unit = 2 * OVERSAMPLING
    pixel = fine_geometry(geometry).object_pixel
    side = unit * round(FIELD_UM * 1e-6 / pixel / unit)
    return film.transmission((side, side), pixel, geometry.energy_eV)


def _corners_px(geometry: Geometry, film: NDArray[np.complex64]) -> NDArray[np.float64]:
    """Return corners of the published scan's patches about the middle of a film."""
    offsets = ConcentricRings().offsets_um() * 1e-6 / geometry.object_pixel
    return offsets + np.array(film.shape) // 2 - geometry.frame_side // 2


def _partly_coherent(probe: NDArray[np.complex64]) -> NDArray[np.complex64]:
    """Return two modes of the same power: the probe, and its slope along the rows.

    A source that is not quite a point moves the probe to and fro; to second order in the way these
    two are its coherent modes (Thibault and Menzel, Nature 494, 68 (2013)).
    """
    slope = fft.ifft2(fft.fft2(probe) * (2j * np.pi * fft.fftfreq(len(probe))))
    power = np.sum(np.abs(probe) ** 2)
    slope *= np.sqrt(SECOND_MODE * power / np.sum(np.abs(slope) ** 2))
    return np.stack([np.sqrt(1 - SECOND_MODE) * probe, slope]).astype(np.complex64)


def _scan(
    geometry: Geometry, expected: NDArray[np.float32], corners: NDArray[np.float64], mask: NDArray[np.bool_]
) -> PtychoDataset:
    return PtychoDataset(
        frames=_counts(expected, seed=0),
        positions=corners * geometry.object_pixel,
        mask=mask,
        geometry=geometry,
        probe=START_ZONE_PLATE.probe(geometry),
        source="benchmark",
    )


def _counts(expected: NDArray[np.float32], seed: int) -> NDArray[np.int32]:
    return np.random.default_rng(seed).poisson(expected).astype(np.int32)
