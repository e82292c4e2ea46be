"""What frames without a sample say: where the beam is, and which pixels can be trusted."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import ConvexHull, QhullError

from ptycho_plugin.errors import InputError
from ptycho_plugin.io.checks import are_counts

LEAST_LIT_PX = 25
HOT_SIGMAS = 6.0
"""A pixel of 2.5 million is above this by chance in a dark frame about once in 400 frames."""
LEAST_RIM_POINTS = 5
CLEARANCE_PX = 2
"""A gap shifts what a 3 x 3 median leaves of the rim beside it."""
EIGHT_NEIGHBOURS = np.ones((3, 3), bool)


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
