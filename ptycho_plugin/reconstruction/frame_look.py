"""What each frame says of an estimate: one pass over all frames, as dear as an iteration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from ptycho_plugin.reconstruction.blocks import Block, frames_of
from ptycho_plugin.reconstruction.estimate import Estimate
from ptycho_plugin.reconstruction.forward import ForwardModel

LARGEST_TABLED = 36.0
"""Counts: for more, (sqrt(n) - sqrt(I))^2 is 1/4 to 1 %."""
STEPS = 100
"""Of the table, for each unit of sqrt(I)."""
TERMS = 120
"""Of the sum over counts."""


@dataclass(frozen=True, slots=True)
class FrameLook:
    """Sums over the measured pixels of each frame, ``(frame,)`` where nothing else is said, float64.

    Parameters
    ----------
    counts : ndarray
    misfit : ndarray
        (sqrt(n) - sqrt(I))^2 of the estimate.
    noise : ndarray
        Expected of it, were n Poisson counts of mean I: see `expected_misfit`.
    scatter, scatter_noise : ndarray
        The same of the mean frame in place of the estimate.
    deflection : ndarray, (frame, 2)
        Centroid ``(row, column)`` of the counts from the beam, in detector pixels; 0 where there are none.
    deflection_variance : ndarray, (frame, 2)
        What Poisson noise gives it.
    brightest : ndarray
        Counts of the brightest pixel.
    as_bright : ndarray
        Pixels that count as much.
    """

    counts: NDArray[np.float64]
    misfit: NDArray[np.float64]
    noise: NDArray[np.float64]
    scatter: NDArray[np.float64]
    scatter_noise: NDArray[np.float64]
    deflection: NDArray[np.float64]
    deflection_variance: NDArray[np.float64]
    brightest: NDArray[np.float64]
    as_bright: NDArray[np.float64]


def look_at_frames(
    blocks: Sequence[Block],
    estimate: Estimate,
    forward: ForwardModel,
    mean: NDArray[np.float32],
    background: float,
) -> FrameLook:
    """Compare all frames with an estimate, and with their mean.

    Parameters
    ----------
    blocks : sequence of Block
        All frames.
    estimate : Estimate
    forward : ForwardModel
    mean : ndarray, (row, column), float32
        Counts of the mean frame, in the frames' order.
    background : float
        Counts that every pixel has besides.
    """
    machine, side = forward.machine, mean.shape[-1]
    far_probe, ranges = forward.probe_far(estimate), frames_of(blocks)
    mean_amplitude = np.sqrt(forward.detector.frame_order(mean))
    mean_noise = expected_misfit(mean_amplitude)
    coordinate = forward.detector.frame_order(np.broadcast_to(np.arange(side) - side // 2, (side, side)))[0]
    frames = ranges[-1].stop
    sums = {name: np.zeros(frames) for name in FrameLook.__slots__ if not name.startswith("deflection")}
    deflection, variance = np.zeros((2, frames, 2))

    def look(_: int, share: Sequence[tuple[Block, slice]]) -> None:
        for block, part in share:
            probes = forward.probes(block, estimate, far_probe)
            far = machine.host(forward.far_fields(block, probes, estimate.object, "far fields"))
            model = np.sqrt(_intensity(far) / np.float32(side * side) + np.float32(background))
            amplitudes = machine.host(block.amplitudes)
            measured = (amplitudes >= 0).astype(np.float32)
            misfit, scatter = ((of - amplitudes) * measured for of in (model, mean_amplitude))
            counts = amplitudes * amplitudes * measured
            brightest = counts.max(axis=(1, 2))
            along = np.stack([counts.sum(axis=2), counts.sum(axis=1)], axis=1, dtype=np.float64)
            total = along[:, 0].sum(axis=-1)
            sums["counts"][part] = total
            sums["misfit"][part] = _summed(misfit, misfit)
            sums["noise"][part] = _summed(expected_misfit(model), measured)
            sums["scatter"][part] = _summed(scatter, scatter)
            sums["scatter_noise"][part] = np.tensordot(measured, mean_noise)
            sums["brightest"][part] = brightest
            sums["as_bright"][part] = np.count_nonzero(counts == brightest[:, None, None], axis=(1, 2))
            light = np.maximum(total, 1)[:, None]
            deflection[part] = along @ coordinate / light
            variance[part] = along @ coordinate**2 / light**2

    machine.for_each_share(look, list(zip(blocks, ranges, strict=True)))
    return FrameLook(**sums, deflection=deflection, deflection_variance=variance)


def expected_misfit(amplitude: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the expectation of (sqrt(n) - sqrt(I))^2 for Poisson counts n of mean I.

    It is about 2 I for few counts, 0.46 at most, near I = 1, and tends to 1/4; `blocks.expected_noise` takes
    less, for the difference map's sake.

    Parameters
    ----------
    amplitude : ndarray, float32
        sqrt(I).
    """
    table = _table()
    return table[np.minimum(amplitude * STEPS + np.float32(0.5), len(table) - 1).astype(np.int32)]


@cache
def _table() -> NDArray[np.float32]:
    """Return `expected_misfit` of amplitudes 0, 1 / STEPS, ..., and 1/4 at the end."""
    from scipy.stats import poisson

    mean = (np.arange(STEPS * LARGEST_TABLED**0.5) / STEPS)[:, None] ** 2
    counts = np.arange(TERMS)
    misfit = np.sum(poisson.pmf(counts, mean) * (np.sqrt(counts) - np.sqrt(mean)) ** 2, axis=1)
    return np.append(misfit, 0.25).astype(np.float32)


def _intensity(far: NDArray[np.complex64]) -> NDArray[np.float32]:
    """Return the intensity ``(frame, row, column)`` of waves ``(frame, mode, row, column)``."""
    intensity: NDArray[np.float32] = np.sum(far.real**2 + far.imag**2, axis=1)
    return intensity


def _summed(values: NDArray[np.float32], weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the sums over the pixels of each frame, as `compare` takes them: in float32 along columns."""
    return np.einsum("frc,frc->fc", values, weights).sum(axis=1)
