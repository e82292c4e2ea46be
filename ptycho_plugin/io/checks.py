"""Border rules that hold for every file kind: detector marks, geometry, scan size."""

from __future__ import annotations

from math import log
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ptycho_plugin.dataset import COUNTER_LIMIT, PtychoDataset
from ptycho_plugin.errors import InputError
from ptycho_plugin.geometry import Geometry
from ptycho_plugin.trajectory import typical_step, widest_step


def mark_values(dtype: np.dtype[Any]) -> tuple[int, ...]:
    """Return the counts that are no counts but a detector's marks.

    -1 (gap) and -2 (bad pixel) in signed and floating types, the largest value of an integer
    type, and `COUNTER_LIMIT` in integers of 32 bits or more.
    """
    marks = set() if dtype.kind == "u" else {-1, -2}
    if dtype.kind in "iu":
        marks.add(int(np.iinfo(dtype).max))
        if dtype.itemsize >= 4:
            marks.add(COUNTER_LIMIT)
    return tuple(sorted(marks))


def are_counts(values: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Return where values, of any shape, are counts and no detector's marks."""
    return np.isin(values, mark_values(values.dtype), invert=True)


def mask_marks(
    source: str, frames: NDArray[np.generic], mask: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], tuple[str, ...]]:
    """Take detector marks out of a mask.

    Parameters
    ----------
    frames : ndarray, (frame, row, column)
    mask : ndarray of bool, (row, column) or (frame, row, column)
        True where a count is a measurement.

    Returns
    -------
    mask : ndarray of bool
        As given where there is no mark; (row, column) where the result is the same in every frame.
    remarks : tuple of str
        How many marks of which value were found where the given mask said "valid".

    Raises
    ------
    InputError
        If the mask is neither one for all frames nor one for each.
    """
    if mask.shape not in (frames.shape, frames.shape[1:]):
        raise InputError(f"{source}: 'mask' has shape {mask.shape}, the frames have {frames.shape}")
    counts: dict[int, int] = {}
    valid = mask
    for value in mark_values(frames.dtype):
        marked = (frames == value) & mask
        if marked.any():
            counts[value] = int(marked.sum())
            valid = valid & ~marked
    if not counts:
        return mask, ()
    found = ", ".join(f"{count} of {value}" for value, count in counts.items())
    remark = f"masked {sum(counts.values())} detector marks in {len(frames)} frames ({found})"
    return (valid[0] if (valid == valid[0]).all() else valid), (remark,)


def square_geometry(
    source: str, shape: tuple[int, ...], *, energy_eV: float, distance: float, detector_pixel: float
) -> Geometry:
    """Return the geometry of square frames.

    Raises
    ------
    InputError
        If the frames are not a stack of square images of at least 8 x 8 pixels.
    """
    if len(shape) != 3:
        raise InputError(f"{source}: the frames have shape {shape}, expected (frame, row, column)")
    if shape[1] != shape[2]:
        raise InputError(
            f"{source}: the frames are {shape[1]} x {shape[2]} px; "
            "crop them to a square with the direct beam at [side//2, side//2]"
        )
    try:
        return Geometry(
            energy_eV=energy_eV, distance=distance, detector_pixel=detector_pixel, frame_side=shape[1]
        )
    except InputError as error:
        raise InputError(f"{source}: {error}") from None


def check_scan_size(scan: PtychoDataset) -> None:
    """Refuse a scan that is smaller than a pixel, or whose frames cannot overlap.

    Raises
    ------
    InputError
        With the extent and the unit that the positions most likely are in, or with the frame
        that is far from all others.
    """
    extent = float(np.ptp(scan.positions, axis=0).max())
    step = typical_step(scan.positions)
    field = scan.geometry.illuminated_field
    if extent >= scan.geometry.object_pixel and step <= field:
        return _check_gaps(scan)
    raise InputError(
        f"{scan.source}: positions extend over {extent:.3g} m in steps of {step:.3g} m, where one frame sees "
        f"{field:.3g} m and one object pixel is {scan.geometry.object_pixel:.3g} m; "
        f"metres are expected, these look like {_likely_unit(step, scan.geometry)}"
    )


def _check_gaps(scan: PtychoDataset) -> None:
    """Refuse a scan whose parts no frame joins: a stray position would make the object huge."""
    gap, field = widest_step(scan.positions), scan.geometry.illuminated_field
    if gap <= field:
        return
    from_middle = np.hypot(*(scan.positions - np.median(scan.positions, axis=0)).T)
    frame = int(np.argmax(from_middle))
    row, column = scan.positions[frame]
    raise InputError(
        f"{scan.source}: frame {frame} at ({row:.3g}, {column:.3g}) m is beyond a gap of {gap:.3g} m in the "
        f"scan, where one frame sees {field:.3g} m; correct its position, or leave the frames beyond it out"
    )


def _likely_unit(step: float, geometry: Geometry) -> str:
    """Return the unit in which the step comes closest to a tenth of the field of a frame."""
    if step == 0:
        return "one single place"
    metres = {
        "micrometres converted to metres twice": 1e6,
        "millimetres converted to metres twice": 1e3,
        "a scan too small or too wide for this geometry": 1.0,
        "millimetres": 1e-3,
        "micrometres": 1e-6,
        "object pixels": geometry.object_pixel,
        "nanometres": 1e-9,
    }
    usual = geometry.illuminated_field / 10
    return min(metres, key=lambda unit: abs(log(step * metres[unit] / usual)))


def check_positions_px(scan: PtychoDataset, positions_px: NDArray[np.float64]) -> None:
    """Refuse pixel positions that disagree with the metres by more than a pixel.

    A shift that all positions share is no disagreement.

    Raises
    ------
    InputError
    """
    if positions_px.shape != scan.positions.shape:
        raise InputError(
            f"{scan.source}: 'positions_px' has shape {positions_px.shape}, "
            f"'positions' has {scan.positions.shape}: they must be of the same number"
        )
    difference = scan.positions / scan.geometry.object_pixel - positions_px
    # The middle of the range is the common shift that leaves the smallest largest difference.
    worst = float(np.ptp(difference, axis=0).max() / 2)
    if not worst <= 1:
        raise InputError(
            f"{scan.source}: 'positions_px' and 'positions' differ by up to {worst:.3g} px after a common "
            f"shift, with object pixels of {scan.geometry.object_pixel:.4g} m; correct the wrong one, "
            "or leave 'positions_px' out"
        )


def check_object_pixel(scan: PtychoDataset, stated: float) -> None:
    """Refuse an object pixel that differs from lambda z / (N pixel) by more than 3 %.

    Raises
    ------
    InputError
    """
    expected = scan.geometry.object_pixel
    if not abs(stated / expected - 1) <= 0.03:
        raise InputError(
            f"{scan.source}: 'object_pixel_size' is {stated:.4g} m, but wavelength, distance and "
            f"detector pixel give {expected:.4g} m: one of the four is wrong"
        )
