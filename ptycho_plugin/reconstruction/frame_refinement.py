"""What belongs to each frame alone, refined with object and probe: its position and its intensity.

Positions take Gauss-Newton steps on the likelihood, all frames with the same object. The derivative of
a moved probe is exact in the far field (Guizar-Sicairos and Fienup, Opt. Express 16, 7264 (2008),
equation 19); the curvature is its expectation over the noise. Intensities have a closed form.

Frames cannot tell some changes of all positions from changes of object and probe: a common shift at
all, a common scale or shear hardly, since a defocused probe takes it up. So what all frames move
together by is removed: the stage is trusted with its zero and its axes, and each frame within a
tolerance. The refinement explains scatter; it cannot bend the object. Nor can it tell a slow trend of
the beam over the scan from one of the object's modulus: only the scatter of intensities is found.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ptycho_plugin.reconstruction.blocks import Block, split_positions
from ptycho_plugin.reconstruction.estimate import Estimate
from ptycho_plugin.reconstruction.forward import ForwardModel
from ptycho_plugin.reconstruction.machine import Array

RELAXATION = 2.0
"""Neighbouring frames hold one another back through the object they share: longer steps get there."""
LONGEST_STEP_PX = 2.0

Model = tuple[np.float32, bool]
"""Background and noise model, as `kernels.compare` takes them."""


class FrameRefinement:
    """Positions and intensities of frames, and the steps that refine them.

    Parameters
    ----------
    blocks : sequence of Block
        With shifts; these and the corners are overwritten.
    measured_px : ndarray, (frame, 2), float64
        Top-left pixel of each frame's patch, where the stage says that it was taken.
    tolerance_px : float
        Farther from there a position never goes; 0 leaves positions as they are.
    intensities : bool
        Whether each frame may have been taken with more or less beam than the mean.
    shape : (int, int)
        The object's.
    forward : ForwardModel

    Attributes
    ----------
    positions_px : ndarray, (frame, 2), float64
    intensities : ndarray, (frame,), float64
        Relative to their mean.
    """

    def __init__(
        self,
        blocks: Sequence[Block],
        measured_px: NDArray[np.float64],
        *,
        tolerance_px: float,
        intensities: bool,
        shape: tuple[int, int],
        forward: ForwardModel,
    ) -> None:
        self.positions_px = measured_px.copy()
        self.intensities = np.ones(len(measured_px))
        self._measured_px = measured_px
        self._tolerance_px = tolerance_px
        self._refines_intensities = intensities
        self._forward = forward
        self._machine = forward.machine
        starts = np.cumsum([0, *(block.frames for block in blocks)])
        self._frames = [slice(*ends) for ends in pairwise(starts)]
        self._blocks = blocks
        self._side = blocks[0].amplitudes.shape[-1]
        self._last_px = np.array(shape) - self._side - 0.5
        centred = measured_px - measured_px.mean(axis=0)
        self._together = np.column_stack([np.ones(len(centred)), centred])

    def state(self) -> dict[str, NDArray[np.float64]]:
        """Return positions and intensities, to be restored."""
        return {"positions_px": self.positions_px, "intensities": self.intensities}

    def restore(self, state: Mapping[str, NDArray[np.float64]]) -> None:
        """Take over positions and intensities; the blocks stand there already."""
        self.positions_px, self.intensities = state["positions_px"], state["intensities"]

    def step(self, estimate: Estimate, model: Model) -> None:
        """Refine every frame once, for a given object and probe."""
        far = self._forward.probe_far(estimate)
        steps, growth = np.zeros_like(self.positions_px), np.zeros_like(self.intensities)

        def refine(_: int, share: Sequence[tuple[Block, slice]]) -> None:
            for block, frames in share:
                wave = self._far_fields(block, estimate, far)
                if self._refines_intensities:
                    growth[frames] = [-g / c if c else 0 for g, c in self._expanded(block, wave, wave, model)]
                if self._tolerance_px:
                    steps[frames] = self._steps(block, wave, estimate, far, model)

        pairs = list(zip(self._blocks, self._frames, strict=True))
        self._machine.for_each_share(refine, pairs)
        # an estimate without numbers is told by the next iteration: until then no frame moves
        steps, growth = np.nan_to_num(steps, posinf=0, neginf=0), np.nan_to_num(growth, posinf=0, neginf=0)
        self._move(steps)
        self.intensities *= (1 + growth) ** 2
        self.intensities /= self.intensities.mean()
        for block, frames in pairs:
            self._place(block, frames)

    def _far_fields(self, block: Block, estimate: Estimate, far: Array) -> Array:
        probes = self._forward.probes(block, estimate, far)
        return self._forward.far_fields(block, probes, estimate.object, "far fields")

    def _expanded(self, block: Block, wave: Array, change: Array, model: Model) -> list[tuple[float, float]]:
        """Return slope and curvature of L along a change of each frame's far field."""
        each = [slice(j, j + 1) for j in range(block.frames)]
        expand = self._machine.primitives.expand
        return [expand(wave[j, ...], change[j, ...], block.amplitudes[j, ...], *model) for j in each]

    def _steps(
        self, block: Block, wave: Array, estimate: Estimate, far: Array, model: Model
    ) -> NDArray[np.float64]:
        """Return each frame's Gauss-Newton step ``(row, column)`` in pixels, 0 where it tells nothing."""
        changes = [self._change(block, axis, estimate, far) for axis in (0, 1)]
        rows, columns, both = (
            np.array(self._expanded(block, wave, change, model)).T for change in (*changes, sum(changes))
        )
        cross = (both[1] - rows[1] - columns[1]) / 2
        curvature = np.moveaxis(np.array([[rows[1], cross], [cross, columns[1]]]), -1, 0)
        slope = np.stack([rows[0], columns[0]], axis=-1)
        return -(np.linalg.pinv(curvature, hermitian=True) @ slope[..., None])[..., 0]

    def _change(self, block: Block, axis: int, estimate: Estimate, far: Array) -> Array:
        """Return the derivative of the far fields with respect to the positions along an axis."""
        factors = self._machine.host(block.shifts).copy()
        factors[:, axis] *= -2j * np.pi * np.fft.fftfreq(self._side)
        moved = self._machine.room("moved", block.exit_waves.shape)
        self._machine.primitives.shift(far, self._machine.array(factors), moved)
        moved = self._machine.inverse_fourier(moved)
        return self._forward.far_fields(block, moved, estimate.object, f"along axis {axis}")

    def _move(self, steps: NDArray[np.float64]) -> None:
        """Take the steps, without what all frames move together by, and stay within bounds."""
        steps = _shortened(RELAXATION * steps, LONGEST_STEP_PX)
        moved = self.positions_px + steps - self._measured_px
        moved -= self._together @ np.linalg.lstsq(self._together, moved, rcond=None)[0]
        moved = _shortened(moved, self._tolerance_px)
        self.positions_px = np.clip(self._measured_px + moved, 0, self._last_px)

    def _place(self, block: Block, frames: slice) -> None:
        corners, shifts = split_positions(self.positions_px[frames], self._side)
        shifts[:, 0] *= np.sqrt(self.intensities[frames])[:, None]
        block.corners[...] = corners
        if block.shifts is not None:  # as it was asked for
            block.shifts[...] = self._machine.array(shifts)


def _shortened(vectors: NDArray[np.float64], longest: float) -> NDArray[np.float64]:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors * np.minimum(1, longest / np.maximum(lengths, np.finfo(float).tiny))
