"""Radiation dose: the energy that exposures leave in a sample, and where.

Photons come through a shutter (`ShutterTiming`), fall on the object as the illumination is shaped
(`fluence_map`), and leave their energy in a material (`DoseModel`).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, expm1, hypot, inf, log, sqrt
from typing import Annotated, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field
from scipy import constants, ndimage

from ptycho_plugin.checked_model import CheckedModel
from ptycho_plugin.errors import InputError
from ptycho_plugin.materials import PMMA, Material

ELECTRON_RANGE = 0.5e-6
"""Metres. Photoelectrons of 6 keV travel some 0.5 to 1 um in polymers; the shorter makes the larger dose."""
FWHM_PER_SIGMA = 2 * sqrt(2 * log(2))
BLUR_REACH = 4.0
"""Standard deviations to which the electrons' Gaussian is followed."""
PATH_STEP_PX = 0.5
"""A path is a row of points at most this far apart."""
LARGEST_MAP_PX = 2**25
GY_PER_KGY = 1e3

NotNegative = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
Lag = Annotated[float, Field(ge=0, le=1, json_schema_extra={"units": "s"})]
"""No fast shutter takes a second: a longer lag is in another unit."""


@dataclass(frozen=True, slots=True)
class Photons:
    """A number of photons with its standard uncertainty.

    Photons of one calibration share its error: uncertainties of a sum add up, not their squares.

    Parameters
    ----------
    number, sigma : float

    Raises
    ------
    InputError
        If either is negative, infinite or missing (not a number).
    """

    number: float
    sigma: float = 0.0

    def __post_init__(self) -> None:
        if not (0 <= self.number < inf and 0 <= self.sigma < inf):
            raise InputError(
                f"{self.number} +- {self.sigma} photons cannot be: give finite numbers >= 0, from a monitor "
                "that works and is calibrated"
            )


class ShutterTiming(CheckedModel):
    """How late a shutter acts on its commands.

    Exposures wait until the shutter is open, so that its opening costs them nothing; what passes
    while it closes reaches the sample, and no detector counts it.
    """

    opening_lag_s: Lag = 3e-3
    """From the command to open until the beam passes."""
    closing_lag_s: Lag = 4e-3
    """From the command to close until nothing passes."""
    jitter_s: Lag = 0.5e-3
    """Standard deviation of the time that the shutter is open."""

    def open_s(self, *commanded_s: float) -> float:
        """Return how long the beam really passes.

        Parameters
        ----------
        *commanded_s : float
            From the command to open to the command to close, for each time that it is opened.

        Raises
        ------
        InputError
            If one is negative or not finite.
        """
        for opening_s in commanded_s:
            if not 0 <= opening_s < inf:
                raise InputError(f"a shutter cannot be open for {opening_s} s: give a finite time >= 0")
        late_s = self.closing_lag_s - self.opening_lag_s
        return sum((max(0.0, opening_s + late_s) for opening_s in commanded_s), start=0.0)

    def commanded_s(self, exposure_s: float) -> float:
        """Return the shortest time between the commands around one exposure."""
        return self.opening_lag_s + exposure_s

    def on_sample(self, counted: Photons, counted_s: float, *commanded_s: float) -> Photons:
        """Return the photons that reached the sample, at the rate at which some were counted.

        Parameters
        ----------
        counted : Photons
            While the monitor counted, through an open shutter.
        counted_s : float
            How long that was.
        *commanded_s : float
            As for `open_s`: an exposure that a pause held up took more than one opening.

        Raises
        ------
        InputError
            If a time is not a positive number.
        """
        if not 0 < counted_s < inf:
            raise InputError(f"photons cannot be counted in {counted_s} s: give a positive time")
        ratio = self.open_s(*commanded_s) / counted_s
        jitter = counted.number / counted_s * self.jitter_s * sqrt(len(commanded_s))
        return Photons(counted.number * ratio, hypot(counted.sigma * ratio, jitter))


