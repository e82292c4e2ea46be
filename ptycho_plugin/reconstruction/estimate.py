"""The unknowns of a reconstruction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ptycho_plugin.reconstruction.machine import Array, Machine, namespace_of


@dataclass(frozen=True, slots=True)
class Estimate:
    """An object, a probe and positions, or a direction, a gradient or a sum of them.

    Parameters
    ----------
    object : array, (slice, row, column), complex64
        In the order of the beam: one slice where the sample is thin.
    probe : array, (mode, row, column), complex64
    positions_px : ndarray, (frame, 2), float64
        On the host, and only where they are unknown: as long as the stage is trusted, none.
    """

    object: Array
    probe: Array
    positions_px: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 2)))

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
        return Estimate(
            self.object + length * direction.object,
            self.probe + length * direction.probe,
            self.positions_px + length * direction.positions_px,
        )

    def dot(self, other: Estimate) -> float:
        """Return the real inner product."""
        ways = float(np.sum(self.positions_px * other.positions_px))
        return inner(self.object, other.object) + inner(self.probe, other.probe) + ways

    def state(self, machine: Machine) -> dict[str, NDArray[Any]]:
        """Return all on the host."""
        return {
            "object": machine.host(self.object),
            "probe": machine.host(self.probe),
            "positions_px": self.positions_px,
        }

    @classmethod
    def restored(cls, state: Mapping[str, NDArray[Any]], machine: Machine) -> Estimate:
        """Return the estimate that `state` was taken of, on a machine."""
        return cls(machine.array(state["object"]), machine.array(state["probe"]), state["positions_px"])

    def with_probe_power(self, power: float) -> Estimate:
        """Return the same exit waves with sum |probe|^2 = power: the gauge of the scale.

        Each slice takes the same share of the factor.
        """
        scale = (power / self.probe_power) ** 0.5
        each = scale ** (-1 / self.object.shape[0])
        return replace(self, object=self.object * each, probe=self.probe * scale)


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


def inner(a: Array, b: Array) -> float:
    """Return the real inner product of two arrays."""
    # Not a BLAS call, whose last bits depend on its threads.
    xp = namespace_of(a)
    real = xp.real(a) * xp.real(b)
    real += xp.imag(a) * xp.imag(b)
    return float(xp.sum(real, dtype=xp.float64))


def relative_distance(shares: Sequence[tuple[float, float]]) -> float:
    """Return the root of summed squared distances over the summed power, of shares ``(distance, power)``."""
    distances, powers = zip(*shares, strict=True)
    return float((sum(distances) / sum(powers)) ** 0.5)
