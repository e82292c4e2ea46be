"""Scanning transmission: an overview of a sample from few photons, and the places that hold material."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, inf
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from ptycho_plugin.dataset import COUNTER_LIMIT
from ptycho_plugin.errors import InputError
from ptycho_plugin.geometry import Geometry
from ptycho_plugin.trajectory import Raster

BRIGHT = 0.1
"""Part of the brightest pixel above which a pixel belongs to the cone of the direct beam."""
CONE_RIM_PX = 2
"""Around the cone, which belongs to it too: a sample turns the beam a little."""
EMPTY_TENTH = 0.9
"""Quantile of the brightest tenth, which is taken for an empty place."""
FLUX_ROWS = 2.0
"""Standard deviation of the rows that the monitor is averaged over: in a short exposure it counts little."""
NEIGHBOURS = 3
"""Rows and columns of the square whose median judges the point in its middle."""
LEAST_SEPARATION = 2.0
"""Of material from none, in standard deviations of a point's noise: medians of it, cut in two, have 0.7."""
FILLED = 0.9
"""Part of a place that must be material."""

Contrast = Literal["dark_field", "absorption"]
Position = tuple[float, float]


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class StxmMap:
    """What a raster of exposures shows of a sample, point by point.

    Parameters
    ----------
    stage_um : ndarray, (row, column, 2), float64
        Measured positions (row, column), coarse and piezo stage added, as the ledger keeps them.
    bright, dark : ndarray, (row, column), float64
        Counts in the cone of the direct beam, and outside it.
    flux : ndarray, (row, column), float64
        Of the beam over its mean, as the monitor counted in a row and its neighbours.
    deflection : ndarray, (row, column, 2), float64
        By which the direct beam's centre of mass is turned (along rows, along columns), in radians,
        from its median: the gradient of the sample's phase over 2 pi / lambda.
    step_um : float
    """

    stage_um: NDArray[np.float64]
    bright: NDArray[np.float64]
    dark: NDArray[np.float64]
    flux: NDArray[np.float64]
    deflection: NDArray[np.float64]
    step_um: float

    @property
    def transmission(self) -> NDArray[np.float64]:
        """Of the direct beam, over the mean of the brightest tenth of the map."""
        direct = self.bright / self.flux
        empty = direct[direct >= np.quantile(direct, EMPTY_TENTH)].mean()
        return np.asarray(direct / empty)

    @property
    def dark_field(self) -> NDArray[np.float64]:
        """Part of the photons that was scattered out of the cone."""
        return self.dark / np.maximum(self.bright + self.dark, 1.0)

    def contrast(self, of: Contrast) -> NDArray[np.float64]:
        """Return a signal that grows with the matter, in standard deviations of its counting noise.

        Notes
        -----
        Dark-field counts after the transformation of Anscombe, Biometrika 35, 246 (1948), with which
        Poisson noise has a standard deviation of one. Absorption: -ln(transmission), whose standard
        deviation is that of the counts over their number.

        Raises
        ------
        InputError
            For another one.
        """
        if of not in get_args(Contrast):
            raise InputError(f"contrast '{of}' is not known: give one of {', '.join(get_args(Contrast))}")
        if of == "dark_field":
            return np.asarray(2 * np.sqrt(self.dark / self.flux + 3 / 8))
        return np.asarray(-np.log(np.maximum(self.transmission, 1e-6)) * np.sqrt(np.median(self.bright)))


def map_of_frames(
    frames: NDArray[np.int32],
    valid: NDArray[np.bool_],
    monitor: ArrayLike,
    stage_um: ArrayLike,
    raster: Raster,
    geometry: Geometry,
) -> StxmMap:
    """Return the map of a raster from its frames.

    Parameters
    ----------
    frames : ndarray, (point, side, side), int32
        In scattering orientation, in the order of the raster's points, with the camera's marks.
    valid : ndarray of bool, (side, side)
        Pixels that can be trusted.
    monitor : array, (point,)
        Counts of the flux monitor.
    stage_um : array, (point, 2)
        Measured positions, coarse and piezo stage added.
    raster : Raster
    geometry : Geometry

    Raises
    ------
    InputError
        If there are other numbers of frames, counts and positions than points, or there is no beam.
    """
    rows, columns = raster.shape
    counts, positions = np.asarray(monitor, np.float64), np.asarray(stage_um, np.float64)
    if not (len(frames) == len(counts) == len(positions) == rows * columns):
        raise InputError(
            f"{len(frames)} frames, {len(counts)} counts of the flux monitor and {len(positions)} positions "
            f"make no raster of {rows} x {columns} points: it did not come to its end"
        )
    measured = valid & np.all((frames >= 0) & (frames < COUNTER_LIMIT), axis=0)
    mean = np.where(measured, frames.mean(axis=0), 0.0)
    if not mean.any():
        raise InputError("there is no beam in the raster's frames: check that it is on")
    cone = measured & ndimage.binary_dilation(mean > BRIGHT * mean.max(), iterations=CONE_RIM_PX)
    direct = frames * cone
    bright = direct.sum(axis=(1, 2), dtype=np.float64)
    pixels = np.indices(cone.shape)
    centres = np.einsum("pij,aij->pa", direct, pixels, dtype=np.float64) / np.maximum(bright, 1.0)[:, None]
    turned = (centres - np.median(centres, axis=0)) * geometry.detector_pixel / geometry.distance
    of_rows = raster.image(counts).mean(axis=1)
    if not of_rows.min() > 0:
        raise InputError("the flux monitor counted nothing along a row of the raster: check it")
    flux = ndimage.gaussian_filter1d(of_rows / of_rows.mean(), FLUX_ROWS, mode="nearest")
    return StxmMap(
        stage_um=raster.image(positions),
        bright=raster.image(bright),
        dark=raster.image(np.sum(frames, axis=(1, 2), where=measured & ~cone, dtype=np.float64)),
        flux=np.broadcast_to(flux[:, None], (rows, columns)),
        deflection=raster.image(turned),
        step_um=raster.step_um,
    )


