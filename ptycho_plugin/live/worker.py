"""The process that reconstructs one run while it is measured.

``python -m ptycho_plugin.live.worker RUN_FOLDER --tiled URI --data FOLDER`` reads documents from
the spool in the run's folder. A byte on standard input says that there is more, its end that
nothing will follow. The API key is in the variable ``TILED_API_KEY``. Progress and outcome go to
standard output, one JSON object a line.

Where a worker died, the same command run by hand reconstructs the run again: standard input is
not read once the spool holds the stop document.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import sys
from collections.abc import Callable
from contextlib import redirect_stdout, suppress
from pathlib import Path
from typing import Any

from ptycho_plugin.errors import InputError, PtychoError, ReconstructionError
from ptycho_plugin.live.frame_files import FrameFiles
from ptycho_plugin.live.intake import Intake
from ptycho_plugin.live.session import Session
from ptycho_plugin.live.spool import FILE_NAME
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
    with FrameFiles(data) as files:
        intake = Intake(folder, files, CalibrationStore(client), report)

        def start() -> Session:
            return Session(intake.run, client, folder, report)

        session = _follow(intake, start)
        for exposures in intake.take_late():
            session = session or start()
            session.add(exposures)
    if session is None:
        raise ReconstructionError(f"there is no frame to reconstruct. {intake.unread}".strip())
    session.finish(intake.counts)


def _follow(intake: Intake, start: Callable[[], Session]) -> Session | None:
    """Take exposures in and iterate until the run has ended; return the session that has them."""
    session: Session | None = None
    more = True
    while True:
        exposures = intake.take()
        if exposures is not None:
            session = session or start()
            session.add(exposures)
        if intake.run.stop is not None or not more:
            return session
        if session is not None and session.ready:
            session.iterate()
            more = _wait(at_most=0)
        else:
            more = _wait(at_most=None)


def _wait(at_most: float | None) -> bool:
    """Return whether the producer is still there, after a poke or the time."""
    # Not `selectors`, whose epoll refuses a file such as /dev/null.
    readable, _, _ = select.select([sys.stdin], [], [], at_most)
    return not readable or bool(os.read(sys.stdin.fileno(), 65536))


def _check_spool(folder: Path) -> None:
    if not (folder / FILE_NAME).is_file():
        raise InputError(f"{folder} holds no {FILE_NAME}: name the folder of one run in the spool")


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
        _check_spool(arguments.folder)
        with redirect_stdout(sys.stderr):
            reconstruct_run(arguments.folder, arguments.data, connect(arguments.tiled))
    except PtychoError as error:
        report(outcome={"error": str(error)})
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
