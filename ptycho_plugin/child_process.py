"""A server of ours in a process of its own, which ends when its parent does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def start_module(module: str, settings: str, log: Path) -> tuple[subprocess.Popen[str], str]:
    """Start a module and wait until it says that it is ready.

    Parameters
    ----------
    module : str
        It reads one line from its standard input, prints one when it is ready, and ends when its standard
        input does: with the parent, or with ``communicate()``.
    settings : str
        That line; it may hold a key, which no argument may.
    log : Path
        Takes its standard error.

    Returns
    -------
    (Popen, str)
        The process, and what it said; empty where it has ended instead.
    """
    with log.open("a") as errors:
        process = subprocess.Popen(  # noqa: S603  (our own interpreter and module)
            [sys.executable, "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            start_new_session=True,  # Ctrl-C pauses the RunEngine, and must not end a server
        )
    assert process.stdin is not None  # noqa: S101  (for the type checker: both are pipes)
    assert process.stdout is not None  # noqa: S101
    process.stdin.write(settings + "\n")
    process.stdin.flush()
    return process, process.stdout.readline().strip()
