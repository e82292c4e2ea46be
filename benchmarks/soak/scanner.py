"""The process that scans, and that is killed: one call of a guarded scan for each line that it is sent.

``python -m benchmarks.soak.scanner PORT LEDGER FOLDER`` reads JSON objects from standard input and
answers each with another. Documents and frames go into the folder. Each life is a fork of a process
that has imported everything; when one is killed, the next begins.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from contextlib import redirect_stdout, suppress
from pathlib import Path
from typing import Any

import numpy as np
import xraydb  # noqa: F401  before the first fork, for it takes long
from bluesky import RunEngine
from bluesky.utils import RunEngineInterrupted
from ophyd import Signal

from benchmarks.soak.interruptions import Interruptions
from benchmarks.soak.options import EXPOSURE_S, SAMPLE
from benchmarks.soak.world import soak_beamline
from ptycho_plugin.ledger import Ledger
from ptycho_plugin.plans import DoseGuard, ptycho_scan, ring_current_suspender
from ptycho_plugin.trajectory import ConcentricRings


class Documents:
    """Writes each run's documents to a file of its own, where a killed process leaves them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder
        self.began = 0.0
        """When the last run did."""

    def __call__(self, name: str, document: dict[str, Any]) -> None:
        """Write one."""
        if name == "start":
            self._path, self.began = self._folder / f"{document['uid']}.jsonl", document["time"]
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps([name, document], default=_plain) + "\n")


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else str(value)


class Scanner:
    """A session at the beamline.

    Parameters
    ----------
    port : int
        Of the beam.
    ledger : Path
    folder : Path
    """

    def __init__(self, port: int, ledger: Path, folder: Path) -> None:
        self._ledger = Ledger(ledger)
        self._beamline = soak_beamline(port, folder)
        self._engine = RunEngine({})
        self._documents = Documents(folder)
        self._engine.subscribe(self._documents)
        ring = Signal(name="ring", value=1.0)
        self._engine.install_suspender(ring_current_suspender(ring, 0.5, settle_s=0.0))
        self._interruptions = Interruptions(self._engine, self._beamline, ring)

    def scan(
        self,
        area: str,
        name: str,
        repeat: int,
        trajectory: dict[str, Any],
        again: bool,
        kind: str,
        moments_s: list[float],
        exposure: int,
    ) -> dict[str, Any]:
        """Scan a region, and return how the call ended."""
        region = self._ledger.samples.region(SAMPLE, area, name)
        for axis, value in zip("yx", self._ledger.samples.stage_position(region), strict=True):
            getattr(self._beamline.coarse, axis).set(value).wait(timeout=10)
        guard = DoseGuard(self._beamline, self._ledger, region, repeat=repeat)
        plan = ptycho_scan(
            self._beamline,
            trajectory=ConcentricRings(**trajectory),
            exposure_s=EXPOSURE_S,
            guard=guard,
            again=again,
        )
        with self._interruptions.planned(kind, moments_s, exposure):
            try:
                with suppress(RunEngineInterrupted):
                    self._engine(plan)
                self._interruptions.answer_pauses()
            except Exception as error:  # noqa: BLE001  whatever it is, the harness judges it
                said = f"{type(error).__name__}: {error}"
                return {"error": said, "run_s": None, "interruptions": self._interruptions.made}
        run_s = time.time() - self._documents.began
        return {"error": None, "run_s": run_s, "interruptions": self._interruptions.made}


def serve(port: int, ledger: Path, folder: Path) -> None:
    """Answer calls until nobody asks."""
    answers = os.fdopen(os.dup(1), "w")
    with (folder / "log.txt").open("a") as log, redirect_stdout(log):
        scanner = Scanner(port, ledger, folder)
        print(json.dumps({"ready": os.getpid()}), file=answers, flush=True)
        # Unbuffered: what is not read yet is for the next life.
        with open(0, "rb", buffering=0, closefd=False) as questions:
            for line in questions:
                print(json.dumps(scanner.scan(**json.loads(line))), file=answers, flush=True)


def main() -> None:
    """Be a process that scans, in one life after the other."""
    while True:
        life = os.fork()
        if not life:
            serve(int(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]))
            os._exit(0)
        _, status = os.waitpid(life, 0)
        if status != signal.SIGKILL:
            sys.exit(os.waitstatus_to_exitcode(status))
        print(json.dumps({"killed": life}), flush=True)


if __name__ == "__main__":
    main()
