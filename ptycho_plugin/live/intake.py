"""Frames and positions of a running scan, as they become readable."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ptycho_plugin.dataset import PtychoDataset
from ptycho_plugin.live.frame_files import FrameFiles
from ptycho_plugin.live.join import Exposure, RunDocuments
from ptycho_plugin.live.spool import SpoolReader
from ptycho_plugin.measurement import Measurement
from ptycho_plugin.publishing.calibrations import CalibrationStore
from ptycho_plugin.publishing.raw import measurement_of


class Intake:
    """Follows the spool of one run and reads the frames that it names.

    Parameters
    ----------
    folder : path
        The run's, with its spool.
    files : FrameFiles
    store : CalibrationStore
        Holds the mask that the run's metadata names.

    Attributes
    ----------
    run : RunDocuments
    unread : str
        Why a frame could last not be read, empty if all could.
    """

    def __init__(self, folder: Path, files: FrameFiles, store: CalibrationStore) -> None:
        self.run = RunDocuments()
        self.unread = ""
        self._spool = SpoolReader(folder)
        self._files = files
        self._store = store
        self._pending: list[Exposure] = []
        self._measurement: Measurement | None = None

    @property
    def counts(self) -> dict[str, int]:
        """What did not make it: missing, repeated, unusable and malformed, each with its number."""
        return {
            "missing": self.run.missing + len(self._pending),
            "repeated": self.run.repeated,
            "unusable": self.run.unusable,
            "malformed": self._spool.malformed,
        }

    def take(self) -> PtychoDataset | None:
        """Return the exposures that have become readable since the last time, if any.

        Raises
        ------
        PtychoError
            If a document, a frame or the mask cannot be used.
        """
        for name, document in self._spool.read():
            self._pending.extend(self.run.add(name, document))
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

    def _read(self, exposure: Exposure) -> NDArray[np.generic]:
        uri, dataset, index, _ = exposure
        if self._measurement is None:
            shape = self._files.detector_shape(uri, dataset)
            self._measurement = measurement_of(self.run.scan, shape, self._store, self.run.start["uid"])
        return self._files.read(uri, dataset, index, self._measurement.window)
