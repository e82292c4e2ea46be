"""Scans in a row over Channel Access, and what they leave behind: ``python -m benchmarks.soak_epics``.

The simulated beamline runs in a process of its own. Threads, file handles and memory of both processes are
looked at after each scan; the last line is one JSON object, and the exit status is 0 if nothing is left.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import threading
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from time import monotonic
from typing import Annotated, Any

import numpy as np
import psutil
import typer

from ptycho_plugin.ioc import IocProcess
from ptycho_plugin.trajectory import ConcentricRings

SIXTEEN_POINTS = ConcentricRings(height_um=0.8, width_um=0.8)
WARM_UP = 0.3
"""Part of the scans after which caches are full, and growth is a leak."""
MB = 1e6
ALLOWED_MB = 0.1
"""A scan, by which memory may grow: allocators keep some."""


@dataclass(frozen=True, slots=True)
class Left:
    """What two processes hold after a scan: ours, and the beamline's."""

    threads: int
    handles: int
    megabytes: float
    ioc_threads: int
    ioc_handles: int
    ioc_megabytes: float


def look(ioc: psutil.Process) -> Left:
    """Return what both processes hold."""
    gc.collect()
    ours = psutil.Process()
    return Left(
        threading.active_count(),
        ours.num_fds(),
        ours.memory_info().rss / MB,
        ioc.num_threads(),
        ioc.num_fds(),
        ioc.memory_info().rss / MB,
    )


def main(
    scans: Annotated[int, typer.Option(min=4)] = 100,
    exposure_s: Annotated[float, typer.Option(help="Of one frame, in seconds.")] = 0.02,
) -> None:
    """Scan sixteen points again and again with one beamline object."""
    began = monotonic()
    with IocProcess() as ioc:
        os.environ.update(ioc.environment)
        left, frames = soak(ioc, scans, exposure_s)
    figures = {"scans": scans, "frames": frames, **growth(left), "seconds": round(monotonic() - began)}
    print(json.dumps(figures))
    sys.exit(0 if is_clean(figures) and frames == scans * len(SIXTEEN_POINTS.offsets_um()) else 1)


def soak(ioc: IocProcess, scans: int, exposure_s: float) -> tuple[list[Left], int]:
    """Return what was held after each scan, and how many frames all of them took."""
    from bluesky import RunEngine

    from ptycho_plugin.devices.epics import epics_beamline
    from ptycho_plugin.plans import ptycho_scan

    beamline = epics_beamline(ioc.beamline_file, ioc.directory)
    RE = RunEngine({})  # noqa: N806  everybody's name for it
    stops: list[dict[str, Any]] = []
    RE.subscribe(lambda _, document: stops.append(dict(document)), "stop")
    process, left = psutil.Process(ioc.pid), []
    for number in range(scans):
        with redirect_stdout(StringIO()):  # the preflight's table
            RE(ptycho_scan(beamline, trajectory=SIXTEEN_POINTS, exposure_s=exposure_s))
        left.append(look(process))
        print(f"scan {number + 1}: {left[-1]}", file=sys.stderr)
    return left, sum(stop["num_events"]["primary"] for stop in stops)


def growth(left: list[Left]) -> dict[str, float]:
    """Return what there is more of at the end than after the warm-up; memory by the scan, as a slope."""
    settled = left[int(WARM_UP * len(left)) :]
    numbers = np.arange(len(settled))

    def more(name: str) -> int:
        return int(getattr(settled[-1], name) - getattr(settled[0], name))

    def slope(name: str) -> float:
        return round(float(np.polyfit(numbers, [getattr(one, name) for one in settled], 1)[0]), 3)

    counted = ("threads", "handles", "ioc_threads", "ioc_handles")
    return {name: more(name) for name in counted} | {
        f"{name}_a_scan": slope(name) for name in ("megabytes", "ioc_megabytes")
    }


def is_clean(figures: dict[str, float]) -> bool:
    """Return whether nothing was left behind."""
    counted = all(figures[name] <= 0 for name in ("threads", "handles", "ioc_threads", "ioc_handles"))
    grown = max(figures["megabytes_a_scan"], figures["ioc_megabytes_a_scan"])
    return counted and grown <= ALLOWED_MB


if __name__ == "__main__":
    typer.run(main)
