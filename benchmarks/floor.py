"""The least that an iteration costs: one forward and one inverse transform of every frame."""

from __future__ import annotations

from statistics import median
from time import perf_counter

import numpy as np
import pyfftw

from ptycho_plugin.reconstruction.parallel import usable_cores


class Floor:
    """Transforms of a whole stack of frames: FFTW, measured plans, complex64, in place.

    Parameters
    ----------
    frames, side : int
        Shape of the stack ``(frames, side, side)``.
    """

    def __init__(self, frames: int, side: int) -> None:
        self._waves = pyfftw.zeros_aligned((frames, side, side), np.complex64)
        self._forward, self._inverse = (
            pyfftw.FFTW(
                self._waves,
                self._waves,
                axes=(1, 2),
                direction=direction,
                flags=("FFTW_MEASURE",),
                threads=usable_cores(),
            )
            for direction in ("FFTW_FORWARD", "FFTW_BACKWARD")
        )
        self._waves[:] = 1
        self._seconds: list[float] = []

    def run(self) -> None:
        """Transform there and back once, and take the time."""
        began = perf_counter()
        self._forward.execute()
        self._inverse.execute()
        self._seconds.append(perf_counter() - began)
        self._waves[:] = 1  # bare transforms grow by side^2 each time

    @property
    def seconds(self) -> float:
        """Median of all runs so far."""
        return median(self._seconds)
