"""Frames regrouped into compact batches: neighbours, whose patches overlap in a window of the object."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import NDArray

from ptycho_plugin.reconstruction.blocks import Block
from ptycho_plugin.reconstruction.fourier import shift_factors
from ptycho_plugin.reconstruction.machine import Machine

Window = tuple[slice, slice]
"""Rows and columns of the object."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Neighbouring frames.

    Parameters
    ----------
    window : Window
        What their patches lie in, of the same size for all batches of a scan.
    blocks : sequence of Block
        One for each share of the work at most. Their corners are in the window, their noise power is 0,
        and they have no room for exit waves.
    """

    window: Window
    blocks: Sequence[Block]

    @property
    def power(self) -> float:
        """Counts of all frames."""
        return sum(block.power for block in self.blocks)

    @property
    def corners(self) -> NDArray[np.int64]:
        """First pixel ``(row, column)``, in the window, of each frame's patch."""
        return np.concatenate([block.corners for block in self.blocks])


def compact_batches(
    blocks: Sequence[Block], shape: tuple[int, ...], frames: int, machine: Machine
) -> list[Batch]:
    """Return the frames of some blocks, copied, in batches of neighbours.

    Which frames make a batch, and their order, depends on where they lie; on when they came where they lie on
    one another.

    Parameters
    ----------
    blocks : sequence of Block
    shape : (int, int)
        Rows and columns of the object.
    frames : int
        Most frames of a batch.
    machine : Machine
    """
    single = [(block, frame) for block in blocks for frame in range(block.frames)]
    corners = np.concatenate([block.corners for block in blocks])
    groups = list(_halved(np.arange(len(single)), corners, ceil(len(single) / frames)))
    size = blocks[0].amplitudes.shape[-1] + np.max(
        [np.ptp(corners[group], axis=0) for group in groups], axis=0
    )
    batches = []
    for group in groups:
        first = np.minimum(corners[group].min(axis=0), shape - size)
        rows, columns = (slice(int(start), int(end)) for start, end in zip(first, first + size, strict=True))
        parts = np.array_split(group, min(machine.partial_sums, len(group)))
        joined = [_joined([single[number] for number in part], first, machine) for part in parts]
        batches.append(Batch((rows, columns), joined))
    return batches


def _halved(group: NDArray[np.int64], corners: NDArray[np.int64], parts: int) -> Iterator[NDArray[np.int64]]:
    """Yield equal parts of a group of frames, cut across its longer side again and again."""
    if parts == 1:
        yield group
        return
    longer = int(np.argmax(np.ptp(corners[group], axis=0)))
    ordered = group[np.lexsort((corners[group, 1 - longer], corners[group, longer]))]
    cut = round(len(group) * (parts // 2) / parts)
    yield from _halved(ordered[:cut], corners, parts // 2)
    yield from _halved(ordered[cut:], corners, parts - parts // 2)


def _joined(frames: Sequence[tuple[Block, int]], first: NDArray[np.int64], machine: Machine) -> Block:
    """Return one block of single frames of others, in a window that begins at some pixel."""
    xp = machine.xp
    amplitudes = xp.stack([block.amplitudes[j, ...] for block, j in frames])
    modes, side = frames[0][0].exit_waves.shape[1:3]
    unmoved = machine.array(shift_factors(np.zeros((1, 2)), side)[0])
    on_grid = all(block.shifts is None for block, _ in frames)
    shifts = [unmoved if block.shifts is None else block.shifts[j, ...] for block, j in frames]
    counts = xp.where(amplitudes >= 0, amplitudes, xp.zeros_like(amplitudes)) ** 2
    return Block(
        amplitudes=amplitudes,
        noise_power=xp.zeros(len(frames), dtype=xp.float32),
        corners=np.array([block.corners[j] for block, j in frames]) - first,
        shifts=None if on_grid else xp.stack(shifts),
        exit_waves=machine.waves((0, modes, side, side)),
        power=float(xp.sum(counts, dtype=xp.float64)),
    )
