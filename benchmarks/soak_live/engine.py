"""The RunEngine's process of the soak: ``python -m benchmarks.soak_live.engine FOLDER``.

A line of standard input is a scan; the first one is the address of the Tiled tree with its key. It says with
one line of JSON when it is ready, and what is on the disk: the run, each event, the end of the scan.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from bluesky import RunEngine

from benchmarks.soak_live.scan import EXPOSURE_S, RECIPE, TRAJECTORY, soak_beamline
from ptycho_plugin.callbacks import LiveReconstruction
from ptycho_plugin.plans import ptycho_scan


class Said:
    """Tells what is on the disk: the run, each exposure, the end. It is subscribed after the spool."""

    def __init__(self) -> None:
        self._primary = ""

    def __call__(self, name: str, document: dict[str, Any]) -> None:
        """Tell of one document."""
        match name:
            case "start":
                tell({"said": "start", "run": document["uid"]})
            case "descriptor" if document["name"] == "primary":
                self._primary = document["uid"]
            case "event" if document["descriptor"] == self._primary:
                tell({"said": "event"})
            case "stop":
                tell({"said": "stop"})


def tell(message: dict[str, Any]) -> None:
    """Write one line for the harness."""
    os.write(1, json.dumps(message).encode() + b"\n")


def main() -> None:
    """Scan as often as asked."""
    folder = Path(sys.argv[1])
    tiled = sys.stdin.readline().strip()
    with redirect_stdout(sys.stderr), LiveReconstruction(tiled, folder / "spool", folder / "frames") as live:
        engine, beamline = RunEngine({}), soak_beamline(folder / "frames")
        engine.subscribe(live)
        engine.subscribe(Said())
        tell({"said": "ready"})
        for _ in sys.stdin:
            engine(ptycho_scan(beamline, trajectory=TRAJECTORY, exposure_s=EXPOSURE_S, options=RECIPE))


if __name__ == "__main__":
    main()
