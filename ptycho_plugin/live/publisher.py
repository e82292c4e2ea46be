"""When a worker shows its map, and where the result goes when Tiled does not take it."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ptycho_plugin.errors import DivergenceError, PublishingError, TiledUnreachableError
from ptycho_plugin.io import write_result
from ptycho_plugin.live.attempts import Attempts
from ptycho_plugin.publishing.results import ResultWriter, Status
from ptycho_plugin.reconstruction.result import Result

logger = logging.getLogger(__name__)

SECONDS_BETWEEN_MAPS = 3.0
LONGEST_PAUSE_S = 60.0
"""Between attempts, where Tiled takes no maps; the pause doubles up to here."""
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
        self._shown = False
        self._pause = SECONDS_BETWEEN_MAPS
        self._due = -math.inf

    def show(self, result: Callable[[], Result]) -> None:
        """Write the map so far, if the last one is some seconds old.

        A map that cannot be written is warned of, the next one is tried after a longer pause,
        and the reconstruction goes on.

        Parameters
        ----------
        result : callable
            Gives the state now; called only if it will be shown.
        """
        if time.monotonic() < self._due:
            return
        self._write_live(result())
        self._due = time.monotonic() + self._pause

    def finish(self, result: Result, md: Mapping[str, Any], status: Status = "final") -> str:
        """Write the final result, or the last good one, and return its path in Tiled, once that answers.

        Raises
        ------
        PublishingError
            If it cannot be written there; the sentence names the file that holds it.
        """
        attempts = Attempts()
        try:
            while not self._is_written(result, md, status, attempts):
                time.sleep(max(0.0, attempts.due - time.monotonic()))
        except Exception as error:  # whatever it is, the result must not be lost
            path = self._writer.file.path if self._writer.file else self._own_file(result)
            reason = error if isinstance(error, PublishingError) else repr(error)
            raise PublishingError(f"{reason}; the {status} result is in {path}") from error
        return self._writer.path

    def _is_written(self, result: Result, md: Mapping[str, Any], status: Status, attempts: Attempts) -> bool:
        """Write the result, unless Tiled does not answer; say so the first time."""
        try:
            self._writer.write_final(result, md, status)
        except TiledUnreachableError as error:
            if not attempts.failures:
                self._report(warning=f"{error}; the {status} result waits for it")
            attempts.failed()
            return False
        return True

    def keep(self, error: DivergenceError) -> str:
        """Write the last good result before a divergence; return a sentence that says where it is."""
        try:
            path = self.finish(error.last_good, {"error": str(error)}, "diverged")
        except PublishingError as refusal:
            return str(refusal)
        return f"the last good state is in Tiled, {path}"

    def _own_file(self, result: Result) -> Path:
        path = self._folder / RESULT_FILE
        write_result(path, result, self._writer.provenance(result))
        return path

    def _write_live(self, result: Result) -> None:
        try:
            self._writer.write_live(result)
        except Exception as error:  # a live view must never end a reconstruction
            logger.exception("the live map could not be written")
            if self._pause == SECONDS_BETWEEN_MAPS:
                self._report(warning=f"a live map could not be written: {error}")
            self._pause = min(2 * self._pause, LONGEST_PAUSE_S)
            return
        self._pause = SECONDS_BETWEEN_MAPS
        if not self._shown:
            self._report(outcome={"first_map_s": time.time() - self._started})
        self._shown = True
