"""Frames and positions of a running scan, as they become readable."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ptycho_plugin.dataset import PtychoDataset
from ptycho_plugin.errors import InputError
from ptycho_plugin.live.frame_files import FrameFiles
from ptycho_plugin.live.join import Exposure, RunDocuments
from ptycho_plugin.live.session import Report
from ptycho_plugin.live.spool import SpoolReader
from ptycho_plugin.measurement import Measurement
from ptycho_plugin.publishing.calibrations import CalibrationStore
from ptycho_plugin.publishing.raw import measurement_of

LATE_PAUSES_S = (0.1, 0.2, 0.4, 0.8, 1.6, 3.2)
"""A frame may become readable a little after the document that ends its run."""
PATIENCE_S = 2.0
"""For a frame that cannot be read yet, as long as there are others behind it."""
MOST_AT_ONCE = 64
"""Frames in memory that are on their way, however many wait on disk."""


class Intake:
    """Follows the spool of one run and reads the frames that it names.

    Of the runs that it continues it takes the frames that the spools beside its own name; it tells of one
    that has no spool there.

    Parameters
    ----------
    folder : path
        The run's, with its spool.
    files : FrameFiles
    store : CalibrationStore
        Holds the mask that the run's metadata names.
    report : Report
        Hears of the first document that cannot be used.

    Attributes
    ----------
    run : RunDocuments
    unread : str
        Why a frame could last not be read, empty if all could.
    """

    def __init__(self, folder: Path, files: FrameFiles, store: CalibrationStore, report: Report) -> None:
        self.run = RunDocuments()
        self.unread = ""
        self._folder = folder
        self._spool = SpoolReader(folder)
        self._files = files
        self._store = store
        self._report = report
        self._unusable_documents = 0
        self._pending: deque[Exposure] = deque()
        self._late: deque[Exposure] = deque()
        self._held_up_since: float | None = None
        self._measurement: Measurement | None = None

    @property
    def counts(self) -> dict[str, int]:
        """What did not make it: missing, repeated, unusable and malformed, each with its number."""
        return {
            "missing": self.run.missing + len(self._pending) + len(self._late),
            "repeated": self.run.repeated,
            "unusable": self.run.unusable,
            "malformed": self._spool.malformed + self._unusable_documents,
        }

    def take(self) -> PtychoDataset | None:
        """Return exposures that have become readable since the last time, if any: `MOST_AT_ONCE` at most.

        They come in the order of the documents. A frame that cannot be read yet holds up those behind it for
        `PATIENCE_S`; then it is late, and comes when it can.

        Raises
        ------
        PtychoError
            If the start document, a frame or the mask cannot be used.
        """
        for name, document in self._spool.read():
            self._pending.extend(self._join(name, document))
        crops, positions = [], []
        for exposure, crop in islice(self._readable(), MOST_AT_ONCE):
            crops.append(crop)
            positions.append(exposure.stage_um)
        if self._measurement is None or not crops:
            return None
        return self._measurement.dataset(np.stack(crops), positions)

    def _readable(self) -> Iterator[tuple[Exposure, NDArray[np.generic]]]:
        """Yield those that can be read, first those in order, then late ones; keep the others."""
        while self._pending:
            crop = self._read_or_none(self._pending[0])
            if crop is not None:
                self._held_up_since = None
                yield self._pending.popleft(), crop
            elif self._is_held_up_for_long():
                self._late.append(self._pending.popleft())
            else:
                break
        for _ in range(len(self._late)):
            exposure = self._late.popleft()
            crop = self._read_or_none(exposure)
            if crop is None:
                self._late.append(exposure)
            else:
                yield exposure, crop

    def _is_held_up_for_long(self) -> bool:
        now = time.monotonic()
        if self._held_up_since is None:
            self._held_up_since = now
        if now - self._held_up_since < PATIENCE_S:
            return False
        self._held_up_since = None
        return True

    def take_late(self) -> Iterator[PtychoDataset]:
        """Yield what becomes readable in the seconds after the run; tell of what does not.

        Raises
        ------
        PtychoError
            As from `take`.
        """
        for pause in LATE_PAUSES_S:
            self._late.extend(self._pending)  # nothing is worth being held up for any more
            self._pending.clear()
            if not self._late:
                return
            time.sleep(pause)
            while (exposures := self.take()) is not None:
                yield exposures
        if self._late:
            self._report(warning=f"{len(self._late)} frames could not be read: {self.unread}")

    def _join(self, name: str, document: dict[str, Any]) -> list[Exposure]:
        try:
            exposures = self.run.add(name, document)
            return [*self._before(), *exposures] if name == "start" else exposures
        except InputError as error:
            if not self.run.start:
                raise
            if not self._unusable_documents:
                self._report(warning=f"{error}; such documents are left out and counted")
            self._unusable_documents += 1
            return []

    def _before(self) -> Iterator[Exposure]:
        """Yield the exposures of the runs that this one continues."""
        for uid in self.run.scan.continues:
            earlier = RunDocuments()
            try:
                for name, document in SpoolReader(self._folder.with_name(uid)).read():
                    yield from earlier.add(name, document)
            except (InputError, OSError, ValueError) as error:
                self._report(warning=f"frames of run {uid}, which this one continues, are left out: {error}")

    def _read_or_none(self, exposure: Exposure) -> NDArray[np.generic] | None:
        try:
            return self._read(exposure)
        except OSError as error:
            self.unread = str(error)
            return None

    def _read(self, exposure: Exposure) -> NDArray[np.generic]:
        uri, dataset, index, _ = exposure
        if self._measurement is None:
            shape = self._files.detector_shape(uri, dataset)
            self._measurement = measurement_of(self.run.scan, shape, self._store, self.run.start["uid"])
        return self._files.read(uri, dataset, index, self._measurement.window)
