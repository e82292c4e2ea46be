"""How much memory a reconstruction takes besides what imports and compilation took."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from benchmarks.report import Figure
from benchmarks.speed import warm_up
from ptycho_plugin.io.reader import read_dataset
from ptycho_plugin.reconstruction.options import ReconstructionOptions
from ptycho_plugin.reconstruction.whole_scan import reconstruct

RECIPES = {
    "peak_over_exit_waves": {"difference_map_iterations": 4},
    "least_squares_peak_over_exit_waves": {"difference_map_iterations": 0, "least_squares_iterations": 4},
    "positions_peak_over_exit_waves": {"difference_map_iterations": 4, "position_tolerance": 100e-9},
}
MIB = 2**20


def peak_figures(path: Path, side: int) -> Iterator[Figure]:
    """Yield the growth of fresh processes, from reading a file on, over its exit waves' size.

    Parameters
    ----------
    path : Path
        Of a scan.
    side : int
        Of its frames, for which compilation and planning are done before.
    """
    for name, recipe in RECIPES.items():
        options = ReconstructionOptions(**recipe, maximum_likelihood_iterations=25, device="cpu")
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
            growth, base, exit_waves = process.submit(_growth, path, side, options).result()
        remark = (
            f"{growth / MIB:.0f} MiB above {base / MIB:.0f} MiB, exit waves {exit_waves / MIB:.0f} MiB; "
            "reading the file included"
        )
        yield Figure(name, growth / exit_waves, "<= 3", remark)


def _growth(path: Path, side: int, options: ReconstructionOptions) -> tuple[int, int, int]:
    """Return bytes: growth of the peak, resident memory before, exit waves."""
    warm_up(side)
    with suppress(OSError):  # where it is refused, the peak of imports is far below that of the scan
        Path("/proc/self/clear_refs").write_text("5")
    base = _resident("VmRSS")
    scan = read_dataset(path)
    reconstruct(scan, options)
    return _resident("VmHWM") - base, base, scan.frames.size * np.dtype(np.complex64).itemsize


def _resident(name: str) -> int:
    """Return a line of this process's status in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    kilobytes = dict(line.split(":", 1) for line in lines)[name].split()[0]
    return 1024 * int(kilobytes)
