"""What frames without a sample say: where the beam is, what it counts, which pixels can be trusted."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import ConvexHull, QhullError

from ptycho_plugin.devices import DetectorLimits
from ptycho_plugin.errors import InputError
from ptycho_plugin.io.checks import are_counts

LEAST_LIT_PX = 25
HOT_SIGMAS = 6.0
"""A pixel of 2.5 million is above this by chance in a dark frame about once in 400 frames."""
LEAST_RIM_POINTS = 5
CLEARANCE_PX = 2
"""A gap shifts what a 3 x 3 median leaves of the rim beside it."""
EIGHT_NEIGHBOURS = np.ones((3, 3), bool)
RIM_PX = 4
"""Width of a window's rim, which the direct beam does not reach."""
FILLING_SIGMA_PX = 4.0
"""Of the Gaussian average that fills gaps; more than a module gap's half."""
MOST_MISSING = 0.1
"""Of the direct beam."""


def beam_centre(frame: NDArray[np.int32]) -> tuple[float, float]:
    """Return the centre (row, column) of the direct beam's ring or disc in a full raw frame.

    A circle is fitted to the rim: the corners of the convex hull of what is brighter than half
    of the brightest after a 3 x 3 median, which drops hot pixels. Corners beside a gap or a
    bad pixel do not count, so that a gap through the beam does not shift the centre.

    Parameters
    ----------
    frame : ndarray, (row, column), int32
        With the detector's marks.

    Raises
    ------
    InputError
        If there is no beam in it, or hardly any of its rim.
    """
    measured = are_counts(frame)
    smooth = ndimage.median_filter(np.where(measured, frame, 0), size=3)
    lit = measured & (smooth > smooth.max() / 2)
    if np.count_nonzero(lit) < LEAST_LIT_PX:
        raise InputError(
            f"{np.count_nonzero(lit)} px of the frame are lit, at least {LEAST_LIT_PX} px must be: "
            "check that the beam is on, the sample out and the attenuator not too strong"
        )
    corners = _hull_corners(_largest_part(lit, measured))
    clear = ~ndimage.binary_dilation(~measured, EIGHT_NEIGHBOURS, iterations=CLEARANCE_PX)
    rim = corners[clear[tuple(corners.T)]]
    if len(rim) < LEAST_RIM_POINTS:
        raise InputError(
            f"gaps hide all but {len(rim)} points of the direct beam's rim, {LEAST_RIM_POINTS} are needed: "
            "move the detector"
        )
    return _circle_centre(rim)


def _largest_part(lit: NDArray[np.bool_], measured: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the largest lit area; parts on both sides of a gap belong together."""
    labels, _ = ndimage.label(lit | ~measured, EIGHT_NEIGHBOURS)
    return np.asarray(lit & (labels == np.bincount(labels[lit]).argmax()))


def _hull_corners(lit: NDArray[np.bool_]) -> NDArray[np.intp]:
    places = np.argwhere(lit)
    try:
        return places[ConvexHull(places).vertices]
    except QhullError as error:
        raise InputError("what is lit in the frame is a line, no beam: check the detector") from error


def _circle_centre(points: NDArray[np.intp]) -> tuple[float, float]:
    """Return the centre of the circle through points (point, 2): a linear least-squares fit."""
    offset = points.mean(axis=0)
    about = points - offset
    coefficients = np.column_stack([2 * about, np.ones(len(about))])
    (row, column, _), *_ = np.linalg.lstsq(coefficients, (about**2).sum(axis=1), rcond=None)
    return float(row + offset[0]), float(column + offset[1])


def trusted_pixels(frames: Iterable[NDArray[np.int32]]) -> NDArray[np.bool_]:
    """Return where a full raw frame can be trusted: neither marked nor hot.

    A hot pixel stands out of its eight neighbours, in the sum of all frames, by `HOT_SIGMAS`
    of counting noise; two hot pixels side by side are found too.

    Parameters
    ----------
    frames : iterable of ndarray, (row, column), int32
        Taken with the sample out.

    Returns
    -------
    ndarray of bool, (row, column)
    """
    valid, total = np.array(True), np.array(0)
    for frame in frames:
        measured = are_counts(frame)
        valid = valid & measured
        total = total + np.where(measured, frame, 0).astype(np.int64)
    third_brightest = ndimage.rank_filter(total, rank=-3, size=3, mode="constant")
    hot = total > third_brightest + HOT_SIGMAS * np.sqrt(third_brightest + 1)
    return np.asarray(valid & ~hot)


def beam_counts(
    frames: NDArray[np.int32], valid: NDArray[np.bool_], exposure_s: float, limits: DetectorLimits
) -> tuple[NDArray[np.float64], float]:
    """Return what the whole direct beam counts in each frame, and which part of it was filled in.

    The background, as on the window's rim, is taken off. What gaps and bad pixels hide of the beam
    is filled in from around them.

    Parameters
    ----------
    frames : ndarray, (frame, row, column), int32
        Windows about the beam, with the detector's marks.
    valid : ndarray of bool, (row, column)
        Pixels of the window that can be trusted.
    exposure_s : float
    limits : DetectorLimits

    Returns
    -------
    ndarray, (frame,), float64
    float

    Raises
    ------
    InputError
        If a trusted pixel is saturated or counts photons too fast, there is no beam, or too much of
        it is hidden.
    """
    _check_linear(frames, valid, exposure_s, limits)
    measured = valid & trusted_pixels(frames)
    rim = np.ones_like(measured)
    rim[RIM_PX:-RIM_PX, RIM_PX:-RIM_PX] = False
    if not (measured & rim).any():
        raise InputError("no pixel on the window's rim can be trusted: there is no background to take off")
    background = frames[:, measured & rim].mean()
    beam = np.where(measured, frames.mean(axis=0) - background, 0.0)
    weight = ndimage.gaussian_filter(measured.astype(np.float64), FILLING_SIGMA_PX)
    around = ndimage.gaussian_filter(beam, FILLING_SIGMA_PX) / np.maximum(weight, 1e-3)
    hidden = float(around[~measured].sum())
    if not beam.sum() > 0:
        raise InputError("there is no beam in the frames: check that it is on, and the sample out")
    missing = max(0.0, hidden / (hidden + beam.sum()))
    if missing > MOST_MISSING:
        raise InputError(
            f"gaps and bad pixels hide {missing:.0%} of the direct beam, {MOST_MISSING:.0%} is the limit: "
            "move the detector"
        )
    counts = frames[:, measured].sum(axis=1, dtype=np.int64) - background * np.count_nonzero(measured)
    return np.asarray(counts / (1 - missing)), missing


def _check_linear(
    frames: NDArray[np.int32], valid: NDArray[np.bool_], exposure_s: float, limits: DetectorLimits
) -> None:
    """Refuse frames in which a trusted pixel did not count every photon."""
    brightest = int(np.max(frames, where=valid, initial=0))
    if brightest >= limits.counts:
        raise InputError(
            f"a pixel is saturated at {brightest} counts: attenuate more, or take background_frames first "
            "if it is a bad one"
        )
    if brightest > limits.counts_per_second * exposure_s:
        raise InputError(
            f"a pixel counts {brightest / exposure_s:.3g} a second, photons pile up from "
            f"{limits.counts_per_second:.3g} a second: attenuate more"
        )