@dataclass(frozen=True, slots=True)
class Grid:
    """Object pixels of a map.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns.
    pixel : float
        Side of a pixel in metres.
    corner : (float, float)
        Position (row, column) of the centre of pixel [0, 0], in metres.
    """

    shape: tuple[int, int]
    pixel: float
    corner: tuple[float, float]

    def rectangle(self, points: NDArray[np.float64]) -> tuple[slice, slice]:
        """Return rows and columns of the smallest rectangle that holds points ``(point, 2)`` in metres.

        A pixel at least, and no more than the grid.
        """
        pixels = np.rint((points - self.corner) / self.pixel).astype(int)
        pixels = pixels.clip(0, np.array(self.shape) - 1)
        (top, left), (bottom, right) = pixels.min(axis=0).tolist(), pixels.max(axis=0).tolist()
        return slice(top, bottom + 1), slice(left, right + 1)

    @classmethod
    def covering(cls, paths: ArrayLike, window: tuple[int, int], pixel: float, margin: float = 0.0) -> Self:
        """Return the grid that holds every photon of some exposures.

        Pixels of any two grids of the same size lie on one another: corners are whole pixels from
        the origin.

        Parameters
        ----------
        paths : array, (exposure, 2, 2)
            As for `fluence_map`.
        window : (int, int)
            Rows and columns of the illumination.
        pixel : float
            In metres.
        margin : float
            Of more pixels all around, in metres, such as `DoseModel.reach`.

        Raises
        ------
        InputError
            If the pixel is not positive, a position is no finite number or there is none, or the
            map would be larger than `LARGEST_MAP_PX`.
        """
        if not 0 < pixel < inf:
            raise InputError(f"an object pixel of {pixel} m cannot be: give a positive size")
        places = _checked_paths(paths).reshape(-1, 2) / pixel
        around = np.array(window) // 2 + 1 + ceil(margin / pixel)
        first = np.floor(places.min(axis=0)) - around
        rows, columns = (np.ceil(places.max(axis=0)) + around - first + 1).tolist()
        if rows * columns > LARGEST_MAP_PX:
            raise InputError(
                f"a map of {rows:.0f} x {columns:.0f} px is more than {LARGEST_MAP_PX} px: "
                "take fewer, closer points or a larger pixel"
            )
        row, column = (first * pixel).tolist()
        return cls((int(rows), int(columns)), pixel, (row, column))


def illumination_of(probe: NDArray[np.complexfloating]) -> NDArray[np.float64]:
    """Return where the photons of an exposure fall: a probe's intensity, normalised to a sum of one.

    Parameters
    ----------
    probe : ndarray, (mode, row, column), complex
        Any scale; modes do not interfere, so that their intensities add up.

    Raises
    ------
    InputError
        If the probe is dark or not finite.
    """
    intensity = np.sum(np.abs(probe) ** 2, axis=0, dtype=np.float64)
    total = float(intensity.sum())
    if not 0 < total < inf:
        raise InputError(f"a probe whose intensities sum to {total} illuminates nothing: give another")
    return np.asarray(intensity / total)


def fluence_map(
    illumination: NDArray[np.float64], paths: ArrayLike, photons: ArrayLike, grid: Grid
) -> NDArray[np.float64]:
    """Return the photons per m2 that fell on each object pixel.

    An exposure of n photons along a path adds n times the illumination, spread evenly over the
    path. Between pixels, it is shared among the four nearest in proportion to the areas that they
    have in common with it, as in bilinear interpolation, which keeps the number of photons and their
    centre of mass, makes none negative, and blurs by half a pixel at most. All exposures share one
    illumination, so the map is a convolution: of the illumination with the photons that were
    brought to each place.

    Parameters
    ----------
    illumination : ndarray, (row, column), float64
        Part of the photons that falls on each object pixel, as from `illumination_of`; its centre is
        at ``[rows // 2, columns // 2]``.
    paths : array, (exposure, 2, 2)
        Where the centre was when the shutter opened and when it closed: start and end, each a
        position (row, column) on the object in metres. They are equal where nothing moved.
    photons : array, (exposure,)
        On the sample, in each exposure.
    grid : Grid
        Photons that fall outside are left out; on `Grid.covering` these paths, there are none.

    Returns
    -------
    ndarray, (row, column), float64

    Raises
    ------
    InputError
        If photons are negative or missing, or a position is.
    """
    from scipy.signal import oaconvolve  # half a second that a control machine need not wait at start

    numbers = _checked_photons(photons)
    window = np.array(illumination.shape)
    paths_px = (_checked_paths(paths) - grid.corner) / grid.pixel + window
    visits = _visits(paths_px, numbers, tuple(window * 2 + grid.shape))
    fallen = oaconvolve(visits, illumination)
    (row, column), (rows, columns) = window + window // 2, grid.shape
    on_grid = fallen[row : row + rows, column : column + columns]
    return np.maximum(on_grid, 0.0) / grid.pixel**2


def _visits(
    paths_px: NDArray[np.float64], photons: NDArray[np.float64], shape: tuple[int, ...]
) -> NDArray[np.float64]:
    """Return the photons whose illumination was centred on each pixel; those outside are left out."""
    places, numbers = _points_along(paths_px, photons)
    visits = np.zeros(shape)
    nearest = np.floor(places).astype(np.int64)
    beyond = places - nearest
    for corner in ((0, 0), (0, 1), (1, 0), (1, 1)):
        shares = numbers * np.prod(np.where(corner, beyond, 1 - beyond), axis=1)
        pixels = nearest + corner
        inside = np.all((pixels >= 0) & (pixels < shape), axis=1)
        np.add.at(visits, tuple(pixels[inside].T), shares[inside])
    return visits


