"""How long an iteration takes, and how long the way to the best peer's quality."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from statistics import median
from time import perf_counter

import numpy as np

from benchmarks.cases import Case, empty_scan
from benchmarks.floor import Floor
from benchmarks.quality import Scorer
from benchmarks.report import Figure
from ptycho_plugin.dataset import PtychoDataset
from ptycho_plugin.reconstruction.driver import Reconstruction
from ptycho_plugin.reconstruction.options import Device, ReconstructionOptions
from ptycho_plugin.reconstruction.result import Progress
from ptycho_plugin.reconstruction.whole_scan import reconstruct

PEERS_PHASE_ERROR = 0.396
"""Of the best peer after its whole recipe."""
RECIPE = ReconstructionOptions(
    difference_map_iterations=0,
    least_squares_iterations=10,
    maximum_likelihood_iterations=200,
    probe_update_starts=0,
    device="cpu",
)
"""The fastest known way to the peers' quality."""
ENGINES = ("dm", "least_squares", "ml")
"""In the names of figures, as `IterationTimes` orders them."""


class IterationTimes:
    """Takes the time of each iteration, and does something else between two of them.

    Parameters
    ----------
    between : callable
        Is not counted.
    device : "cpu" or "gpu"
    """

    def __init__(self, between: Callable[[], object], device: Device = "cpu") -> None:
        self._between = between
        self._device = device
        self._began = perf_counter()
        self._seconds: dict[str, list[float]] = {}

    def of(self, scan: PtychoDataset, iterations: int) -> list[float]:
        """Return the medians, in seconds, of an iteration of each of `ENGINES`.

        Parameters
        ----------
        scan : PtychoDataset
        iterations : int
            Of each engine.
        """
        self._seconds = {"difference map": [], "least squares": [], "maximum likelihood": []}
        for counts in ((iterations, 0, 0), (0, iterations, iterations)):
            difference_map, least_squares, likelihood = counts
            options = ReconstructionOptions(
                difference_map_iterations=difference_map,
                least_squares_iterations=least_squares,
                maximum_likelihood_iterations=likelihood,
                probe_update_starts=0,
                device=self._device,
            )
            self._began = perf_counter()
            reconstruct(scan, options, self._note)
        return [median(taken) for taken in self._seconds.values()]

    def _note(self, progress: Progress) -> None:
        self._seconds[progress.engine].append(perf_counter() - self._began)
        self._between()
        self._began = perf_counter()


def warm_up(side: int) -> None:
    """Compile the kernels and plan the transforms of frames of some side."""
    IterationTimes(lambda: None).of(empty_scan(12, side), iterations=4)


def iteration_figures(case: Case, iterations: int) -> Iterator[Figure]:
    """Yield each engine's iteration over the floor, on the pixel grid and off it."""
    scan = case.scan
    jitter_px = np.random.default_rng(0).uniform(-0.5, 0.5, scan.positions.shape)
    off_grid = replace(scan, positions=scan.positions + jitter_px * scan.geometry.object_pixel)
    for suffix, timed, slower in (("", scan, 1.0), ("_offgrid", off_grid, 2.0)):
        floor = Floor(len(scan), scan.geometry.frame_side)
        times = IterationTimes(floor.run).of(timed, iterations)
        remark = f"floor {1e3 * floor.seconds:.1f} ms, {iterations} iterations"
        for name, seconds, wanted in zip(ENGINES, times, (1.8, None, 4.0), strict=True):
            yield Figure(
                f"{name}{suffix}_over_floor",
                seconds / floor.seconds,
                f"<= {wanted * slower:g}" if wanted else "",
                f"{1e3 * seconds:.0f} ms; {remark}",
            )


def peer_quality_figure(case: Case, scorer: Scorer, options: ReconstructionOptions = RECIPE) -> Figure:
    """Return the time, over the floor, from the start probe to the peers' phase error.

    Frames and positions are in memory. What is asked for the score is not counted.
    """
    scan, side = case.scan, case.scan.geometry.frame_side
    warm_up(side)
    floor = Floor(len(scan), side)
    seconds, began = 0.0, perf_counter()
    reconstruction = Reconstruction(scan.geometry, scan.probe, scan.positions, options)
    reconstruction.add(scan.intensities(), scan.positions)

    def watch(progress: Progress) -> None:
        nonlocal seconds, began
        seconds += perf_counter() - began
        floor.run()
        result = reconstruction.result()
        error = scorer.scores(result.object, result.positions_px, case)["phase_error"]
        if error <= PEERS_PHASE_ERROR:
            raise _Reached(progress.iteration, error)
        began = perf_counter()

    recipe = f"{options.first_iterations} {options.first_engine} iterations, then maximum likelihood"
    try:
        reconstruction.finish(watch)
    except _Reached as reached:
        remark = f"{seconds:.1f} s, {reached}; {recipe}"
        return Figure("to_peer_quality_over_floor", seconds / floor.seconds, "<= 400", remark)
    remark = f"not within {options.iterations} iterations; {recipe}"
    return Figure("to_peer_quality_over_floor", None, "<= 400", remark)


class _Reached(Exception):
    """Ends a reconstruction that is good enough."""

    def __init__(self, iterations: int, error: float) -> None:
        super().__init__(f"phase error {error:.3f} after {iterations} iterations")
