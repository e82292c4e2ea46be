"""Every orientation convention, written once.

Arrays are ``[..., row, column]`` and positions are ``(row, column) = (y, x)``.

Detector
    A frame is in *scattering* orientation when its row and column grow with the scattering
    angle along the object's row and column: frame = |fftshift(fft2(exit wave))|^2. A camera
    may be mounted in any of eight ways; `DetectorOrientation` names them by what must be
    done to the raw frame.
Stage
    Positions are those of the probe on the object: a growing position moves the
    illuminated patch to growing array indices. A stage that carries the *sample* moves the
    probe the other way; its sign is -1.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ptycho_plugin.errors import InputError


class DetectorOrientation(StrEnum):
    """What brings a raw frame into scattering orientation: first transpose, then flips."""

    AS_IS = "as_is"
    FLIP_ROWS = "flip_rows"
    FLIP_COLUMNS = "flip_columns"
    ROTATE_180 = "rotate_180"
    TRANSPOSE = "transpose"
    TRANSPOSE_FLIP_ROWS = "transpose_flip_rows"
    TRANSPOSE_FLIP_COLUMNS = "transpose_flip_columns"
    TRANSPOSE_ROTATE_180 = "transpose_rotate_180"

    @property
    def transposes(self) -> bool:
        """Whether rows and columns are exchanged."""
        return self.value.startswith("transpose")

    @property
    def flipped_axes(self) -> tuple[int, ...]:
        """The axes (-2 rows, -1 columns) that are reversed after the transposition."""
        if self.value.endswith("rotate_180"):
            return (-2, -1)
        if self.value.endswith("flip_rows"):
            return (-2,)
        return (-1,) if self.value.endswith("flip_columns") else ()

    @property
    def flipped_raw_axes(self) -> tuple[int, ...]:
        """The axes of the raw frame (before the transposition) that are reversed."""
        return tuple(-3 - axis for axis in self.flipped_axes) if self.transposes else self.flipped_axes

    def to_scattering(self, raw: NDArray[Any]) -> NDArray[Any]:
        """Return a view of raw frames ``(..., row, column)`` in scattering orientation."""
        frames = np.swapaxes(raw, -2, -1) if self.transposes else raw
        return np.flip(frames, self.flipped_axes)

    def to_raw(self, frames: NDArray[Any]) -> NDArray[Any]:
        """Return a view of frames in scattering orientation as the camera delivers them."""
        raw = np.flip(frames, self.flipped_axes)
        return np.swapaxes(raw, -2, -1) if self.transposes else raw

    def about_beam(self, crops: NDArray[Any]) -> NDArray[Any]:
        """Return square crops ``(..., row, column)`` turned about the beam, ``[side//2, side//2]``.

        For crops that cannot be taken anew (see `crop_window`). On an even side the first row or
        column has no opposite inside the crop, and stays the first: a transform's highest frequency
        is its own opposite.
        """
        return np.roll(self.to_scattering(crops), 1 - crops.shape[-1] % 2, self.flipped_axes)

    def followed_by(self, other: DetectorOrientation) -> DetectorOrientation:
        """Return the one orientation that does what this and then the other does."""
        transposes = self.transposes != other.transposes
        flipped = {-3 - axis if other.transposes else axis for axis in self.flipped_axes}
        flipped ^= set(other.flipped_axes)
        return next(
            orientation
            for orientation in DetectorOrientation
            if orientation.transposes == transposes and set(orientation.flipped_axes) == flipped
        )


class PositionSign(StrEnum):
    """How the stage's ``(row, column)`` reading relates to the probe's place on the object."""

    PROBE = "probe"
    """The reading grows as the probe moves to growing indices."""
    SAMPLE = "sample"
    """The stage carries the sample: both signs are reversed."""

    def to_probe_positions(self, stage: ArrayLike) -> NDArray[np.float64]:
        """Return probe-on-object positions ``(..., 2)`` in the stage's unit (an involution)."""
        return np.asarray(stage, np.float64) * (1.0 if self is PositionSign.PROBE else -1.0)


def crop_window(
    centre_px: tuple[float, float],
    side: int,
    detector_shape: tuple[int, ...],
    orientation: DetectorOrientation = DetectorOrientation.AS_IS,
) -> tuple[slice, slice]:
    """Return the raw rows and columns whose scattering view has the beam at ``[side//2, side//2]``.

    Parameters
    ----------
    centre_px : (float, float)
        Direct beam ``(row, column)`` in the full raw frame; the nearest pixel is used.
    side : int
        Rows and columns of the crop.
    detector_shape : (int, int)
        Rows and columns of the full frame.
    orientation : DetectorOrientation
        What `DetectorOrientation.to_scattering` will do to the crop.

    Raises
    ------
    InputError
        If the crop would leave the frame.
    """
    row, column = crop_corner(centre_px, side, orientation)
    rows, columns = detector_shape
    if min(row, column) < 0 or row + side > rows or column + side > columns:
        raise InputError(
            f"a {side} x {side} px crop about beam centre ({centre_px[0]:.1f}, {centre_px[1]:.1f}) "
            f"leaves the {rows} x {columns} px frame: take a smaller crop or check the beam centre"
        )
    return slice(row, row + side), slice(column, column + side)


def crop_corner(
    centre_px: tuple[float, float],
    side: int,
    orientation: DetectorOrientation = DetectorOrientation.AS_IS,
) -> tuple[int, int]:
    """Return the full-frame ``(row, column)`` of the crop's first pixel.

    A flip takes index ``i`` to ``side - 1 - i``, so an even side that will be flipped has the
    beam one pixel earlier than ``side // 2``.
    """
    row, column = (
        round(centre) - (side - 1 - side // 2 if axis in orientation.flipped_raw_axes else side // 2)
        for axis, centre in zip((-2, -1), centre_px, strict=True)
    )
    return row, column
