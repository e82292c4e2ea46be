"""What belongs to each frame alone, refined with object and probe: its position and its intensity.

The difference map takes Gauss-Newton steps on the likelihood, each frame by itself: its object does not
yet hold frames where they are, so that ones far off find home. In maximum likelihood, positions are
unknowns of its conjugate gradients like object and probe; a few times, frames that neither took home are
searched for. Intensities have a closed form.

Frames cannot tell some changes of all positions from changes of object and probe: a common shift at
all, a common scale or shear hardly, since a defocused probe takes it up. So what all frames move
together by is removed: the stage is trusted with its zero and its axes, and each frame within a
tolerance. The refinement explains scatter; it cannot bend the object. Nor can it tell a slow trend of
the beam over the scan from one of the object's modulus: only the scatter of intensities is found.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import ceil

import numpy as np
from numpy.typing import NDArray

from ptycho_plugin.reconstruction.blocks import Block, frames_of, split_positions
from ptycho_plugin.reconstruction.estimate import Estimate
from ptycho_plugin.reconstruction.forward import ForwardModel
from ptycho_plugin.reconstruction.leave_one_out import LeaveOneOut
from ptycho_plugin.reconstruction.machine import Array

RELAXATION = 2.0
"""Neighbouring frames hold one another back through the object they share: longer steps get there."""
LONGEST_STEP_PX = 2.0
SUSPECTS = 0.05
"""Share of frames, those that fit the others' object worst, whose places are searched for."""
PITCH_PX = 3.0
"""Of trial positions: from half its diagonal away, 2 px, steps find home."""
CLEARLY = 0.9
"""Share to which a frame's distance must fall for it to be moved. Of strays it falls to 0.87 or less; where
frames are right, it rises anywhere else."""

Model = tuple[np.float32, bool]
"""Background and noise model, as `kernels.compare` takes them."""


