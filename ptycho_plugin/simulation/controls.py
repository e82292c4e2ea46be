"""What simulated devices act on: knobs to turn, and an exposure to take."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from threading import RLock
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ptycho_plugin.errors import InputError

AXES = ("stage_row", "stage_column", "coarse_row", "coarse_column")


@dataclass(frozen=True, slots=True)
class Exposure:
    """What the detectors say of one exposure."""

    frame: NDArray[np.int32]
    """Full frame (row, column) in raw camera orientation, with the camera's marks."""
    position_um: tuple[float, float]
    """Measured stage position (row, column), averaged over the exposure, without the coarse stage."""
    monitor_counts: float
    """What the flux monitor counted, at gain 1, in units of its own."""


class World(Protocol):
    """A source, a sample on its stages, and a camera. Safe to use from several threads."""

    @property
    def detector_shape(self) -> tuple[int, int]:
        """Rows and columns of a frame."""

    @property
    def beam_centre_px(self) -> tuple[int, int]:
        """Direct beam (row, column) on the raw frame."""

    def move(self, axis: str, value_um: float) -> None:
        """Bring one axis to a place, at once."""

    def set_shutter(self, open: bool) -> None:  # noqa: A002 - what one says of a shutter
        """Open or close the shutter."""

    def set_transmission(self, value: float) -> None:
        """Set the part of the flux that the attenuator lets through."""

    @property
    def beam(self) -> float:
        """Photons that reach the sample now, as a part of the unattenuated source's."""

    def expose(self, exposure_s: float) -> Exposure:
        """Take one exposure; it takes the time of its computation, not of the exposure."""

    def shine(self, stage_um: tuple[float, float], seconds: float, beam: float) -> None:
        """Bring light onto what is in the beam that no detector counts, as on the way between exposures."""


class Controls:
    """The knobs' positions, checked when turned: all at zero, shutter closed, no attenuation."""

    def __init__(self) -> None:
        self._lock = RLock()
        self._axes = dict.fromkeys(AXES, 0.0)
        self._open = False
        self._attenuator_transmission = 1.0

    def move(self, axis: str, value_um: float) -> None:
        """Bring one axis to a place in micrometres, at once.

        Raises
        ------
        InputError
            If there is no such axis or the place is not a finite number.
        """
        if axis not in AXES:
            raise InputError(f"there is no axis '{axis}': move one of {', '.join(AXES)}")
        if not isfinite(value_um):
            raise InputError(f"{axis} cannot go to {value_um} um: give a finite number")
        with self._lock:
            self._axes[axis] = float(value_um)

    def set_shutter(self, open: bool) -> None:  # noqa: A002 - what one says of a shutter
        """Open or close the shutter."""
        with self._lock:
            self._open = open

    def set_transmission(self, value: float) -> None:
        """Set the part of the flux that the attenuator lets through.

        Raises
        ------
        InputError
            If it is not between 0 and 1.
        """
        if not 0 <= value <= 1:
            raise InputError(f"an attenuator's transmission of {value} cannot be: give 0 to 1")
        with self._lock:
            self._attenuator_transmission = float(value)

    @property
    def beam(self) -> float:
        """Photons that reach the sample now, as a part of the unattenuated source's."""
        with self._lock:
            return self._attenuator_transmission * self._open

    def _pair(self, stage: str) -> NDArray[np.float64]:
        return np.array([self._axes[f"{stage}_row"], self._axes[f"{stage}_column"]])


def check_exposure(exposure_s: float) -> None:
    """Refuse an exposure time that is not a positive number."""
    if not (exposure_s > 0 and isfinite(exposure_s)):
        raise InputError(f"an exposure of {exposure_s} s cannot be taken: give a positive time")
