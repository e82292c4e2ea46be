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
        light, probe = machine.xp.real(estimate.object), estimate.probe
        probes = machine.xp.stack([probe, probe])
        self._sums = Totals(machine, estimate.object, light, probes, machine.xp.real(probe[0, ...]))
        machine.for_each_share(self._sums_of, blocks)
        total = Sums(*self._sums.total())
        self._gradient, self._illumination = +total.object, +total.illumination
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

        def judge(number: int, share: Sequence[tuple[int, Sequence[Block]]]) -> None:
            for row, places in share:
                object_ = self._object_without(places[0], number)
                distances[row] = [self._distance(block, object_) for block in places]

        self._machine.for_each_share(judge, list(enumerate(trials)))
        return distances

    def _object_without(self, frame: Block, number: int) -> Array:
        """Return O_-j, in slices."""
        own = self._sums_of(number, [frame])
        light = self._illumination - own.illumination
        known = light * self._estimate.object - (self._gradient - own.object)
        return (known + self._floor) / (light + self._floor)

    def _distance(self, block: Block, object_: Array) -> float:
        probes = self._forward.probes(block, self._estimate, self._far)
        far = self._forward.far_fields(block, probes, object_, "far fields")
        return float(self._machine.primitives.compare(far, block.amplitudes, *self._model, far))

    def _sums_of(self, number: int, share: Sequence[Block]) -> Sums:
        """Return what a share of the frames says of the object: the gradient, and where they have light."""
        forward, object_, sums = self._forward, self._estimate.object, Sums(*self._sums.cleared(number))
        for block in share:
            probes = forward.probes(block, self._estimate, self._far)
            waves = self._machine.room("waves", block.exit_waves.shape)
            incoming = forward.exit_waves(block, probes, object_, waves)
            far = forward.to_detector(block, waves)
            self._machine.primitives.compare(far, block.amplitudes, *self._model, far)
            forward.collect(block, forward.to_sample(block, far), incoming, object_, sums)
        return sums
