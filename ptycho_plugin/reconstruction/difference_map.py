"""The difference map of Thibault et al., Ultramicroscopy 109, 338 (2009).

The exit waves psi_j are the iterate. Two sets are known: waves that agree with the measured
amplitudes (projection Pi_F), and waves that factor into one probe and one object (projection
Pi_O). One iteration with beta = 1 (their equation 9) is

    psi <- psi + Pi_F(2 Pi_O(psi) - psi) - Pi_O(psi).

Pi_O has no closed form: object and probe are found in turn, each from the other (their equations 6 and
7), from those of the last iteration on.

Photon noise sets the two sets apart. Without more, the iterate then runs off along the gap, a
little farther with every iteration, and takes object and probe with it. So Pi_F asks only for
agreement within the noise: the amplitudes' squared distance to the measured ones shrinks to
`Block.noise_power`, the distance that photon noise alone explains, and no further (the power bound of
Giewekemeyer et al., PNAS 107, 529 (2010), supplement).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ptycho_plugin.reconstruction.blocks import Block
from ptycho_plugin.reconstruction.estimate import Estimate, Totals, inner, relative_distance
from ptycho_plugin.reconstruction.forward import ForwardModel
from ptycho_plugin.reconstruction.machine import Array

FLOOR = 5e-3
"""Share of the largest illumination that regularises a division by the illumination: with less, few frames
that are iterated for long let the probe's rim grow without end."""
LEAK = 0.05
"""Of what is not lit, each iteration."""
MOST_PASSES = 10
"""Of object and probe in one iteration."""


