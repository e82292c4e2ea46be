"""Documents onto the disk: all that the RunEngine waits for."""

from __future__ import annotations

import logging
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from event_model import RunRouter

from ptycho_plugin.errors import InputError
from ptycho_plugin.live.bell import Bell
from ptycho_plugin.live.spool import SpoolWriter

logger = logging.getLogger(__name__)

SAFE_NAME = re.compile(r"[A-Za-z0-9-]+")
LOW_BYTES, LEAST_BYTES = 5_000_000_000, 200_000_000
"""Free on the spool's disk: with less a scan begins with a warning, or not at all."""


class RunSpool:
    """Keeps every document of every run on disk, and rings for the service that follows the spool.

    Subscribe it: ``RE.subscribe(RunSpool(...))``, or a `LiveReconstruction`, which is one with a service
    of its own. A document is on the disk when the call returns. What cannot be kept is raised into the
    RunEngine: an exposure that nobody records must not be made.

    Parameters
    ----------
    spool : path
        On a local disk; gets one folder a run.

    Raises
    ------
    OSError
        If the folder cannot be made.
    """

    def __init__(self, spool: str | Path) -> None:
        self.folder = Path(spool).resolve()
        self.folder.mkdir(parents=True, exist_ok=True)
        self._bell = Bell(self.folder)
        self._router = RunRouter([self._factory])
        self._open: dict[str, SpoolWriter] = {}

    def __call__(self, name: str, document: Mapping[str, Any]) -> None:
        """Keep one document of any run.

        Raises
        ------
        InputError
            If the run's uid cannot name a folder, or the disk is nearly full.
        OSError, TypeError, ValueError
            If the document cannot be written.
        """
        try:
            self._router(name, document)
        except KeyError:
            # Somebody has subscribed while a run was paused: no reason to end it.
            logger.warning("a %s document is of no run that began since the spool was subscribed", name)

    def close(self) -> None:
        """Close runs that are open, as the end of the process would."""
        for uid in list(self._open):
            self._open.pop(uid).close()
        self._bell.close()

    def _factory(self, _: str, start: Mapping[str, Any]) -> tuple[list[Any], list[Any]]:
        uid = start["uid"]
        if not SAFE_NAME.fullmatch(uid):
            raise InputError(f"the run's uid {uid!r} cannot name a folder: use letters, digits and hyphens")
        self._check_space()
        writer = self._open[uid] = SpoolWriter(self.folder / uid)

        def keep(name: str, document: Mapping[str, Any]) -> None:
            writer.append(name, document)
            if name == "stop":
                self._open.pop(uid).close()
            self._bell.ring()

        return [keep], []

    def _check_space(self) -> None:
        free = shutil.disk_usage(self.folder).free
        if free < LEAST_BYTES:
            raise InputError(
                f"{free / 1e6:.0f} MB are free for the spool {self.folder}, and {LEAST_BYTES / 1e6:.0f} MB "
                "are needed: make room before the next run"
            )
        if free < LOW_BYTES:
            logger.warning("%.1f GB are free for the spool %s: make room soon", free / 1e9, self.folder)
