"""The process that reconstructs one run while it is measured.

``python -m ptycho_plugin.live.worker RUN_FOLDER --tiled URI --data FOLDER`` reads documents from
the spool in the run's folder. The API key is in the variable ``TILED_API_KEY``. Progress and outcome go to
standard output, one JSON object a line.

With ``--owned`` the run's folder is the first line of standard input; a byte there says later that there is
more, and its end that the owner has ended: then the worker does as well, since another one begins where the
spool does. Without, the command reconstructs a run again that is closed.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import sys
from collections.abc import Callable
from contextlib import redirect_stdout, suppress
from pathlib import Path
from threading import Event, Thread
from typing import Any

from ptycho_plugin.errors import InputError, PtychoError, ReconstructionError, TiledUnreachableError
from ptycho_plugin.live.frame_files import FrameFiles
from ptycho_plugin.live.intake import Intake
from ptycho_plugin.live.session import Session
from ptycho_plugin.live.spool import FILE_NAME
from ptycho_plugin.live.worker_process import LOG_NAME, TRY_AGAIN
from ptycho_plugin.publishing.calibrations import CalibrationStore
from ptycho_plugin.publishing.connection import connect

OWNER = 1
"""Standard output: what libraries print goes to the log instead."""

LOCK_NAME = "worker.lock"

NICENESS = 5
"""Where cores are few, the RunEngine comes first."""


def reconstruct_run(
    folder: Path, data: Path, client: Any, more: Callable[[], None], results: Path | None
) -> None:
    """Follow a run to its end, iterating while it grows, and publish the result.

    Parameters
    ----------
    folder : path
        The run's, with its spool.
    data : path
        The folder whose frame files may be read.
    client : tiled client
        Of the tree's root.
    more : callable
        Returns when there is more in the spool.
    results : path or None
        Folder of result files, which the server may read.

    Raises
    ------
    PtychoError
        If there is nothing to reconstruct, or something cannot be used or published.
    """
    with FrameFiles(data) as files:
        intake = Intake(folder, files, CalibrationStore(client), report)

        def start() -> Session:
            return Session(intake.run, client, folder, report, results)

        session = _follow(intake, start, more)
        for exposures in intake.take_late():
            session = session or start()
            session.add(exposures)
    if session is None:
        raise ReconstructionError(f"there is no frame to reconstruct. {intake.unread}".strip())
    session.finish(intake.counts)


def _follow(intake: Intake, start: Callable[[], Session], more: Callable[[], None]) -> Session | None:
    """Take exposures in and iterate until the run is closed; return the session that has them."""
    session: Session | None = None
    while True:
        exposures = intake.take()
        if exposures is not None:
            session = session or start()
            session.add(exposures)
        if session is not None and session.is_due:
            session.iterate()
        elif exposures is None:
            if intake.run.stop is not None:
                return session
            more()


class Owner:
    """Standard input, where the owner says that there is more; this process ends when it does."""

    def __init__(self) -> None:
        self._more = Event()

    def folder(self) -> Path:
        """Return the folder of the run that there is, once there is one."""
        with open(sys.stdin.fileno(), "rb", buffering=0, closefd=False) as lines:
            line = lines.readline()
        if not line:
            sys.exit(TRY_AGAIN)
        Thread(target=self._hear, name="owner", daemon=True).start()
        return Path(os.fsdecode(line.removesuffix(b"\n")))

    def __call__(self) -> None:
        """Return when there is more in the spool."""
        self._more.wait()
        self._more.clear()

    def _hear(self) -> None:
        while os.read(sys.stdin.fileno(), 65536):
            self._more.set()
        os._exit(TRY_AGAIN)


def nothing_more() -> None:
    """Refuse to wait for a run that nobody closes.

    Raises
    ------
    InputError
        Always.
    """
    raise InputError("the run is not closed: start a LiveReconstruction on its spool, which closes it")


def _log_to(path: Path) -> None:
    """Send standard error to a file, also that of libraries that are not written in Python."""
    with path.open("a") as log:
        os.dup2(log.fileno(), sys.stderr.fileno())


def _lock(folder: Path) -> int:
    """Return the lock that one worker of a run has.

    Raises
    ------
    InputError
        If the folder holds no spool.
    BlockingIOError
        If another one has it.
    """
    if not (folder / FILE_NAME).is_file():
        raise InputError(f"{folder} holds no {FILE_NAME}: name the folder of one run in the spool")
    lock = os.open(folder / LOCK_NAME, os.O_RDWR | os.O_CREAT, 0o644)
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return lock


def report(**message: Any) -> None:
    """Write one line for the owner, if there still is one."""
    with suppress(BrokenPipeError):
        os.write(OWNER, json.dumps(message).encode() + b"\n")


def main() -> int:
    """Run the worker; return its exit status."""
    parser = argparse.ArgumentParser(description="Reconstruct one run while it is measured.")
    parser.add_argument("folder", type=Path, nargs="?", help="the run's folder, with its spool")
    parser.add_argument("--tiled", required=True, help="address of the Tiled tree")
    parser.add_argument("--data", required=True, type=Path, help="folder of the frames' files")
    parser.add_argument("--results", type=Path, help="folder of result files, which the server may read")
    parser.add_argument("--owned", action="store_true", help="be told the folder by standard input")
    arguments = parser.parse_args()
    if arguments.owned is (arguments.folder is not None):
        parser.error("give a run's folder, or --owned")
    os.nice(NICENESS)
    folder, more = arguments.folder, nothing_more
    if arguments.owned:
        folder, more = (owner := Owner()).folder(), owner
        _log_to(folder / LOG_NAME)
    try:
        _lock(folder)
        with redirect_stdout(sys.stderr):
            reconstruct_run(folder, arguments.data, connect(arguments.tiled), more, arguments.results)
    except BlockingIOError:
        return TRY_AGAIN
    except TiledUnreachableError as error:
        report(warning=str(error))
        return TRY_AGAIN
    except PtychoError as error:
        report(outcome={"error": str(error)})
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
