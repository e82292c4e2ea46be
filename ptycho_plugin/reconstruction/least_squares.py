"""Least-squares maximum likelihood: Odstrcil, Menzel and Guizar-Sicairos, Opt. Express 26, 3108 (2018).

A frame asks for a change chi_j of its exit wave: to the nearest one that has the measured amplitudes,
the step of the likelihood of amplitudes. Object and probe follow it along their directions

    dO = sum_j conj(P_j) chi_j / sum_j |P_j|^2,    dP = sum_j conj(O_j) chi_j / sum_j |O_j|^2,

as far as explains it best: the lengths a, b of their steps minimise

    sum_j |chi_j - a P_j dO_j - b dP_j O_j|^2,

a linear system of two equations (theirs, 22 to 25). Compact batches of neighbouring frames take turns,
each with the object and the probe that the one before has left. Two things are not the paper's: it
solves for each frame and averages the lengths, here one system is solved for a batch, which measured
the same; and sum_j |P_j|^2 is that of the whole scan, which keeps a batch from changing much where it
knows little.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ptycho_plugin.reconstruction.batches import Batch, compact_batches
from ptycho_plugin.reconstruction.blocks import Block
from ptycho_plugin.reconstruction.estimate import Estimate, Totals, inner
from ptycho_plugin.reconstruction.forward import ForwardModel, Sums
from ptycho_plugin.reconstruction.machine import Array, namespace_of
from ptycho_plugin.reconstruction.plain import windows

FRAMES_PER_BATCH = 20
"""Fewer mend the slow structure sooner, more the fine one."""
FLOOR = 0.05
"""Share of the largest illumination that regularises a division by the illumination."""
RESOLVED = 1e-6
"""Ratio of the two steps' effects below which only the stronger one is taken."""
MOMENTUM = 0.8
"""Share of an iteration's change by which the estimate goes on after it."""


