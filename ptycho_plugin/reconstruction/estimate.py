"""The unknowns of a reconstruction, and the forward model that every engine shares."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from operator import iadd
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ptycho_plugin.reconstruction import kernels
from ptycho_plugin.reconstruction.blocks import FRAMES_PER_BLOCK, Block
from ptycho_plugin.reconstruction.fourier import to_detector, to_sample


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


def room_for(probe: NDArray[np.complex64]) -> NDArray[np.complex64]:
    """Return room for the waves of any block, ``(frame, mode, row, column)``: taken once, used often."""
    return np.empty((FRAMES_PER_BLOCK, *probe.shape), np.complex64)


def probes_of(
    block: Block, probe_far: NDArray[np.complex64], room: NDArray[np.complex64]
) -> NDArray[np.complex64]:
    """Return P_j, the probe moved by the fraction of a pixel that each frame's corner leaves.

    Parameters
    ----------
    block : Block
    probe_far : ndarray, (mode, row, column), complex64
        Far field of the probe.
    room : ndarray, complex64
        Holds the result: see `room_for`.

    Returns
    -------
    ndarray, (frame or 1, mode, row, column), complex64
        One for all frames on the pixel grid.
    """
    if block.shifts is None:
        probes = room[:1]
        probes[0] = probe_far
    else:
        probes = room[: block.frames]
        kernels.shift(probe_far, block.shifts, probes)
    return to_sample(probes)


def add_probes(
    block: Block,
    waves: NDArray[np.complex64],
    object_: NDArray[np.complex64],
    far: NDArray[np.complex64],
    transmission: NDArray[np.float32],
    room: NDArray[np.complex64],
) -> None:
    """Add up what the waves say of the probe: the adjoint of psi_j = P_j O_j, and its weight.

    Parameters
    ----------
    block : Block
    waves : ndarray, (frame, mode, row, column), complex64
    object_ : ndarray, (row, column), complex64
    far : ndarray, (mode, row, column), complex64
        Receives the far field of sum_j conj(O_j) waves_j, each moved back onto the probe's grid.
    transmission : ndarray, (row, column), float32
        Receives sum_j |O_j|^2.
    room : ndarray, complex64
        Overwritten: see `room_for`. The waves may lie in it.
    """
    products = room[: 1 if block.shifts is None else block.frames]
    kernels.add_transmission(waves, object_, block.corners, products, transmission)
    products = to_detector(products)
    if block.shifts is None:
        far += products[0]
    else:
        kernels.add_shifted_back(products, block.shifts, far)


def in_order(parts: list[Any]) -> list[Any]:
    """Return the sums of corresponding members of some tuples, always taken in the same order.

    Arrays of the first tuple are overwritten.
    """
    return [reduce(iadd, members) for members in zip(*parts, strict=True)]


def _inner(a: NDArray[np.complex64], b: NDArray[np.complex64]) -> float:
    return float(np.vdot(a, b).real)
