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

import numpy as np
from numpy.typing import NDArray

from ptycho_plugin.reconstruction import kernels
from ptycho_plugin.reconstruction.blocks import Block
from ptycho_plugin.reconstruction.estimate import Estimate, add_probes, in_order, probes_of, room_for
from ptycho_plugin.reconstruction.fourier import to_detector, to_sample
from ptycho_plugin.reconstruction.parallel import for_each_share

DARK_COUNTS = np.float32(1e-2)
"""Counts a pixel always expects: keeps the likelihood finite where the model is dark."""
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
    """

    def __init__(self, start: Estimate, blocks: Sequence[Block]) -> None:
        self.estimate = start
        self._blocks = blocks
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
        probe_far = to_detector(self.estimate.probe.copy())

        def collect(share: Sequence[Block]) -> tuple[NDArray[np.generic] | float, ...]:
            object_, probe = np.zeros_like(self.estimate.object), np.zeros_like(self.estimate.probe)
            illumination = np.zeros(object_.shape, np.float32)
            transmission = np.zeros(probe.shape[-2:], np.float32)
            distance = power = 0.0
            probes_room, residual_room = room_for(probe), room_for(probe)
            for block in share:
                probes = probes_of(block, probe_far, probes_room)
                residual = residual_room[: block.frames]
                kernels.exit_waves(probes, self.estimate.object, block.corners, block.exit_waves)
                far = to_detector(block.exit_waves)
                distance += kernels.compare(far, block.amplitudes, block.measured, DARK_COUNTS, residual)
                residual = to_sample(residual)
                kernels.add_overlap(residual, probes, block.corners, object_, illumination)
                add_probes(block, residual, self.estimate.object, probe, transmission, residual_room)
                power += block.power
            return object_, probe, illumination, transmission, distance, power

        sums = in_order(for_each_share(collect, self._blocks))
        object_, probe_far_sum, illumination, transmission, distance, power = sums
        steepest = Estimate(object_, to_sample(probe_far_sum))
        preconditioned = Estimate(
            steepest.object / _with_floor(illumination), steepest.probe / _with_floor(transmission)
        )
        return Gradient(steepest, preconditioned, float(np.sqrt(distance / power)))

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
        probe_far = to_detector(self.estimate.probe.copy())
        direction_far = to_detector(direction.probe.copy())

        def expand(share: Sequence[Block]) -> tuple[float, float]:
            slope = curvature = 0.0
            rooms = [room_for(direction.probe) for _ in range(3)]
            for block in share:
                probes = probes_of(block, probe_far, rooms[0])
                probe_steps = probes_of(block, direction_far, rooms[1])
                change = rooms[2][: block.frames]
                kernels.change_of_exit_waves(
                    probes, probe_steps, self.estimate.object, direction.object, block.corners, change
                )
                change = to_detector(change)
                slope_here, curvature_here = kernels.expand(
                    block.exit_waves, change, block.amplitudes, block.measured, DARK_COUNTS
                )
                slope += slope_here
                curvature += curvature_here
            return slope, curvature

        slope, curvature = in_order(for_each_share(expand, self._blocks))
        return -float(slope / curvature) if curvature > 0 else 0.0


def residual_of(estimate: Estimate, blocks: Sequence[Block]) -> float:
    """Return R = sqrt(sum (sqrt(I) - sqrt(n))^2 / sum n) over measured pixels."""
    probe_far = to_detector(estimate.probe.copy())

    def compare(share: Sequence[Block]) -> tuple[float, float]:
        distance = power = 0.0
        probes_room, waves_room = room_for(estimate.probe), room_for(estimate.probe)
        for block in share:
            probes, waves = probes_of(block, probe_far, probes_room), waves_room[: block.frames]
            kernels.exit_waves(probes, estimate.object, block.corners, waves)
            far = to_detector(waves)
            distance += kernels.compare(far, block.amplitudes, block.measured, DARK_COUNTS, far)
            power += block.power
        return distance, power

    distance, power = in_order(for_each_share(compare, blocks))
    return float(np.sqrt(distance / power))


def _with_floor(weight: NDArray[np.float32]) -> NDArray[np.float32]:
    return weight + np.float32(FLOOR) * weight.max()