class DifferenceMap:
    """The difference map on the frames that were added so far.

    Parameters
    ----------
    start : Estimate
        Of one slice.
    forward : ForwardModel
    overlap_tolerance : float
        Passes over object and probe end when the probe changes by less than this share of its norm.
    support : array, (row, column), float32, or 1
        1 where the probe may be, 0 where it is zero.
    """

    def __init__(
        self,
        start: Estimate,
        forward: ForwardModel,
        *,
        overlap_tolerance: float = math.inf,
        support: Array | float = 1.0,
    ) -> None:
        self.estimate = start
        self._forward = forward
        self._tolerance = overlap_tolerance
        self._support = support
        self._machine = machine = forward.machine
        self._power = 0.0
        self._blocks: list[Block] = []
        self._overlap = machine.xp.zeros_like(start.object)
        self._illumination = machine.xp.zeros_like(machine.xp.real(start.object))
        self._object_sums = Totals(machine, self._overlap, self._illumination)
        probes = machine.xp.stack([start.probe, start.probe])
        self._probe_sums = Totals(machine, probes, machine.xp.real(start.probe[0, ...]))

    def add(self, blocks: Sequence[Block], *, power: float) -> None:
        """Take in blocks; their exit waves start from the estimate.

        Parameters
        ----------
        blocks : sequence of Block
        power : float
            sum |probe|^2 to hold from here on, the photons of a frame.
        """
        self._set_power(power)
        forward, far = self._forward, self._forward.probe_far(self.estimate)

        def enter(_: int, share: Sequence[Block]) -> None:
            for block in share:
                probes = forward.probes(block, self.estimate, far)
                forward.exit_waves(block, probes, self.estimate.object, block.exit_waves)

        self._machine.for_each_share(enter, blocks)
        overlap, illumination = self._overlap_of(blocks, self.estimate)
        self._overlap += overlap
        self._illumination += illumination
        self._blocks.extend(blocks)

    @property
    def judged(self) -> Estimate:
        """What the last step's error is of."""
        return self.estimate

    def step(self, *, update_probe: bool) -> float:
        """Take one iteration.

        Returns
        -------
        float
            ||Pi_F(2 Pi_O psi - psi) - Pi_O psi|| / ||measured amplitudes||: how far the two sets
            still are from one another.
        """
        nearest = self._nearest() if update_probe else replace(self.estimate, object=self._nearest_object())
        self.estimate = nearest.with_probe_power(self._power)
        return self._reflect()

    def state(self) -> dict[str, Any]:
        """Return what `restore` needs besides the blocks, on the host."""
        host = self._machine.host
        return {
            "estimate": self.estimate.state(self._machine),
            "overlap": host(+self._overlap),
            "illumination": host(+self._illumination),
            "power": np.array(self._power),
        }

    def restore(self, state: Mapping[str, Any], blocks: Sequence[Block]) -> None:
        """Go on where another one's state was taken, with its blocks."""
        self.estimate = Estimate.restored(state["estimate"], self._machine)
        self._overlap = self._machine.array(state["overlap"])
        self._illumination = self._machine.array(state["illumination"])
        self._power = float(state["power"])
        self._blocks = list(blocks)

    def _set_power(self, power: float) -> None:
        """Rescale probe and exit waves: the object's scale stays."""
        factor = (power / self.estimate.probe_power) ** 0.5
        for block in self._blocks:
            block.exit_waves[...] *= factor
        self._overlap *= factor**2
        self._illumination *= factor**2
        self.estimate = replace(self.estimate, probe=self.estimate.probe * factor)
        self._power = power

    def _nearest(self) -> Estimate:
        """Return Pi_O(psi): equations 6 and 7 in turn, until the probe settles."""
        object_ = self._nearest_object()
        last, probe = self.estimate.probe, self._nearest_probe(object_)
        for _ in range(MOST_PASSES - 1):
            if _relative_change(last, probe) <= self._tolerance:
                break
            overlap = self._overlap_of(self._blocks, Estimate(object_, probe))
            self._overlap[...], self._illumination[...] = overlap
            object_ = self._nearest_object()
            last, probe = probe, self._nearest_probe(object_)
        return Estimate(object_, probe)

    def _overlap_of(self, blocks: Sequence[Block], estimate: Estimate) -> list[Array]:
        """Return sum_j conj(P_j) psi_j and sum_j |P_j|^2."""
        forward, far = self._forward, self._forward.probe_far(estimate)

        def collect(number: int, share: Sequence[Block]) -> None:
            sums = self._cleared(number)
            for block in share:
                probes = forward.probes(block, estimate, far)
                self._machine.primitives.to_object(block.exit_waves, probes, block.corners, *sums)

        self._machine.for_each_share(collect, blocks)
        return self._object_sums.total()

    def _nearest_object(self) -> Array:
        """Return O = sum_j conj(P_j) psi_j / sum_j |P_j|^2 (equation 6), 1 where there is no light.

        Where only the probe's faint rim falls, O could fall and P rise without end, for the exit waves
        know their product only: there O leaks back to its start, 1.
        """
        floor = FLOOR * float(self._machine.xp.max(self._illumination))
        known = (1 - LEAK) * self.estimate.object + LEAK
        return (self._overlap + floor * known) * (1 / (self._illumination + floor))

    def _nearest_probe(self, object_: Array) -> Array:
        """Return P = sum_j conj(O_j) psi_j / sum_j |O_j|^2 (equation 7), moved back to one pixel grid."""

        def project(number: int, share: Sequence[Block]) -> None:
            sums = self._probe_sums.cleared(number)
            for block in share:
                self._forward.add_to_probe(block, block.exit_waves, object_[0, ...], *sums)

        self._machine.for_each_share(project, self._blocks)
        sums, transmission = self._probe_sums.total()
        floor = FLOOR * float(self._machine.xp.max(transmission))
        return (
            self._support * self._forward.summed_probe(sums) / self._machine.xp.maximum(transmission, floor)
        )

    def _reflect(self) -> float:
        """Move the exit waves, and collect the overlap sums of the next iteration on the way."""
        forward, machine, far = self._forward, self._machine, self._forward.probe_far(self.estimate)
        slice_ = self.estimate.object[0, ...]

        def move(number: int, share: Sequence[Block]) -> tuple[float, float]:
            sums = self._cleared(number)
            distance = power = 0.0
            for block in share:
                overlap = forward.probes(block, self.estimate, far), slice_, block.corners
                reflected = machine.room("reflected", block.exit_waves.shape)
                machine.primitives.reflect(*overlap, block.exit_waves, reflected)
                machine.primitives.modulus(
                    forward.to_detector(block, reflected), block.amplitudes, block.noise_power
                )
                nearest = forward.to_sample(block, reflected)
                distance += machine.primitives.advance(block.exit_waves, nearest, *overlap, *sums)
                power += block.power
            return distance, power

        shares = machine.for_each_share(move, self._blocks)
        self._overlap[...], self._illumination[...] = self._object_sums.total()
        return relative_distance(shares)

    def _cleared(self, share: int) -> list[Array]:
        """Return the sums of a share of the work, of the one slice, set to zero."""
        return [total[0, ...] for total in self._object_sums.cleared(share)]


def _relative_change(before: Array, after: Array) -> float:
    change = after - before
    return (inner(change, change) / inner(before, before)) ** 0.5
