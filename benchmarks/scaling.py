"""How the cost of an iteration grows with the number of frames and with their side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import log2

import numpy as np

from benchmarks.cases import empty_scan
from benchmarks.report import Figure
from benchmarks.speed import ENGINES, IterationTimes

SIDE = 96
"""Of frames where their number changes: 5,000 of them have exit waves of 369 MB."""
FRAMES = 96
"""Where their side changes."""


def frame_figures(numbers: Sequence[int], iterations: int) -> Iterator[Figure]:
    """Yield microseconds a frame for some numbers of frames, and the exponent of their power law."""
    times = np.array([_iteration_times(frames, SIDE, iterations) for frames in numbers])
    for engine, seconds in zip(ENGINES, times.T, strict=True):
        for frames, taken in zip(numbers, seconds, strict=True):
            yield Figure(
                f"{engine}_{frames}_frames_us_per_frame", 1e6 * taken / frames, remark=f"side {SIDE}"
            )
        yield Figure(f"{engine}_exponent_frames", _exponent(numbers, seconds), "1", "time ~ frames^exponent")


def side_figures(sides: Sequence[int], iterations: int) -> Iterator[Figure]:
    """Yield nanoseconds a frame over N^2 log2 N for some sides N, and the exponent of their power law."""
    work = [side**2 * log2(side) for side in sides]
    times = np.array([_iteration_times(FRAMES, side, iterations) for side in sides]) / FRAMES
    for engine, seconds in zip(ENGINES, times.T, strict=True):
        for side, operations, taken in zip(sides, work, seconds, strict=True):
            yield Figure(
                f"{engine}_side_{side}_ns_per_n2_log2_n", 1e9 * taken / operations, remark=f"{FRAMES} frames"
            )
        remark = "time ~ (N^2 log2 N)^exponent"
        yield Figure(f"{engine}_exponent_side", _exponent(work, seconds), "1", remark)


def _iteration_times(frames: int, side: int, iterations: int) -> list[float]:
    return IterationTimes(between=lambda: None).of(empty_scan(frames, side), iterations)


def _exponent(sizes: Sequence[float], seconds: Sequence[float]) -> float:
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])
