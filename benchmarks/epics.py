"""Dead time between points of a step scan and of a hardware-timed one, over Channel Access.

The simulated beamline runs in a process of its own. The last line is one JSON object.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from io import StringIO
from time import monotonic
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from ptycho_plugin.ioc import IocProcess
from ptycho_plugin.trajectory import ConcentricRings

WANTED = 3.0
"""Times by which the dead time is to be less."""


class Run:
    """When each event of one run was, and how long it took."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self._streams: dict[str, str] = {}

    def __call__(self, name: str, document: dict[str, Any]) -> None:
        """Take in one document."""
        if name == "descriptor":
            self._streams[document["uid"]] = document["name"]
        if name == "event" and self._streams[document["descriptor"]] == "primary":
            self.times.append(document["time"])


def main(
    exposure_s: Annotated[float, typer.Option(help="Of one frame, in seconds.")] = 0.05,
    field_um: Annotated[float, typer.Option(help="Side of the scanned field.")] = 2.0,
) -> None:
    """Scan the same field step by step and in one go, and compare."""
    with IocProcess() as ioc:
        os.environ.update(ioc.environment)
        figures = compare(ioc, exposure_s, ConcentricRings(height_um=field_um, width_um=field_um))
    print(json.dumps(figures))


def compare(ioc: IocProcess, exposure_s: float, trajectory: ConcentricRings) -> dict[str, Any]:
    """Return dead times and totals of both scans.

    Parameters
    ----------
    ioc : IocProcess
        Whose environment is in force.
    exposure_s : float
    trajectory : ConcentricRings
    """
    # Channel Access reads its environment when ophyd is imported.
    import epics
    from bluesky import RunEngine

    from ptycho_plugin.devices.epics import epics_beamline
    from ptycho_plugin.devices.gated_frames import scanner_of
    from ptycho_plugin.plans import ptycho_fly_scan, ptycho_scan

    beamline, engine = epics_beamline(ioc.beamline_file, ioc.directory), RunEngine()
    received = epics.get_pv(f"{ioc.settings.prefix}TWIN:PHOTONS", connect=True, timeout=10)

    def scanned(plan: Callable[..., Any]) -> tuple[Run, float, float]:
        run, began, before = Run(), monotonic(), received.get(use_monitor=False)
        with redirect_stdout(StringIO()):
            engine(plan(beamline, trajectory=trajectory, exposure_s=exposure_s), run)
        return run, monotonic() - began, received.get(use_monitor=False) - before

    step, step_s, step_photons = scanned(ptycho_scan)
    _, fly_s, fly_photons = scanned(ptycho_fly_scan)
    gates_s = scanner_of(beamline).captured.gates_s
    points = len(step.times)
    of_step = dead_s(np.array(step.times), exposure_s)
    of_fly = dead_s(gates_s[:, 1], exposure_s)
    exposed = points * exposure_s * beamline.photons_per_second
    return {
        "points": points,
        "exposure_ms": 1e3 * exposure_s,
        "step_dead_ms": round(1e3 * of_step, 2),
        "fly_dead_ms": round(1e3 * of_fly, 2),
        "times_less": round(of_step / of_fly, 2),
        "wanted": WANTED,
        "step_run_s": round(step_s, 2),
        "fly_run_s": round(fly_s, 2),
        "step_photons_over_exposed": round(step_photons / exposed, 3),
        "fly_photons_over_exposed": round(fly_photons / exposed, 3),
    }


def dead_s(ends_s: NDArray[np.float64], exposure_s: float) -> float:
    """Return what a point takes from the end of the one before, besides its exposure."""
    return float((ends_s[-1] - ends_s[0]) / (len(ends_s) - 1) - exposure_s)


if __name__ == "__main__":
    sys.exit(typer.run(main))
