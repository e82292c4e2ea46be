"""The unknowns of a reconstruction, and the forward model that every engine shares."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ptycho_plugin.reconstruction.blocks import Block
from ptycho_plugin.reconstruction.fourier import to_detector, to_sample

Array = TypeVar("Array", bound=NDArray[Any])


@dataclass(frozen=True, slots=True)
class Estimate:
    """An object and a probe, or a direction, a gradient or a sum of them.

    Parameters
    ----------
    object : ndarray, (row, column), complex64
    probe : ndarray, (mode, row, column), complex64
    """

    object: NDArray[np.complex64]
    probe: NDArray[np.complex64]

    @property
    def side(self) -> int:
        """Rows, and columns, of probe and frames."""
        return int(self.probe.shape[-1])

    @property
    def probe_power(self) -> float:
        """Sum |probe|^2, the photons of a frame."""
        return _inner(self.probe, self.probe)

    def plus(self, direction: Estimate, length: float) -> Estimate:
        """Return the estimate a step of some length away."""
        step = np.float32(length)
        return Estimate(self.object + step * direction.object, self.probe + step * direction.probe)

    def dot(self, other: Estimate) -> float:
        """Return the real inner product."""
        return _inner(self.object, other.object) + _inner(self.probe, other.probe)

    def with_probe_power(self, power: float) -> Estimate:
        """Return the same exit waves with sum |probe|^2 = power: the gauge of the scale."""
        scale = np.float32(np.sqrt(power / self.probe_power))
        return Estimate(self.object / scale, self.probe * scale)


class Views:
    """What the frames of one block see of an object and of a probe.

    The exit wave of frame j is P_j O_j: P_j the probe moved by the fraction of a pixel, O_j the
    object's patch at the whole pixel.
    """

    def __init__(self, block: Block) -> None:
        self._block = block
        side = block.amplitudes.shape[-1]
        self._windows = [np.s_[r : r + side, c : c + side] for r, c in block.corners]

    def patches(self, object_: NDArray[np.complex64]) -> NDArray[np.complex64]:
        """Return O_j, ``(frame, 1, row, column)``."""
        return np.stack([object_[window] for window in self._windows])[:, None]

    def add_patches(self, total: Array, patches: Array) -> None:
        """Add patches ``(frame or 1, row, column)`` into an object-sized array: `patches`' adjoint."""
        for frame, window in enumerate(self._windows):
            total[window] += patches[frame if len(patches) > 1 else 0]

    def probes(self, probe_far: NDArray[np.complex64]) -> NDArray[np.complex64]:
        """Return P_j, ``(frame or 1, mode, row, column)``, from the probe's far field."""
        shifts = self._block.shifts
        return to_sample(probe_far[None].copy() if shifts is None else probe_far * shifts)

    def add_probes(self, total_far: NDArray[np.complex64], waves: NDArray[np.complex64]) -> None:
        """Add the far fields of waves moved back onto the probe's grid: the adjoint of `probes`.

        The waves ``(frame, mode, row, column)`` may be overwritten.
        """
        shifts = self._block.shifts
        if shifts is None:
            total_far += to_detector(waves.sum(axis=0))
        else:
            total_far += np.einsum("fmrc,frc->mrc", to_detector(waves), shifts[:, 0].conj())


def intensity(waves: NDArray[np.complex64]) -> NDArray[np.float32]:
    """Return sum_m |wave_m|^2, ``(frame, row, column)``, of ``(frame, mode, row, column)``."""
    squares: NDArray[np.float32] = (waves.real**2 + waves.imag**2).sum(axis=1)
    return squares


def in_order(parts: list[Any]) -> list[Any]:
    """Return the sums of corresponding members of some tuples, always taken in the same order."""
    return [reduce(np.add, members) for members in zip(*parts, strict=True)]


def _inner(a: NDArray[np.complex64], b: NDArray[np.complex64]) -> float:
    return float(np.vdot(a, b).real)
