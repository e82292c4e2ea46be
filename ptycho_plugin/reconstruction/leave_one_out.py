"""The object as all frames but one know it, and where that one fits it.

A frame that is far from its place, above all at the rim of a scan where few others look, is believed:
the object grows around it, until its own likelihood prefers it there. The object without it does not
know of it, and tells where it belongs. With W = sum_j |P_j|^2 and G the gradient of L with respect to
the object's conjugate, both as sums over frames, the others' step down from the object O ends at

    O_-j = ((W - W_j) O - (G - G_j) + floor) / (W - W_j + floor),

which is 1, no matter, where no other frame has light. Trial positions are judged by the distance of
amplitudes, as Maiden et al., Ultramicroscopy 120, 64 (2012) judge theirs; theirs are random, few and
for all frames, of the object that the frame itself has shaped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ptycho_plugin.reconstruction.blocks import Block
from ptycho_plugin.reconstruction.estimate import Estimate, Totals
from ptycho_plugin.reconstruction.forward import ForwardModel, Sums
from ptycho_plugin.reconstruction.machine import Array

FLOOR = 1e-2
"""Share of the largest illumination below which others are taken to know nothing."""


class LeaveOneOut:
    """Trials of single frames against the object that all others know.

    Parameters
    ----------
    blocks : sequence of Block
        All frames.
    estimate : Estimate
    model : (float32, bool)
        Background and noise model, as `kernels.compare` takes them.
    forward : ForwardModel
    """

    def __init__(
        self,
        blocks: Sequence[Block],
        estimate: Estimate,
        model: tuple[np.float32, bool],
        forward: ForwardModel,
    ) -> None:
        self._estimate, self._model, self._forward = estimate, model, forward
        self._machine = machine = forward.machine
        self._far = forward.probe_far(estimate)
        parts = Totals(machine, *self._no_sums(estimate.object))

        def add_up(number: int, share: Sequence[Block]) -> None:
            self._add_up(share, estimate.object, Sums(*parts.cleared(number)))

        machine.for_each_share(add_up, blocks)
        total = Sums(*parts.total())
        self._gradient, self._illumination = total.object, total.illumination
        self._floor = FLOOR * machine.xp.max(self._illumination, axis=(-2, -1), keepdims=True)

    def distances(self, trials: Sequence[Sequence[Block]]) -> NDArray[np.float64]:
        """Return sum (sqrt(I) - sqrt(n))^2 over measured pixels of each trial.

        Parameters
        ----------
        trials : sequence of sequence of Block
            For each frame as many blocks of it alone, the first where it stands, others elsewhere.

        Returns
        -------
        ndarray, (frame, trial), float64
        """
        distances = np.zeros((len(trials), len(trials[0])))

        def judge(_: int, share: Sequence[tuple[int, Sequence[Block]]]) -> None:
            for row, places in share:
                object_, first = self._object_without(places)
                distances[row] = [
                    self._distance(replace(block, corners=block.corners - first), object_) for block in places
                ]

        self._machine.for_each_share(judge, list(enumerate(trials)))
        return distances

    def _object_without(self, places: Sequence[Block]) -> tuple[Array, NDArray[np.int64]]:
        """Return O_-j, in slices, in the window that a frame's places need, and that window's first pixel."""
        corners = np.concatenate([block.corners for block in places])
        first, last = corners.min(axis=0), corners.max(axis=0) + self._estimate.side
        window = (..., *(slice(int(start), int(end)) for start, end in zip(first, last, strict=True)))
        object_ = +self._estimate.object[window]
        own = self._no_sums(object_)
        self._add_up([replace(places[0], corners=places[0].corners - first)], object_, own)
        light = self._illumination[window] - own.illumination
        known = light * object_ - (self._gradient[window] - own.object)
        return (known + self._floor) / (light + self._floor), first

    def _distance(self, block: Block, object_: Array) -> float:
        probes = self._forward.probes(block, self._estimate, self._far)
        far = self._forward.far_fields(block, probes, object_, "far fields")
        return float(self._machine.primitives.compare(far, block.amplitudes, *self._model, far))

    def _no_sums(self, object_: Array) -> Sums:
        xp, probe = self._machine.xp, self._estimate.probe
        arrays = object_, xp.real(object_), xp.stack([probe, probe]), xp.real(probe[0, ...])
        return Sums(*map(xp.zeros_like, arrays))

    def _add_up(self, blocks: Sequence[Block], object_: Array, sums: Sums) -> None:
        """Add what frames say of the object: the gradient, and where they have light."""
        forward = self._forward
        for block in blocks:
            probes = forward.probes(block, self._estimate, self._far)
            waves = self._machine.room("waves", block.exit_waves.shape)
            incoming = forward.exit_waves(block, probes, object_, waves)
            far = forward.to_detector(block, waves)
            self._machine.primitives.compare(far, block.amplitudes, *self._model, far)
            forward.collect(block, forward.to_sample(block, far), incoming, object_, sums)
