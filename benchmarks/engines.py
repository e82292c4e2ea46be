"""The command: measures the engines, prints a table, and one JSON object on the last line."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import h5py
import numpy as np
import typer
from numpy.typing import NDArray

from benchmarks.cases import standard_case, standard_like
from benchmarks.gpu import gpu_figures
from benchmarks.memory import peak_figures
from benchmarks.peers import peer_figures
from benchmarks.quality import Scorer, other_figures, position_figures, standard_figures
from benchmarks.report import Figure, as_json, print_table
from benchmarks.scaling import frame_figures, side_figures
from benchmarks.speed import iteration_figures, peer_quality_figure
from ptycho_plugin.io.hdf5_layout import write_dataset

STANDARD, SCORER = Path("data/standard_case.h5"), Path("tools/score.py")
SIDE, QUICK_SIDE = 192, 64


class Part(StrEnum):
    """What can be measured by itself."""

    SPEED = "speed"
    GPU = "gpu"
    PEER_QUALITY = "peer-quality"
    MEMORY = "memory"
    SCALING = "scaling"
    QUALITY = "quality"
    POSITIONS = "positions"
    OTHER_CASES = "other-cases"
    PEERS = "peers"


def measure(
    shared: Annotated[Path, typer.Option(help="Folder of data/standard_case.h5 and tools/score.py.")] = Path(
        "../shared"
    ),
    only: Annotated[list[Part] | None, typer.Option(help="Part to measure; may be repeated.")] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="See that every part runs, on a small scan; no figure means much.")
    ] = False,
    output: Annotated[Path | None, typer.Option(help="File for the last line's JSON object.")] = None,
) -> None:
    """Measure the reconstruction engines against what is possible and against the truth."""
    benchmark = Benchmark(shared, quick=quick)
    figures: list[Figure] = []
    for part in only or list(Part):
        print(f"{part} ...", file=sys.stderr)
        figures += benchmark.part(part)
    print_table(figures)
    for sentence in benchmark.remarks:
        print(sentence)
    line = as_json(figures)
    if output is not None:
        output.write_text(line + "\n")
    print(line)


class Benchmark:
    """The parts, and what they share.

    Parameters
    ----------
    shared : Path
        Where the standard case and the scorer are kept, if they are.
    quick : bool
        Few iterations, small frames.
    """

    def __init__(self, shared: Path, *, quick: bool) -> None:
        self._quick = quick
        self._file = shared / STANDARD
        self.remarks: list[str] = []
        if quick or not self._file.is_file():
            self.remarks.append(f"{self._file} was not used: a simulated scan of its kind stands in for it.")
            self._case = standard_like(QUICK_SIDE if quick else SIDE)
        else:
            self._case = standard_case(self._file)
        scorer = shared / SCORER
        self._scorer = Scorer(scorer) if scorer.is_file() else None
        if self._scorer is None:
            self.remarks.append(f"There is no {scorer}: nothing was scored.")

    def part(self, part: Part) -> Iterator[Figure]:
        """Yield a part's figures."""
        match part:
            case Part.SPEED:
                yield from iteration_figures(self._case, iterations=5 if self._quick else 25)
            case Part.GPU:
                yield from gpu_figures(self._case, iterations=5 if self._quick else 25)
            case Part.SCALING:
                yield from self._scaling()
            case Part.MEMORY:
                yield from self._memory()
            case _ if self._scorer is not None:
                yield from self._scored(part, self._scorer)

    def _scored(self, part: Part, scorer: Scorer) -> Iterator[Figure]:
        match part:
            case Part.PEER_QUALITY:
                yield peer_quality_figure(self._case, scorer)
            case Part.QUALITY:
                yield from standard_figures(
                    self._case, scorer, seeds=2 if self._quick else 5, quick=self._quick
                )
            case Part.POSITIONS:
                yield from position_figures(
                    self._case, scorer, seeds=2 if self._quick else 4, quick=self._quick
                )
            case Part.OTHER_CASES:
                yield from other_figures(
                    self._case, self._gaps(), scorer, seeds=1 if self._quick else 3, quick=self._quick
                )
            case Part.PEERS:
                yield from peer_figures(self._case, scorer, epochs=3 if self._quick else 200)

    def _scaling(self) -> Iterator[Figure]:
        if self._quick:
            yield from frame_figures((25, 81), iterations=3)
            yield from side_figures((32, 64), iterations=3)
        else:
            yield from frame_figures((81, 324, 1296, 5000), iterations=8)
            yield from side_figures((64, 96, 128, 192, 256, 384), iterations=8)

    def _memory(self) -> Iterator[Figure]:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "case.h5"
            write_dataset(file, self._case.scan)
            yield from peak_figures(file, self._case.scan.geometry.frame_side)

    def _gaps(self) -> NDArray[np.bool_]:
        """Return the standard case's second mask, or no gap."""
        side = self._case.scan.geometry.frame_side
        if not self._file.is_file():
            return np.ones((side, side), bool)
        with h5py.File(self._file) as file:
            gaps = file["module_gap_mask"][()].astype(bool)
        edge = (len(gaps) - side) // 2
        return gaps[edge : edge + side, edge : edge + side]


def main() -> None:
    """Run the command."""
    typer.run(measure)


if __name__ == "__main__":
    main()
