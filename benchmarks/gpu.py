"""How fast a graphics processor is, and how near it stays to the processor, where there is one."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from benchmarks.cases import Case
from benchmarks.report import Figure
from benchmarks.speed import ENGINES, IterationTimes
from ptycho_plugin.reconstruction.device import find_gpu
from ptycho_plugin.reconstruction.options import Device, ReconstructionOptions
from ptycho_plugin.reconstruction.result import Result
from ptycho_plugin.reconstruction.whole_scan import reconstruct

SPEEDS = tuple(f"gpu_iterations_per_s_{engine}" for engine in ENGINES)
DIFFERENCES = ("gpu_difference_dm", "gpu_difference_ml")
SINGLE_PRECISION = "<= 1e-4"
LIKELIHOOD_ITERATIONS = 5
"""To compare. One of the difference map: further ones enlarge rounding where the model is dark."""


def gpu_figures(case: Case, iterations: int) -> Iterator[Figure]:
    """Yield iterations a second of each engine, and how far each is from the processor's.

    Parameters
    ----------
    case : Case
    iterations : int
        Of each engine, for the time.
    """
    gpu, why = find_gpu()
    if gpu is None:
        yield from (Figure(name, None, remark=why) for name in (*SPEEDS, *DIFFERENCES))
        return
    seconds = IterationTimes(lambda: None, device="gpu").of(case.scan, iterations)
    for name, taken in zip(SPEEDS, seconds, strict=True):
        yield Figure(name, 1 / taken, remark=f"{gpu}; {iterations} iterations")
    of_map, of_likelihood = DIFFERENCES
    yield Figure(of_map, _map_difference(case), SINGLE_PRECISION, "error of the first iteration")
    remark = f"object after {LIKELIHOOD_ITERATIONS} iterations"
    yield Figure(of_likelihood, _likelihood_difference(case), SINGLE_PRECISION, remark)


def _map_difference(case: Case) -> float:
    found, expected = (_result(case, device, difference_map=1).errors[0] for device in ("gpu", "cpu"))
    return float(abs(found / expected - 1))


def _likelihood_difference(case: Case) -> float:
    found, expected = (_result(case, device, likelihood=LIKELIHOOD_ITERATIONS) for device in ("gpu", "cpu"))
    wanted = expected.object[expected.trusted]
    return float(np.linalg.norm(found.object[expected.trusted] - wanted) / np.linalg.norm(wanted))


def _result(case: Case, device: Device, *, difference_map: int = 0, likelihood: int = 0) -> Result:
    options = ReconstructionOptions(
        difference_map_iterations=difference_map, maximum_likelihood_iterations=likelihood, device=device
    )
    return reconstruct(case.scan, options)