class LeastSquares:
    """Least-squares steps on the frames that were added so far.

    Parameters
    ----------
    start : Estimate
        Of one slice.
    forward : ForwardModel
    support : array, (row, column), float32, or 1
        1 where the probe may be, 0 where it stays as it is.

    Attributes
    ----------
    judged : Estimate
        What the last step's error is of.
    """

    def __init__(self, start: Estimate, forward: ForwardModel, *, support: Array | float = 1.0) -> None:
        self.estimate = self.judged = self._ahead = start
        self._forward = forward
        self._support = support
        self._machine = forward.machine
        self._power = 0.0
        self._blocks: list[Block] = []
        self._batches: list[Batch] = []
        self._error = math.inf

    def add(self, blocks: Sequence[Block], *, power: float) -> None:
        """Take in blocks.

        Parameters
        ----------
        blocks : sequence of Block
        power : float
            sum |probe|^2 to hold from here on, the photons of a frame.
        """
        factor = (power / self.estimate.probe_power) ** 0.5
        self.estimate = self._ahead = replace(self.estimate, probe=self.estimate.probe * factor)
        self._power = power
        self._blocks.extend(blocks)
        self._batches = []

    def step(self, *, update_probe: bool) -> float:
        """Take one iteration, in which every batch has its turn.

        Returns
        -------
        float
            R = sqrt(sum (sqrt(I) - sqrt(n))^2 / sum n) over measured pixels, as each batch found it.
        """
        if not self._batches:  # not before: what the frames were made of is in memory until then
            self._group()
        illumination = self._illumination(self._ahead.probe)
        last, self.judged = self.estimate, self._ahead
        self.estimate = replace(self.judged, object=+self.judged.object)
        distance = power = 0.0
        for batch in self._batches:
            distance += self._follow(batch, illumination, update_probe=update_probe)
            power += batch.power
        error = (distance / power) ** 0.5
        self.estimate = self.estimate.with_probe_power(self._power)
        self._ahead = self._beyond(last, error)
        self._error = error
        return error

    def state(self) -> dict[str, Any]:
        """Return what `restore` needs besides the blocks, on the host."""
        return {
            "estimate": self.estimate.state(self._machine),
            "ahead": self._ahead.state(self._machine),
            "power": np.array(self._power),
            "error": np.array(self._error),
        }

    def restore(self, state: Mapping[str, Any], blocks: Sequence[Block]) -> None:
        """Go on where another one's state was taken, with its blocks."""
        self.estimate = Estimate.restored(state["estimate"], self._machine)
        self._power, self._error = float(state["power"]), float(state["error"])
        self._ahead = Estimate.restored(state["ahead"], self._machine)
        self._blocks, self._batches = list(blocks), []

    def _group(self) -> None:
        xp, shape = self._machine.xp, self.estimate.object.shape[-2:]
        self._batches = compact_batches(self._blocks, shape, FRAMES_PER_BATCH, self._machine)
        window, probe = self._seen_by(self._batches[0]).object, self.estimate.probe
        self._sums = Totals(
            self._machine, window, xp.real(window), xp.stack([probe, probe]), xp.real(probe[0, ...])
        )

    def _illumination(self, probe: Array) -> Array:
        """Return sum_j |P_j|^2 of all frames, ``(row, column)``, to the nearest pixel."""
        xp = self._machine.xp
        light = xp.sum(xp.real(probe) ** 2 + xp.imag(probe) ** 2, axis=0)
        total = xp.zeros_like(xp.real(self.estimate.object[0, ...]))
        for batch in self._batches:
            window = total[batch.window]
            for patch in windows(batch.corners, light.shape[-1]):
                window[patch] += light
        return total

    def _seen_by(self, batch: Batch) -> Estimate:
        """Return a copy of the object in a batch's window, and the probe."""
        return replace(self.estimate, object=+self.estimate.object[:, *batch.window])

    def _follow(self, batch: Batch, illumination: Array, *, update_probe: bool) -> float:
        """Take the step of a batch; return its squared distance to the measured amplitudes before it."""
        estimate = self._seen_by(batch)
        distance, sums = self._collect(batch, estimate)
        wanted = Estimate(sums.object, self._forward.summed_probe(sums.probe))
        direction = Estimate(
            wanted.object * (1 / (illumination[batch.window] + self._floor(illumination))),
            wanted.probe
            * (self._support * update_probe / (sums.transmission + self._floor(sums.transmission))),
        )
        length, probe_length = step_lengths(estimate, direction, wanted, sums, batch.corners)
        self.estimate.object[:, *batch.window] = estimate.object + length * direction.object
        self.estimate = replace(self.estimate, probe=estimate.probe + probe_length * direction.probe)
        return distance

    def _floor(self, weight: Array) -> float:
        return FLOOR * float(self._machine.xp.max(weight))

    def _collect(self, batch: Batch, estimate: Estimate) -> tuple[float, Sums]:
        """Return sum_j |chi_j|^2, and what the chi_j say of object and probe."""
        forward, machine, far = self._forward, self._machine, self._forward.probe_far(estimate)
        slice_ = estimate.object[0, ...]

        def collect(number: int, share: Sequence[Block]) -> float:
            sums, distance = Sums(*self._sums.cleared(number)), 0.0
            for block in share:
                overlap = forward.probes(block, estimate, far), slice_, block.corners
                nearest, change = (
                    machine.room(name, (block.frames, *far.shape)) for name in ("nearest", "change")
                )
                machine.primitives.exit_waves(*overlap, nearest)
                machine.primitives.modulus(
                    forward.to_detector(block, nearest), block.amplitudes, block.noise_power
                )
                change[...] = 0
                distance += machine.primitives.advance(
                    change,
                    forward.to_sample(block, nearest),
                    *overlap,
                    sums.object[0, ...],
                    sums.illumination[0, ...],
                )
                forward.add_to_probe(block, change, slice_, sums.probe, sums.transmission)
            return distance

        distances = machine.for_each_share(collect, batch.blocks)
        return sum(distances), Sums(*self._sums.total())

    def _beyond(self, last: Estimate, error: float) -> Estimate:
        """Return where the next iteration starts: from this one's end on, a share of the way since the last.

        Where the error has risen it stays, and gathers way anew: O'Donoghue and Candes, Found. Comput.
        Math. 15, 715 (2015).
        """
        if error >= self._error or not math.isfinite(self._error):
            return self.estimate
        way = self.estimate.plus(last, -1.0)
        return self.estimate.plus(way, MOMENTUM).with_probe_power(self._power)


def step_lengths(
    estimate: Estimate, direction: Estimate, wanted: Estimate, sums: Sums, corners: NDArray[np.int64]
) -> tuple[float, float]:
    """Return a and b that minimise sum_j |chi_j - a P_j dO_j - b dP_j O_j|^2: equation 22, of a batch.

    All that the frames tell is in their sums, but for the correlation of the two steps, sum_j
    conj(P_j dO_j) dP_j O_j, which is taken to the nearest pixel.

    Parameters
    ----------
    estimate, direction : Estimate
        O and P, dO and dP.
    wanted : Estimate
        sum_j conj(P_j) chi_j and sum_j conj(O_j) chi_j.
    sums : Sums
        Its weights sum_j |P_j|^2 and sum_j |O_j|^2 are used.
    corners : ndarray, (frame, 2), int64
        First pixel of each frame's patch.
    """
    xp = namespace_of(estimate.object)
    weighted = Estimate(direction.object * sums.illumination, direction.probe * sums.transmission)
    product = (xp.conj(direction.object) * estimate.object)[0, ...]
    patches = xp.zeros_like(estimate.probe[0, ...])
    for patch in windows(corners, estimate.side):
        patches += product[patch]
    both = inner(estimate.probe, direction.probe * patches)
    equations = [
        [inner(weighted.object, direction.object), both],
        [both, inner(weighted.probe, direction.probe)],
    ]
    if not np.isfinite(equations).all():  # the next error tells it
        return math.nan, math.nan
    known = [inner(wanted.object, direction.object), inner(wanted.probe, direction.probe)]
    lengths = np.linalg.lstsq(np.array(equations), np.array(known), rcond=RESOLVED)[0]
    return float(lengths[0]), float(lengths[1])
