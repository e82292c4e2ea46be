"""When a worker shows its map, and where the result goes when Tiled does not take it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ptycho_plugin.errors import PublishingError
from ptycho_plugin.io import write_result
from ptycho_plugin.publishing.results import ResultWriter, result_provenance
from ptycho_plugin.reconstruction import Result

SECONDS_BETWEEN_MAPS = 3.0
RESULT_FILE = "result.h5"


class Publisher:
    """Shows the growing map of one run every few seconds, and its final result.

    Parameters
    ----------
    writer : ResultWriter
    folder : path
        The run's, where the final result is kept when Tiled does not take it.
    report : callable
        Takes ``warning`` and ``outcome``.
    started : float
        When the run started, in seconds since the epoch.
    """

    def __init__(
        self, writer: ResultWriter, folder: Path, report: Callable[..., None], started: float
    ) -> None:
        self._writer = writer
        self._folder = folder
        self._report = report
        self._started = started
        self._shown: float | None = None
        self._live = True

    def show(self, result: Callable[[], Result]) -> None:
        """Write the map so far, if the last one is some seconds old.

        A map that Tiled does not take is the last live one: the reconstruction goes on.

        Parameters
        ----------
        result : callable
            Gives the state now; called only if it will be shown.
        """
        now = time.monotonic()
        if not self._live or (self._shown is not None and now - self._shown < SECONDS_BETWEEN_MAPS):
            return
        try:
            self._writer.write_live(result())
        except PublishingError as error:
            self._live = False
            self._report(warning=f"no more live maps: {error}")
            return
        if self._shown is None:
            self._report(outcome={"first_map_s": time.time() - self._started})
        self._shown = now

    def finish(self, result: Result, md: Mapping[str, Any]) -> str:
        """Write the final result and return its path in Tiled.

        Raises
        ------
        PublishingError
            If Tiled does not take it; the sentence names the file that holds it.
        """
        try:
            self._writer.write_final(result, md)
        except PublishingError as error:
            path = self._folder / RESULT_FILE
            write_result(path, result, result_provenance(result))
            raise PublishingError(f"{error}; the final result is in {path}") from error
        return self._writer.path
