"""The process that reconstructs one run while it is measured.

``python -m ptycho_plugin.live.worker RUN_FOLDER --tiled URI --data FOLDER`` reads documents from
the spool in the run's folder. A byte on standard input says that there is more, its end that
nothing will follow. The API key is in the variable ``TILED_API_KEY``. Progress and outcome go to
standard output, one JSON object a line.
"""

from __future__ import annotations

import argparse
import json
import os
import selectors
import sys
from contextlib import redirect_stdout, suppress
from pathlib import Path
from typing import Any

from ptycho_plugin.errors import PtychoError, ReconstructionError
from ptycho_plugin.live.frame_files import FrameFiles
from ptycho_plugin.live.intake import Intake
from ptycho_plugin.live.session import Session
from ptycho_plugin.publishing.calibrations import CalibrationStore
from ptycho_plugin.publishing.connection import connect

OWNER = 1
"""Standard output: what libraries print goes to the log instead."""

NICENESS = 5
"""Where cores are few, the RunEngine comes first."""


def reconstruct_run(folder: Path, data: Path, client: Any) -> None:
    """Follow a run to its end, iterating while it grows, and publish the result.

    Parameters
    ----------
    folder : path
        The run's, with its spool.
    data : path
        The folder whose frame files may be read.
    client : tiled client
        Of the tree's root.

    Raises
    ------
    PtychoError
        If there is nothing to reconstruct, or something cannot be used or published.
    """
    session: Session | None = None
    with FrameFiles(data) as files, selectors.DefaultSelector() as wakeups:
        wakeups.register(sys.stdin, selectors.EVENT_READ)
        intake = Intake(folder, files, CalibrationStore(client))
        more = True
        while more:
            ready = session is not None and session.ready
            more = _wait(wakeups, at_most=0 if ready else None)
            exposures = intake.take()
            if exposures is not None:
                session = session or Session(intake.run, client, folder, report)
                session.add(exposures)
            more = more and intake.run.stop is None
            if more and session is not None and session.ready:
                session.iterate()
    if session is None:
        raise ReconstructionError(f"there is no frame to reconstruct. {intake.unread}".strip())
    session.finish(intake.counts)


def _wait(wakeups: selectors.BaseSelector, at_most: float | None) -> bool:
    """Return whether the producer is still there, after a poke or the time."""
    return not wakeups.select(at_most) or bool(os.read(sys.stdin.fileno(), 65536))


def report(**message: Any) -> None:
    """Write one line for the owner, if there still is one."""
    with suppress(BrokenPipeError):
        os.write(OWNER, json.dumps(message).encode() + b"\n")


def main() -> int:
    """Run the worker; return its exit status."""
    parser = argparse.ArgumentParser(description="Reconstruct one run while it is measured.")
    parser.add_argument("folder", type=Path, help="the run's folder, with its spool")
    parser.add_argument("--tiled", required=True, help="address of the Tiled tree")
    parser.add_argument("--data", required=True, type=Path, help="folder of the frames' files")
    arguments = parser.parse_args()
    os.nice(NICENESS)
    try:
        with redirect_stdout(sys.stderr):
            reconstruct_run(arguments.folder, arguments.data, connect(arguments.tiled))
    except PtychoError as error:
        report(outcome={"error": str(error)})
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
