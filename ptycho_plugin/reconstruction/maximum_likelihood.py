"""Maximum-likelihood refinement: Thibault and Guizar-Sicairos, New J. Phys. 14, 063004 (2012).

The negative log-likelihood of Poisson counts n for model intensities I = sum_m |F(P_m O)|^2
(their equation 5, constants dropped) is

    L = sum over measured pixels of I - n log I,

minimised over object and probe together by preconditioned nonlinear conjugate gradients with
an analytic line search.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ptycho_plugin.reconstruction.blocks import Block
from ptycho_plugin.reconstruction.estimate import (
    Estimate,
    Totals,
    add_to_probe,
    probe_far,
    probes_of,
    summed_probe,
)
from ptycho_plugin.reconstruction.machine import Array, Machine

NoiseModel = Literal["poisson", "gaussian"]

FLOOR = 1e-2
"""Share of the largest illumination that regularises the preconditioner."""


@dataclass(frozen=True, slots=True)
class Gradient:
    """The gradient of L, its preconditioned form, and the model's R there."""

    steepest: Estimate
    preconditioned: Estimate
    residual: float


class MaximumLikelihood:
    """Conjugate gradients on the likelihood of some frames.

    Parameters
    ----------
    start : Estimate
    blocks : sequence of Block
        Their exit waves are overwritten: they hold the model's far fields from here on.
    machine : Machine
    noise : "poisson" or "gaussian"
        Whether the variance of counts is the model's, or the measured counts' (at least 1).
    background : float
        Counts that every pixel has besides.
    support : array, (row, column), float32, or 1
        1 where the probe may be, 0 where it stays as it is.
    """

    def __init__(
        self,
        start: Estimate,
        blocks: Sequence[Block],
        machine: Machine,
        *,
        noise: NoiseModel = "poisson",
        background: float = 0.0,
        support: Array | float = 1.0,
    ) -> None:
        self.estimate = start
        self._blocks = blocks
        self._machine = machine
        self.model = np.float32(background), noise == "poisson"
        self._support = support
        self._object_sums = Totals(machine, start.object, machine.xp.real(start.object))
        probes = machine.xp.stack([start.probe, start.probe])
        self._probe_sums = Totals(machine, probes, machine.xp.real(start.probe[0, ...]))
        self._direction: Estimate | None = None
        self._last: Gradient | None = None

    def step(self) -> float:
        """Take one iteration; return R of the estimate before it.

        R = sqrt(sum (sqrt(I) - sqrt(n))^2 / sum n) over measured pixels.
        """
        gradient = self.gradient()
        self._direction = self._conjugate(gradient)
        self._last = gradient
        self.estimate = self.estimate.plus(self._direction, self._step_length(self._direction))
        return gradient.residual

    def gradient(self) -> Gradient:
        """Return the gradient of L with respect to the conjugates of object and probe (equations 7, 8).

        The preconditioner divides each pixel by the illumination (the object's) or the
        transmission (the probe's) that it received.
        """
        machine, far_probe = self._machine, probe_far(self.estimate, self._machine)

        def collect(number: int, share: Sequence[Block]) -> tuple[float, float]:
            object_sums, probe_sums = self._object_sums.cleared(number), self._probe_sums.cleared(number)
            distance = power = 0.0
            for block in share:
                probes = probes_of(block, self.estimate, far_probe, machine)
                machine.primitives.exit_waves(probes, self.estimate.object, block.corners, block.exit_waves)
                far = machine.to_detector(block.exit_waves)
                slope = machine.room("slope", far.shape)
                distance += machine.primitives.compare(far, block.amplitudes, *self.model, slope)
                machine.primitives.to_object(machine.to_sample(slope), probes, block.corners, *object_sums)
                add_to_probe(block, slope, self.estimate.object, machine, *probe_sums)
                power += block.power
            return distance, power

        distances, powers = zip(*machine.for_each_share(collect, self._blocks), strict=True)
        object_sum, illumination = self._object_sums.total()
        probe_sum, transmission = self._probe_sums.total()
        steepest = Estimate(+object_sum, self._support * summed_probe(probe_sum, machine))
        preconditioned = Estimate(
            steepest.object / _with_floor(illumination, machine),
            steepest.probe / _with_floor(transmission, machine),
        )
        return Gradient(steepest, preconditioned, (sum(distances) / sum(powers)) ** 0.5)

    def _conjugate(self, gradient: Gradient) -> Estimate:
        """Return the Polak-Ribiere direction, or steepest descent where that would not descend."""
        steepest_descent = Estimate(-gradient.preconditioned.object, -gradient.preconditioned.probe)
        if self._last is None or self._direction is None:
            return steepest_descent
        last = self._last
        numerator = gradient.preconditioned.dot(gradient.steepest) - gradient.preconditioned.dot(
            last.steepest
        )
        beta = max(0.0, numerator / last.preconditioned.dot(last.steepest))
        direction = steepest_descent.plus(self._direction, beta)
        return direction if direction.dot(gradient.steepest) < 0 else steepest_descent

    def _step_length(self, direction: Estimate) -> float:
        """Return the length at which L is lowest along a direction, to second order.

        Along it I(a) = I + a I' + ..., with I' = 2 Re sum_m conj(A_m) F(P_m dO + dP_m O). The
        curvature is its expectation over the noise, sum I'^2 / I, which is never negative.
        """
        machine = self._machine
        far_probe, far_step = probe_far(self.estimate, machine), probe_far(direction, machine)

        def expand(_: int, share: Sequence[Block]) -> tuple[float, float]:
            slope = curvature = 0.0
            for block in share:
                probes = probes_of(block, self.estimate, far_probe, machine)
                steps = probes_of(block, direction, far_step, machine, room="probe steps")
                change = machine.room("change", block.exit_waves.shape)
                machine.primitives.change_of_exit_waves(
                    probes, steps, self.estimate.object, direction.object, block.corners, change
                )
                slope_here, curvature_here = machine.primitives.expand(
                    block.exit_waves, machine.to_detector(change), block.amplitudes, *self.model
                )
                slope += slope_here
                curvature += curvature_here
            return slope, curvature

        slopes, curvatures = zip(*machine.for_each_share(expand, self._blocks), strict=True)
        return -sum(slopes) / sum(curvatures) if sum(curvatures) > 0 else 0.0


def residual_of(
    estimate: Estimate, blocks: Sequence[Block], machine: Machine, background: float = 0.0
) -> float:
    """Return R = sqrt(sum (sqrt(I) - sqrt(n))^2 / sum n) over measured pixels."""
    far_probe = probe_far(estimate, machine)

    def compare(_: int, share: Sequence[Block]) -> tuple[float, float]:
        distance = power = 0.0
        for block in share:
            probes = probes_of(block, estimate, far_probe, machine)
            waves = machine.room("slope", block.exit_waves.shape)
            machine.primitives.exit_waves(probes, estimate.object, block.corners, waves)
            far = machine.to_detector(waves)
            distance += machine.primitives.compare(far, block.amplitudes, np.float32(background), True, far)
            power += block.power
        return distance, power

    distances, powers = zip(*machine.for_each_share(compare, blocks), strict=True)
    return float((sum(distances) / sum(powers)) ** 0.5)


def _with_floor(weight: Array, machine: Machine) -> Array:
    return weight + FLOOR * float(machine.xp.max(weight))
