"""How fast a graphics processor is, and how near it stays to the processor, where there is one."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from benchmarks.cases import Case
from benchmarks.report import Figure
from benchmarks.speed import IterationTimes
from ptycho_plugin.reconstruction.device import find_gpu
from ptycho_plugin.reconstruction.driver import reconstruct
from ptycho_plugin.reconstruction.options import ReconstructionOptions

ITERATIONS_TO_COMPARE = 5
"""Of each engine: rounding grows with every further one."""


def gpu_figures(case: Case, iterations: int) -> Iterator[Figure]:
    """Yield iterations a second of each engine, and how far the object is from the processor's.

    Parameters
    ----------
    case : Case
    iterations : int
        Of each engine, for the time.
    """
    found, why = find_gpu()
    if found is None:
        for name in ("gpu_iterations_per_s_dm", "gpu_iterations_per_s_ml", "gpu_relative_difference"):
            yield Figure(name, None, remark=why)
        return
    difference_map, likelihood = IterationTimes(lambda: None, device="gpu").of(case.scan, iterations)
    for name, seconds in (("dm", difference_map), ("ml", likelihood)):
        yield Figure(f"gpu_iterations_per_s_{name}", 1 / seconds, remark=f"{found}; {iterations} iterations")
    remark = f"of the object, after {ITERATIONS_TO_COMPARE} iterations of either engine"
    yield Figure("gpu_relative_difference", _difference(case), "<= 1e-4", remark)


def _difference(case: Case) -> float:
    options = ReconstructionOptions(
        difference_map_iterations=ITERATIONS_TO_COMPARE, maximum_likelihood_iterations=ITERATIONS_TO_COMPARE
    )
    found, expected = (
        reconstruct(case.scan, options.model_copy(update={"device": device})) for device in ("gpu", "cpu")
    )
    wanted = expected.object[expected.trusted]
    return float(np.linalg.norm(found.object[expected.trusted] - wanted) / np.linalg.norm(wanted))