def _points_along(
    paths_px: NDArray[np.float64], photons: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return points ``(point, 2)`` evenly along each path, and the photons of each; one where it rests."""
    start, end = paths_px[:, 0], paths_px[:, 1]
    points = np.maximum(1, np.ceil(np.hypot(*(end - start).T) / PATH_STEP_PX)).astype(np.int64)
    exposure = np.repeat(np.arange(len(points)), points)
    number = np.arange(len(exposure)) - np.repeat(np.cumsum(points) - points, points)
    along = (number + 0.5) / points[exposure]
    return start[exposure] + along[:, None] * (end - start)[exposure], (photons / points)[exposure]


def _checked_paths(paths: ArrayLike) -> NDArray[np.float64]:
    array = np.asarray(paths, np.float64)
    if array.ndim != 3 or array.shape[1:] != (2, 2) or not array.size:
        raise InputError(f"paths of shape {array.shape} cannot be: give (exposure, 2, 2), start and end")
    finite = np.isfinite(array).all(axis=(1, 2))
    if not finite.all():
        raise InputError(f"exposure {int(np.argmin(finite))} has no position: give finite numbers")
    return array


def _checked_photons(photons: ArrayLike) -> NDArray[np.float64]:
    array = np.asarray(photons, np.float64)
    good = np.isfinite(array) & (array >= 0)
    if not good.all():
        bad = int(np.argmin(good))
        raise InputError(f"exposure {bad} has {array[bad]} photons: give a finite number >= 0")
    return array


class DoseModel(CheckedModel):
    """How photons become a dose in one material of a sample.

    A material that fills the sample takes what is said here. In a particle much smaller than the
    electrons' range, most of the energy that it absorbs leaves it with its photoelectrons: there
    it is an upper bound.
    """

    material: Material = PMMA
    """What absorbs. At the surface its density does not matter."""
    energy_eV: Positive
    thickness: Positive | None = None
    """In metres, along the beam; needed for the mean through it."""
    electron_range: NotNegative = ELECTRON_RANGE
    """In metres: the full width at half maximum of the Gaussian that photoelectrons blur by."""

    @property
    def reach(self) -> float:
        """How far from a photon its energy is followed, in metres."""
        return BLUR_REACH * self.electron_range / FWHM_PER_SIGMA

    @property
    def gray_per_fluence(self) -> float:
        """Surface dose for one photon per m2, in Gy m2.

        Notes
        -----
        Energy times mass photoabsorption coefficient, E (mu/rho): Howells et al., J. Electron
        Spectrosc. Relat. Phenom. 170, 4 (2009). Total attenuation would overstate it, since
        scattered photons leave.
        """
        return self.energy_eV * constants.e * self.material.mass_photoabsorption(self.energy_eV)

    @property
    def mean_to_surface(self) -> float:
        """Mean dose through the thickness over the one at the surface.

        Notes
        -----
        (1 - exp(-mu t)) / (mu t), the mean of exp(-mu z) over 0 <= z <= t. The beam weakens by
        total attenuation, scattering included: mu is not the coefficient of `gray_per_fluence`.

        Raises
        ------
        InputError
            If the thickness is not stated.
        """
        if self.thickness is None:
            raise InputError(f"the thickness of {self.material.name} is not stated: give it in metres")
        lengths = self.thickness / self.material.attenuation_length(self.energy_eV)
        return -expm1(-lengths) / lengths

    def surface_dose(self, fluence: NDArray[np.float64], pixel: float) -> NDArray[np.float64]:
        """Return the dose at the surface in Gy.

        At pixels much smaller than the electrons' range an unblurred map is no dose: the energy of
        a photon does not stay where it was absorbed. The blur is a Gaussian whose full width at
        half maximum is the range. Projected, it leaves 15/16 of the energy within one range of the
        photon, as a range means; with that standard deviation it would be 39 %. The narrower one
        also makes the larger peak, so that it errs on the safe side of a budget. Energy is kept,
        but for what leaves the map (`Grid.covering` with a margin of `reach` loses none).

        Parameters
        ----------
        fluence : ndarray, (row, column), float64
            Photons per m2, from `fluence_map`.
        pixel : float
            In metres.

        Returns
        -------
        ndarray, (row, column), float64

        Raises
        ------
        InputError
            If the material's formula is unknown.
        """
        sigma_px = self.electron_range / FWHM_PER_SIGMA / pixel
        spread = ndimage.gaussian_filter(fluence, sigma_px, mode="constant", truncate=BLUR_REACH)
        return np.asarray(self.gray_per_fluence * spread)

    def mean_dose(self, fluence: NDArray[np.float64], pixel: float) -> NDArray[np.float64]:
        """Return the dose in Gy, averaged through the thickness; else as `surface_dose`."""
        return self.mean_to_surface * self.surface_dose(fluence, pixel)