def material(stxm: StxmMap, contrast: Contrast = "dark_field") -> NDArray[np.bool_]:
    """Return where there is material: what has more contrast than the threshold of Otsu.

    A point is judged by the median of its neighbours and itself, so that neither the noise of few photons
    nor a small void decides.

    Raises
    ------
    InputError
        If material and none cannot be told apart.

    Notes
    -----
    N. Otsu, IEEE Trans. Syst. Man Cybern. 9, 62 (1979).
    """
    from skimage.filters import threshold_otsu

    signal = ndimage.median_filter(stxm.contrast(contrast), size=NEIGHBOURS, mode="nearest")
    found = signal > threshold_otsu(signal) if np.ptp(signal) > 0 else np.zeros(signal.shape, bool)
    apart = signal[found].mean() - signal[~found].mean() if found.any() else 0.0
    if apart < LEAST_SEPARATION:
        raise InputError(
            f"the map shows no material beside an empty place: its two halves are {apart:.1f} standard "
            f"deviations of the {contrast.replace('_', ' ')}'s noise apart, {LEAST_SEPARATION:g} are needed; "
            "map a larger field, or expose longer"
        )
    return np.asarray(found)


def find_regions(
    stxm: StxmMap,
    number: int = 1,
    *,
    size_um: float = 4.0,
    spacing_um: float | None = None,
    contrast: Contrast = "dark_field",
) -> tuple[Position, ...]:
    """Return centres of places full of material, those with most of it first.

    Parameters
    ----------
    stxm : StxmMap
    number : int
    size_um : float
        Side of the square that is to be scanned there.
    spacing_um : float, optional
        From centre to centre along an axis at least; by default twice the size.
    contrast : {"dark_field", "absorption"}
        What tells material.

    Returns
    -------
    tuple of (float, float)
        Stage positions (row, column) for `Samples.place_region`.

    Raises
    ------
    InputError
        If there are fewer such places, material cannot be told, or a number or contrast cannot be.
    """
    apart_um = 2 * size_um if spacing_um is None else spacing_um
    if not (number >= 1 and 0 < size_um < inf and 0 < apart_um < inf):
        raise InputError(
            f"{number} places of {size_um:g} x {size_um:g} um, {apart_um:g} um apart, cannot be: "
            "give numbers > 0"
        )
    half = ceil(size_um / 2 / stxm.step_um)
    side = 2 * half + 1
    found = material(stxm, contrast)
    if min(found.shape) < side:
        raise InputError(f"the map is smaller than a region of {size_um:g} um: map a larger field")
    filled = ndimage.uniform_filter(found.astype(np.float64), side)[half:-half, half:-half]
    most = ndimage.uniform_filter(stxm.contrast(contrast), side)[half:-half, half:-half]
    places = stxm.stage_um[half:-half, half:-half]
    free = filled >= FILLED
    chosen: list[Position] = []
    while len(chosen) < number and free.any():
        best = np.unravel_index(np.argmax(np.where(free, most, -np.inf)), free.shape)
        chosen.append((float(places[best][0]), float(places[best][1])))
        free &= np.abs(places - places[best]).max(axis=-1) >= apart_um
    if len(chosen) < number:
        raise InputError(
            f"the map holds {len(chosen)} of {number} places of {size_um:g} x {size_um:g} um full of "
            f"material, {apart_um:g} um apart: ask for fewer or smaller ones, or map a larger field"
        )
    return tuple(chosen)
