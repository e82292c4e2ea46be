"""Maximum-likelihood refinement: Thibault and Guizar-Sicairos, New J. Phys. 14, 063004 (2012).

The negative log-likelihood of Poisson counts n for model intensities I = sum_m |F(P_m O)|^2
(their equation 5, constants dropped) is

    L = sum over measured pixels of I - n log I,

minimised over object and probe, and positions where they are unknown, together by preconditioned
nonlinear conjugate gradients with an analytic line search. A prior for a smooth object may be added:
see `smoothness`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from ptycho_plugin.reconstruction.blocks import Block, frames_of
from ptycho_plugin.reconstruction.estimate import Estimate, Totals, relative_distance
from ptycho_plugin.reconstruction.forward import ForwardModel, Sums
from ptycho_plugin.reconstruction.frame_refinement import FrameRefinement
from ptycho_plugin.reconstruction.machine import Array, Machine
from ptycho_plugin.reconstruction.smoothness import NEIGHBOURS, roughness_expansion, roughness_gradient

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
    forward : ForwardModel
    noise : "poisson" or "gaussian"
        Whether the variance of counts is the model's, or the measured counts' (at least 1).
    background : float
        Counts that every pixel has besides.
    smoothness : float
        Weight of the prior.
    support : array, (row, column), float32, or 1
        1 where the probe may be, 0 where it stays as it is.
    refinement : FrameRefinement, optional
        Where positions are unknown too: what holds them in bounds.
    """

    def __init__(
        self,
        start: Estimate,
        blocks: Sequence[Block],
        forward: ForwardModel,
        *,
        noise: NoiseModel = "poisson",
        background: float = 0.0,
        smoothness: float = 0.0,
        support: Array | float = 1.0,
        refinement: FrameRefinement | None = None,
    ) -> None:
        self.estimate = start if refinement is None else replace(start, positions_px=refinement.positions_px)
        self._smoothness = smoothness
        self._support = support
        self._refinement = refinement
        self._power = start.probe_power
        self._blocks = list(zip(blocks, frames_of(blocks), strict=True))
        self._forward = forward
        self._machine = machine = forward.machine
        self.model = noise_model(noise, background)
        real, probes = machine.xp.real, machine.xp.stack([start.probe, start.probe])
        self._sums = Totals(machine, start.object, real(start.object), probes, real(start.probe[0, ...]))
        self._direction: Estimate | None = None
        self._last: Gradient | None = None

    def step(self) -> float:
        """Take one iteration; return R of the estimate before it.

        R = sqrt(sum (sqrt(I) - sqrt(n))^2 / sum n) over measured pixels; not a number where no step of
        finite length was found, and none was taken.
        """
        gradient = self.gradient()
        self._direction = self._conjugate(gradient)
        self._last = gradient
        moved = self.estimate.plus(self._direction, self._step_length(self._direction))
        if not math.isfinite(moved.probe_power):
            return math.nan
        if self._refinement is not None:
            moved = replace(moved, positions_px=self._refinement.move_to(moved.positions_px))
        self.estimate = moved.with_probe_power(self._power)
        return gradient.residual

    def restart(self) -> None:
        """Go on by steepest descent from where the refinement has put the frames."""
        if self._refinement is not None:
            self.estimate = replace(self.estimate, positions_px=self._refinement.positions_px)
        self._direction = self._last = None

    def state(self) -> dict[str, Any]:
        """Return what `restore` needs, on the host: the waves are made anew in each iteration."""
        machine = self._machine
        state: dict[str, Any] = {"estimate": self.estimate.state(machine), "power": np.array(self._power)}
        if self._last is not None and self._direction is not None:
            state["direction"] = self._direction.state(machine)
            state["steepest"] = self._last.steepest.state(machine)
            state["preconditioned"] = self._last.preconditioned.state(machine)
        return state

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on where another one's state was taken, on the same blocks."""
        machine = self._machine
        self.estimate = Estimate.restored(state["estimate"], machine)
        self._power = float(state["power"])
        if "direction" in state:
            self._direction = Estimate.restored(state["direction"], machine)
            steepest, preconditioned = (
                Estimate.restored(state[name], machine) for name in ("steepest", "preconditioned")
            )
            self._last = Gradient(steepest, preconditioned, residual=float("nan"))

    def gradient(self) -> Gradient:
        """Return the gradient of L with respect to the conjugates of object and probe (equations 7, 8).

        The preconditioner divides each pixel by the illumination (the object's) or the
        transmission (the probe's) that it received: it sets the scale between object and probe.
        Of positions it holds half the derivative, so that inner products count all unknowns alike.
        """
        forward, machine, object_ = self._forward, self._machine, self.estimate.object
        far_probe, slopes = forward.probe_far(self.estimate), np.zeros_like(self.estimate.positions_px)

        def collect(number: int, share: Sequence[tuple[Block, slice]]) -> tuple[float, float]:
            sums = Sums(*self._sums.cleared(number))
            distance = power = 0.0
            for block, frames in share:
                probes = forward.probes(block, self.estimate, far_probe)
                incoming = forward.exit_waves(block, probes, object_, block.exit_waves)
                far = forward.to_detector(block, block.exit_waves)
                slope = machine.room("slope", far.shape)
                distance += machine.primitives.compare(far, block.amplitudes, *self.model, slope)
                far_waves = forward.collect(block, forward.to_sample(block, slope), incoming, object_, sums)
                if self._refinement is not None:
                    slopes[frames] = forward.slopes_along_ways(block, far_waves, far_probe)
                power += block.power
            return distance, power

        shares = machine.for_each_share(collect, self._blocks)
        sums = Sums(*self._sums.total())
        steepest = Estimate(+sums.object, self._support * forward.summed_probe(sums.probe), slopes)
        if self._smoothness:
            steepest.object[...] += self._smoothness * roughness_gradient(object_)
            sums.illumination[...] += self._smoothness * NEIGHBOURS
        preconditioned = Estimate(
            steepest.object / _with_floor(sums.illumination, machine),
            steepest.probe / _with_floor(sums.transmission, machine),
            slopes if self._refinement is None else self._refinement.preconditioned(slopes),
        )
        return Gradient(steepest, preconditioned, relative_distance(shares))

    def _conjugate(self, gradient: Gradient) -> Estimate:
        """Return the Polak-Ribiere direction, or steepest descent where that would not descend."""
        uphill = gradient.preconditioned
        steepest_descent = Estimate(-uphill.object, -uphill.probe, -uphill.positions_px)
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

        Along it I(a) = I + a I' + ..., with I' = 2 Re sum_m conj(A_m) F(P_m dO + dP_m O), where dP
        holds what a frame's probe gains by moving. The curvature is its expectation over the noise,
        sum I'^2 / I, which is never negative.
        """
        forward, machine, object_ = self._forward, self._machine, self.estimate.object
        far_probe, far_step = forward.probe_far(self.estimate), forward.probe_far(direction)

        def expand(_: int, share: Sequence[tuple[Block, slice]]) -> tuple[float, float]:
            slope = curvature = 0.0
            for block, frames in share:
                probes = forward.probes(block, self.estimate, far_probe)
                ways = direction.positions_px[frames]
                steps = forward.changes_of_probes(block, direction, far_step, far_probe, ways)
                change = machine.room("change", block.exit_waves.shape)
                incoming = forward.entering(block, probes, object_)
                forward.change_of_exit_waves(block, incoming, steps, object_, direction.object, change)
                slope_here, curvature_here = machine.primitives.expand(
                    block.exit_waves, forward.to_detector(block, change), block.amplitudes, *self.model
                )
                slope += slope_here
                curvature += curvature_here
            return slope, curvature

        terms = machine.for_each_share(expand, self._blocks)
        if self._smoothness:
            rough = roughness_expansion(object_, direction.object)
            terms.append((self._smoothness * rough[0], self._smoothness * rough[1]))
        slopes, curvatures = zip(*terms, strict=True)
        return -sum(slopes) / sum(curvatures) if sum(curvatures) > 0 else 0.0


def noise_model(noise: NoiseModel, background: float = 0.0) -> tuple[np.float32, bool]:
    """Return background and noise as the primitives take them: see `MaximumLikelihood`."""
    return np.float32(background), noise == "poisson"


def residual_of(
    estimate: Estimate, blocks: Sequence[Block], forward: ForwardModel, background: float = 0.0
) -> float:
    """Return R = sqrt(sum (sqrt(I) - sqrt(n))^2 / sum n) over measured pixels."""
    far_probe = forward.probe_far(estimate)

    def compare(_: int, share: Sequence[Block]) -> tuple[float, float]:
        distance = power = 0.0
        for block in share:
            probes = forward.probes(block, estimate, far_probe)
            far = forward.far_fields(block, probes, estimate.object, "far fields")
            distance += forward.machine.primitives.compare(
                far, block.amplitudes, np.float32(background), True, far
            )
            power += block.power
        return distance, power

    return relative_distance(forward.machine.for_each_share(compare, blocks))


def _with_floor(weight: Array, machine: Machine) -> Array:
    """Return the weight with a share of the largest one of each slice, or of the probe."""
    return weight + FLOOR * machine.xp.max(weight, axis=(-2, -1), keepdims=True)
