"""The unknowns of a reconstruction, and the forward model that every engine shares."""

from __future__ import annotations

from dataclasses import dataclass

from ptycho_plugin.reconstruction.blocks import Block
from ptycho_plugin.reconstruction.machine import Array, Machine


@dataclass(frozen=True, slots=True)
class Estimate:
    """An object and a probe, or a direction, a gradient or a sum of them.

    Parameters
    ----------
    object : array, (row, column), complex64
    probe : array, (mode, row, column), complex64
    """

    object: Array
    probe: Array

    @property
    def side(self) -> int:
        """Rows, and columns, of probe and frames."""
        return int(self.probe.shape[-1])

    @property
    def probe_power(self) -> float:
        """Sum |probe|^2, the photons of a frame."""
        return inner(self.probe, self.probe)

    def plus(self, direction: Estimate, length: float) -> Estimate:
        """Return the estimate a step of some length away."""
        return Estimate(self.object + length * direction.object, self.probe + length * direction.probe)

    def dot(self, other: Estimate) -> float:
        """Return the real inner product."""
        return inner(self.object, other.object) + inner(self.probe, other.probe)

    def with_probe_power(self, power: float) -> Estimate:
        """Return the same exit waves with sum |probe|^2 = power: the gauge of the scale."""
        scale = (power / self.probe_power) ** 0.5
        return Estimate(self.object * (1 / scale), self.probe * scale)


class Totals:
    """Sums over all frames, taken in one part for each share of the work.

    Parameters
    ----------
    machine : Machine
    *like : array
        What is added up.
    """

    def __init__(self, machine: Machine, *like: Array) -> None:
        self._parts = [[machine.xp.zeros_like(array) for array in like] for _ in range(machine.partial_sums)]

    def cleared(self, share: int) -> list[Array]:
        """Return the part of a share, set to zero."""
        for array in self._parts[share]:
            array[...] = 0
        return self._parts[share]

    def total(self) -> list[Array]:
        """Return the parts' sums, always taken in the same order, until a part is next cleared."""
        first, *others = self._parts
        for part in others:
            for total, array in zip(first, part, strict=True):
                total += array
        return first


def probes_of(block: Block, estimate: Estimate, far: Array, machine: Machine, room: str = "probes") -> Array:
    """Return P_j, the probe moved by the fraction of a pixel that each frame's corner leaves.

    Parameters
    ----------
    block : Block
    estimate : Estimate
    far : array, (mode, row, column), complex64
        The probe's far field.
    machine : Machine
    room : str
        Name of the room that holds the result.

    Returns
    -------
    array, (frame or 1, mode, row, column), complex64
        One for all frames on the pixel grid.
    """
    if block.shifts is None:
        return estimate.probe[None, ...]
    probes = machine.room(room, (block.frames, *far.shape))
    machine.primitives.shift(far, block.shifts, probes)
    return machine.to_sample(probes)


def probe_far(estimate: Estimate, machine: Machine) -> Array:
    """Return the probe's far field, ``(mode, row, column)``."""
    far = machine.waves(estimate.probe.shape)
    far[...] = estimate.probe
    return machine.to_detector(far)


def add_to_probe(
    block: Block, waves: Array, object_: Array, machine: Machine, sums: Array, transmission: Array
) -> None:
    """Add up what the waves say of the probe: the adjoint of psi_j = P_j O_j, and its weight.

    Parameters
    ----------
    block : Block
    waves : array, (frame, mode, row, column), complex64
    object_ : array, (row, column), complex64
    machine : Machine
    sums : array, (2, mode, row, column), complex64
        Receives sum_j conj(O_j) waves_j: of frames on the pixel grid, and as the far field of those
        that are first moved back to it.
    transmission : array, (row, column), float32
        Receives sum_j |O_j|^2.
    """
    if block.shifts is None:
        machine.primitives.to_probe(waves, object_, block.corners, sums[0, ...], transmission)
        return
    products = machine.room("products", waves.shape)
    machine.primitives.to_probes(waves, object_, block.corners, products, transmission)
    machine.primitives.add_shifted_back(machine.to_detector(products), block.shifts, sums[1, ...])


def summed_probe(sums: Array, machine: Machine) -> Array:
    """Return the probe, ``(mode, row, column)``, that `add_to_probe` has added up."""
    return sums[0, ...] + machine.to_sample(sums[1, ...])


def inner(a: Array, b: Array) -> float:
    """Return the real inner product of complex arrays, summed in float64."""
    # Not a BLAS call, whose last bits depend on its threads.
    xp = a.__array_namespace__()
    real = xp.real(a) * xp.real(b)
    real += xp.imag(a) * xp.imag(b)
    return float(xp.sum(real, dtype=xp.float64))
