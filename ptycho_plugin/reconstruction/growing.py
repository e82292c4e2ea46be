"""A reconstruction of frames that come one by one: what it does depends on them, not on when they came."""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

from ptycho_plugin.geometry import Geometry
from ptycho_plugin.reconstruction.driver import Reconstruction, Report
from ptycho_plugin.reconstruction.options import ReconstructionOptions
from ptycho_plugin.reconstruction.result import Result


class GrowingReconstruction:
    """Takes frames in in steps, and iterates on each step before the next.

    The first step has `ReconstructionOptions.frames_to_start` frames, each other one `frames_per_step`, and
    is followed by `iterations_per_step` iterations. So the same frames in the same order give the same bits
    on the same machine, live, after a worker that has died, and years later: `Result.frames_used` tells
    what each iteration used.

    Parameters
    ----------
    geometry, probe, planned_positions, options
        As for a `Reconstruction`.

    Attributes
    ----------
    outside : list of ndarray, (2,)
        Positions in metres of frames that were left out, since they lie outside the planned scan.

    Examples
    --------
    >>> growing = GrowingReconstruction(geometry, probe, planned_positions)
    >>> for intensities, positions in frames:
    ...     growing.add(intensities, positions)
    ...     while growing.is_due:
    ...         growing.iterate()
    >>> result = growing.finish()
    """

    def __init__(
        self,
        geometry: Geometry,
        probe: NDArray[np.complex64],
        planned_positions: NDArray[np.float64],
        options: ReconstructionOptions | None = None,
    ) -> None:
        self._engine = Reconstruction(geometry, probe, planned_positions, options)
        self._options = self._engine.options
        self._step = min(self._options.frames_to_start, len(planned_positions))
        self._waiting: deque[tuple[NDArray[np.float32], NDArray[np.float64]]] = deque()
        self._left = 0
        self.outside: list[NDArray[np.float64]] = []

    @property
    def frames(self) -> int:
        """Frames in use."""
        return self._engine.frames

    def add(self, intensities: NDArray[np.float32], positions: NDArray[np.float64]) -> None:
        """Have frames wait for their step.

        Parameters
        ----------
        intensities : ndarray, (n, row, column), float32
            Counts, negative where not measured.
        positions : ndarray, (n, 2), float64
            ``(row, column)`` in metres.
        """
        self._waiting.extend(zip(intensities, positions, strict=True))

    @property
    def is_due(self) -> bool:
        """Whether there is an iteration to be done before more frames come."""
        return self._left > 0 or len(self._waiting) >= self._step

    def iterate(self) -> float:
        """Do one iteration that is due; return its error.

        Raises
        ------
        DivergenceError
            If it diverges.
        ReconstructionError
            If the first frames hold no photon, or none lies in the planned scan.
        """
        if self._left == 0:
            self._take(self._step)
            self._step = self._options.frames_per_step
            self._left = self._options.iterations_per_step
        error = self._engine.iterate()
        self._left -= 1
        return error

    def finish(self, report: Report | None = None) -> Result:
        """Do what is due, take in the rest, and run the recipe; return its result.

        Raises
        ------
        DivergenceError, ReconstructionError
            As from `iterate`, or if there is no frame.
        """
        while self.is_due:
            self.iterate()
        self._take(len(self._waiting))
        return self._engine.finish(report)

    def result(self) -> Result:
        """Return the state as it is."""
        return self._engine.result()

    def _take(self, count: int) -> None:
        if not count:
            return
        frames = [self._waiting.popleft() for _ in range(count)]
        intensities, positions = (np.stack(part) for part in zip(*frames, strict=True))
        taken = self._engine.add(intensities, positions)
        self.outside.extend(positions[~taken])