class FrameRefinement:
    """Positions and intensities of frames, what holds them in bounds, and steps that refine them.

    Parameters
    ----------
    blocks : sequence of Block
        With shifts; these and the corners are overwritten.
    measured_px : ndarray, (frame, 2), float64
        Top-left pixel of each frame's patch, where the stage says that it was taken.
    tolerance_px : float
        Farther from there a position never goes.
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
        shape: tuple[int, int],
        forward: ForwardModel,
    ) -> None:
        self.positions_px = measured_px.copy()
        self.intensities = np.ones(len(measured_px))
        self._curvatures = np.tile(np.eye(2), (len(measured_px), 1, 1))
        self._measured_px = measured_px
        self._tolerance_px = tolerance_px
        self._forward = forward
        self._machine = forward.machine
        self._blocks = list(zip(blocks, frames_of(blocks), strict=True))
        self._firsts = [frames.start for _, frames in self._blocks]
        self._side = blocks[0].amplitudes.shape[-1]
        self._last_px = np.array(shape) - self._side - 0.5

    def state(self) -> dict[str, NDArray[np.float64]]:
        """Return what `restore` needs besides the blocks."""
        return {
            "positions_px": self.positions_px,
            "intensities": self.intensities,
            "curvatures": self._curvatures,
        }

    def restore(self, state: Mapping[str, NDArray[np.float64]]) -> None:
        """Take over what `state` returned; the blocks stand there already."""
        self.positions_px, self.intensities = state["positions_px"], state["intensities"]
        self._curvatures = state["curvatures"]

    def return_to(self, state: Mapping[str, NDArray[np.float64]]) -> None:
        """Take over what `state` returned, and move the blocks' frames there."""
        self.restore(state)
        self._place()

    def find_positions(self, estimate: Estimate, model: Model) -> None:
        """Take a Gauss-Newton step with every frame, for a given object and probe."""
        slopes = self.expand(estimate, model)
        self.move_to(self.positions_px - self.preconditioned(slopes))

    def expand(self, estimate: Estimate, model: Model) -> NDArray[np.float64]:
        """Find the curvatures of L along each frame's way; return its slopes ``(frame, 2)`` there."""
        far, slopes = self._forward.probe_far(estimate), np.zeros_like(self.positions_px)
        curvatures = np.zeros_like(self._curvatures)

        def expand(_: int, share: Sequence[tuple[Block, slice]]) -> None:
            for block, frames in share:
                slopes[frames], curvatures[frames] = self._expanded(block, estimate, far, model)

        self._machine.for_each_share(expand, self._blocks)
        self._curvatures = curvatures
        return slopes

    def preconditioned(self, slopes: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the ways ``(frame, 2)`` uphill in pixels, by the curvatures found last.

        They are 0 where a frame tells nothing.
        """
        apart = self._apart(slopes)
        ways = (np.linalg.pinv(self._curvatures, hermitian=True) @ apart[..., None])[..., 0]
        return self._apart(np.multiply(RELAXATION, ways, dtype=np.float64))

    def move_to(self, positions_px: NDArray[np.float64]) -> NDArray[np.float64]:
        """Move frames, without what all move together by and within bounds; return where they are.

        A way that is not finite is not gone: the engine that asked for it has diverged.
        """
        ways = np.nan_to_num(positions_px - self.positions_px, nan=0, posinf=0, neginf=0)
        steps = _shortened(ways, LONGEST_STEP_PX)
        moved = self.positions_px + steps - self._measured_px
        moved = _shortened(self._apart(moved), self._tolerance_px)
        self.positions_px = np.clip(self._measured_px + moved, 0, self._last_px)
        self._place()
        return self.positions_px

    def find_strays(self, estimate: Estimate, model: Model) -> bool:
        """Move frames that, by what all others know, lie elsewhere; return whether there were any.

        The frames that fit worst are tried on a grid within their tolerance: see `leave_one_out`.
        """
        others = LeaveOneOut([block for block, _ in self._blocks], estimate, model, self._forward)
        here = self._distances(others, np.arange(len(self.positions_px)), self.positions_px[:, None])
        suspects = np.argsort(-here[:, 0], kind="stable")[: ceil(SUSPECTS * len(here))]
        grid = np.clip(self._measured_px[suspects, None] + _grid(self._tolerance_px), 0, self._last_px)
        places = np.concatenate([self.positions_px[suspects, None], grid], axis=1)
        distances = self._distances(others, suspects, places)
        strays = np.flatnonzero(distances.min(axis=1) < CLEARLY * distances[:, 0])
        positions_px = self.positions_px.copy()
        positions_px[suspects[strays]] = places[strays, distances[strays].argmin(axis=1)]
        self.positions_px = positions_px
        self._place()
        return len(strays) > 0

    def refine_intensities(self, estimate: Estimate, model: Model) -> None:
        """Refine the intensity of every frame, for a given object and probe."""
        far, growth = self._forward.probe_far(estimate), np.zeros_like(self.intensities)

        def expand(_: int, share: Sequence[tuple[Block, slice]]) -> None:
            for block, frames in share:
                wave = self._far_fields(block, estimate, far)
                slopes, curvatures = self._expansion(block, wave, wave, model)
                growth[frames] = np.divide(-slopes, curvatures, where=curvatures > 0, out=0 * slopes)

        self._machine.for_each_share(expand, self._blocks)
        intensities = self.intensities * (1 + growth) ** 2
        self.intensities = intensities / intensities.mean()
        self._place()

    def _expanded(
        self, block: Block, estimate: Estimate, far: Array, model: Model
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return slopes ``(frame, 2)`` and curvatures ``(frame, 2, 2)`` of L along ways in pixels."""
        wave = self._far_fields(block, estimate, far)
        changes = [self._change(block, axis, estimate, far) for axis in (0, 1)]
        rows, columns, both = (
            self._expansion(block, wave, change, model) for change in (*changes, sum(changes))
        )
        cross = (both[1] - rows[1] - columns[1]) / 2
        curvatures = np.moveaxis(np.array([[rows[1], cross], [cross, columns[1]]]), -1, 0)
        return np.stack([rows[0], columns[0]], axis=-1), curvatures

    def _expansion(self, block: Block, wave: Array, change: Array, model: Model) -> NDArray[np.float64]:
        """Return slope and curvature ``(2, frame)`` of L along a change of each frame's far field."""
        each = [slice(j, j + 1) for j in range(block.frames)]
        expand = self._machine.primitives.expand
        return np.array(
            [expand(wave[j, ...], change[j, ...], block.amplitudes[j, ...], *model) for j in each]
        ).T

    def _far_fields(self, block: Block, estimate: Estimate, far: Array) -> Array:
        probes = self._forward.probes(block, estimate, far)
        return self._forward.far_fields(block, probes, estimate.object, "far fields")

    def _change(self, block: Block, axis: int, estimate: Estimate, far: Array) -> Array:
        """Return the derivative of the far fields with respect to the positions along an axis."""
        ways = np.zeros((block.frames, 2))
        ways[:, axis] = 1
        moved = self._forward.changes_of_probes(block, estimate, 0 * far, far, ways)
        return self._forward.far_fields(block, moved, estimate.object, f"along axis {axis}")

    def _apart(self, ways: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return ways without the shift, scale and shear that they have in common.

        These are fitted to where frames are, not to where they were measured: there the errors that
        are being removed stand on both sides of the fit, and pass for a scale.
        """
        centred = self.positions_px - self.positions_px.mean(axis=0)
        design = np.column_stack([np.ones(len(centred)), centred])
        return np.subtract(ways, design @ np.linalg.lstsq(design, ways, rcond=None)[0], dtype=np.float64)

    def _distances(
        self, others: LeaveOneOut, frames: NDArray[np.int64], places: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return how badly frames would fit at places ``(frame, place, 2)``, as ``(frame, place)``."""
        return others.distances(
            [
                [self._alone(frame, place) for place in tried]
                for frame, tried in zip(frames, places, strict=True)
            ]
        )

    def _place(self) -> None:
        """Tell the blocks where their frames are, and how bright."""
        for block, frames in self._blocks:
            block.corners[...], shifts = self._split(frames, self.positions_px[frames])
            if block.shifts is not None:
                block.shifts[...] = shifts

    def _alone(self, frame: int, position_px: NDArray[np.float64]) -> Block:
        """Return a block of one frame, at some position."""
        block, frames = self._blocks[np.searchsorted(self._firsts, frame, side="right") - 1]
        one = slice(frame - frames.start, frame - frames.start + 1)
        corners, shifts = self._split(slice(frame, frame + 1), position_px[None])
        return replace(
            block,
            amplitudes=block.amplitudes[one, ...],
            noise_power=block.noise_power[one, ...],
            corners=corners,
            shifts=shifts,
            exit_waves=block.exit_waves[one, ...],
        )

    def _split(self, frames: slice, positions_px: NDArray[np.float64]) -> tuple[NDArray[np.int64], Array]:
        """Return corners and shifts of frames at some positions, their brightness in the shifts."""
        corners, shifts = split_positions(positions_px, self._side)
        shifts[:, 0] *= np.sqrt(self.intensities[frames])[:, None]
        return corners, self._machine.array(shifts)


def _grid(radius_px: float) -> NDArray[np.float64]:
    """Return points ``(point, 2)`` of a square grid in a circle about one of them."""
    along = PITCH_PX * np.arange(-(radius_px // PITCH_PX), radius_px // PITCH_PX + 1)
    points = np.stack(np.meshgrid(along, along, indexing="ij"), axis=-1).reshape(-1, 2)
    return points[np.linalg.norm(points, axis=1) <= radius_px]


def _shortened(vectors: NDArray[np.float64], longest: float) -> NDArray[np.float64]:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors * np.minimum(1, longest / np.maximum(lengths, np.finfo(float).tiny))
