"""The mean of the frames there are: it tells the beam's power, and the noise to expect."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ptycho_plugin.reconstruction.forward import ForwardModel


class MeanFrame:
    """The mean of all frames so far, each pixel over the frames that measured it.

    Parameters
    ----------
    forward : ForwardModel
    side : int
        Rows, and columns, of a frame.
    """

    def __init__(self, forward: ForwardModel, side: int) -> None:
        self._forward = forward
        self._counts = np.zeros((side, side))
        self._measurements = np.zeros((side, side))

    def add(self, intensities: NDArray[np.float32]) -> None:
        """Take in frames ``(n, row, column)``, negative where not measured."""
        measured = intensities >= 0
        self._counts += np.sum(intensities, axis=0, where=measured, dtype=np.float64)
        self._measurements += measured.sum(axis=0)

    def state(self) -> dict[str, NDArray[np.float64]]:
        """Return the sums, to be restored."""
        return {"counts": self._counts, "measurements": self._measurements}

    def restore(self, state: Mapping[str, NDArray[np.float64]]) -> None:
        """Take over sums."""
        self._counts, self._measurements = state["counts"], state["measurements"]

    @property
    def mean(self) -> NDArray[np.float32]:
        """Counts ``(row, column)``, 0 where no frame measured."""
        return (self._counts / np.maximum(self._measurements, 1)).astype(np.float32)

    def photons(self, probe: NDArray[np.complex64]) -> float:
        """Return the photons of a frame, those expected on unmeasured pixels included.

        Parameters
        ----------
        probe : ndarray, (mode, row, column), complex64
            Its intensity on the detector tells what share is measured.
        """
        machine = self._forward.machine
        waves = machine.waves((1, *probe.shape))
        waves[...] = machine.array(probe)
        far = machine.host(self._forward.detector.forth(waves))
        light = np.sum(np.abs(far) ** 2, axis=(0, 1))
        seen = self._forward.detector.frame_order(self._measurements) > 0
        return float(self.mean.sum(dtype=np.float64) * light.sum() / light[seen].sum())
