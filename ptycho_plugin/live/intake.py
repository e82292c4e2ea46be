"""Frames and positions of a running scan, as they become readable."""

from __future__ import annotations

import time
from collections.abc import Iterator
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
        self._pending: list[Exposure] = []
        self._measurement: Measurement | None = None

    @property
    def counts(self) -> dict[str, int]:
        """What did not make it: missing, repeated, unusable and malformed, each with its number."""
        return {
            "missing": self.run.missing + len(self._pending),
            "repeated": self.run.repeated,
            "unusable": self.run.unusable,
            "malformed": self._spool.malformed + self._unusable_documents,
        }

    def take(self) -> PtychoDataset | None:
        """Return the exposures that have become readable since the last time, if any.

        Raises
        ------
        PtychoError
            If the start document, a frame or the mask cannot be used.
        """
        for name, document in self._spool.read():
            self._pending.extend(self._join(name, document))
        crops, positions = [], []
        waiting = []
        for exposure in self._pending:
            try:
                crops.append(self._read(exposure))
                positions.append(exposure.stage_um)
            except OSError as error:
                self.unread = str(error)
                waiting.append(exposure)
        self._pending = waiting
        if self._measurement is None or not crops:
            return None
        return self._measurement.dataset(np.stack(crops), positions)

    def take_late(self) -> Iterator[PtychoDataset]:
        """Yield what becomes readable in the seconds after the run; tell of what does not.

        Raises
        ------
        PtychoError
            As from `take`.
        """
        for pause in LATE_PAUSES_S:
            if not self._pending:
                return
            time.sleep(pause)
            exposures = self.take()
            if exposures is not None:
                yield exposures
        if self._pending:
            self._report(warning=f"{len(self._pending)} frames could not be read: {self.unread}")

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

    def _read(self, exposure: Exposure) -> NDArray[np.generic]:
        uri, dataset, index, _ = exposure
        if self._measurement is None:
            shape = self._files.detector_shape(uri, dataset)
            self._measurement = measurement_of(self.run.scan, shape, self._store, self.run.start["uid"])
        return self._files.read(uri, dataset, index, self._measurement.window)
