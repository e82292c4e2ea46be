"""The command: a region's five repeats, from raw maps to its report."""

from __future__ import annotations

import json
import resource
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from benchmarks.report import Figure, print_table
from ptycho_plugin.materials import CDS, PMMA
from ptycho_plugin.postprocess.account import arrays_of, facts_of
from ptycho_plugin.postprocess.pipeline import PostprocessingOptions, RegionMaps, postprocess
from ptycho_plugin.postprocess.registration import MARGIN_PX, inner, shifted
from ptycho_plugin.reproduction.options import Conditions
from ptycho_plugin.simulation.octapods import OctapodFilm
from ptycho_plugin.view.report import RegionSection, write_report

GEOMETRY = Conditions().geometry
SIGMA_RAD = 0.0125
"""Noise of one map, as of 1e6 photons a point."""
NOISE_PX = 0.6
DRIFT_PX = 1.5
BYTES_PER_MB = 1e6


def main(
    side: Annotated[int, typer.Option(help="Of a map, in pixels.")] = 600,
    repeats: Annotated[int, typer.Option(help="Of the region.")] = 5,
) -> None:
    """Post-process simulated maps of a film and write their report; peak memory is the whole process's."""
    maps = simulated(side, repeats)
    with TemporaryDirectory() as folder:
        began = perf_counter()
        result = postprocess(maps, PostprocessingOptions(material=CDS, matrix=PMMA))
        processed = perf_counter()
        facts = facts_of(result) | {"repeats": list(range(1, repeats + 1))}
        section = RegionSection(name="film", arrays=arrays_of(result), facts=facts)
        write_report([section], "Film", Path(folder) / "report.html")
        ended = perf_counter()
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    figures = [
        Figure("postprocess_s", processed - began),
        Figure("report_s", ended - processed),
        Figure("total_s", ended - began, "< 20"),
        Figure(
            "peak_mb",
            1024 * kilobytes / BYTES_PER_MB,
            remark=f"maps: {maps.transmissions.nbytes / BYTES_PER_MB:.0f}",
        ),
    ]
    print_table(figures)
    print(json.dumps({figure.name: float(figure.printed) for figure in figures}))


def simulated(side: int, repeats: int) -> RegionMaps:
    """Return maps of the standard film, which drifts between them."""
    rng = np.random.default_rng(0)
    whole = (side + 2 * MARGIN_PX,) * 2
    film = OctapodFilm(seed=0).transmission(whole, GEOMETRY.object_pixel, GEOMETRY.energy_eV)
    return RegionMaps(
        transmissions=np.stack([_seen(film, rng) for _ in range(repeats)]),
        photons=np.ones(repeats),
        sources=tuple(f"run {number}" for number in range(repeats)),
        pixel=GEOMETRY.object_pixel,
        energy_eV=GEOMETRY.energy_eV,
    )


def _seen(film: NDArray[np.complex64], rng: np.random.Generator) -> NDArray[np.complex64]:
    """Return one repeat's map of the film."""
    moved = inner(shifted(film, rng.normal(scale=DRIFT_PX, size=2)))
    noise = gaussian_filter(rng.normal(size=moved.shape), NOISE_PX)
    return (moved * np.exp(1j * noise * (SIGMA_RAD / noise.std()))).astype(np.complex64)


if __name__ == "__main__":
    typer.run(main)
