"""A simulated photon-counting detector that writes its frames to HDF5."""

from __future__ import annotations

import logging
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ophyd import Component
from ophyd.status import DeviceStatus

from ptycho_plugin.devices.frame_camera import FrameCamera
from ptycho_plugin.devices.gate import ExposureGate, settle
from ptycho_plugin.devices.hdf5_frames import FrameFile
from ptycho_plugin.devices.signals import UnitSignal
from ptycho_plugin.devices.statuses import finished

if TYPE_CHECKING:
    from ptycho_plugin.simulation.world import Exposure

logger = logging.getLogger(__name__)


class SimulatedPilatus(FrameCamera):
    """A Pilatus on a world's gate.

    Staging opens a file and unstaging closes it. ``trigger()`` exposes; its status is done
    when the frame is on disk. Prepared, it takes a frame in each gate of a trajectory.

    Parameters
    ----------
    gate : ExposureGate
    directory : Path
        Where the files go.
    **kwargs
        As for `FrameCamera`.
    """

    exposure_time = Component(UnitSignal, value=0.2, units="s", kind="config")

    def __init__(self, *, gate: ExposureGate, directory: Path, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._gate = gate
        self._directory = directory
        self._file: FrameFile | None = None
        self._exposure: DeviceStatus | None = None
        self._armed: object | None = None
        """For the gates of a trajectory, anew each time."""

    def stage(self) -> list[object]:
        """Open a new file.

        Raises
        ------
        InputError
            If the region of interest leaves the frame, or the folder cannot be written or has
            no room.
        """
        self._region()
        staged: list[object] = super().stage()
        self._file = FrameFile(self._directory, self.frame_shape)
        self._begin_file()
        return staged

    def unstage(self) -> list[object]:
        """Close the file, after an exposure that may be under way."""
        self._armed = None
        if self._exposure is not None:
            self._exposure.exception()
        if self._file is not None:
            self._file.close()
        self._file = None
        unstaged: list[object] = super().unstage()
        return unstaged

    def trigger(self) -> DeviceStatus:
        """Expose one frame.

        Raises
        ------
        RuntimeError
            If the detector is not staged, or an exposure is under way.
        """
        file = self._open_file()
        self._armed = None
        status = DeviceStatus(self)
        self._gate.expose(
            self.exposure_time.get(), settle(status, lambda exposure: self._keep(file, exposure))
        )
        self._exposure = status
        return status

    def prepare(self, value: int) -> DeviceStatus:
        """Take so many frames, one in each of the gates to come; less if it is prepared anew before.

        Raises
        ------
        RuntimeError
            If the detector is not staged.
        """
        self._armed = armed = object()
        self._take_next(self._open_file(), value, armed)
        return finished(self)

    def get_index(self) -> int:
        """Return how many frames are on disk."""
        return len(self._open_file())

    def _keep(self, file: FrameFile, exposure: Exposure) -> None:
        file.append(exposure.frame)
        self._count(exposure.frame[self._region()])

    def _take_next(self, file: FrameFile, frames: int, armed: object) -> None:
        """Take a frame in the next gate, and then more, unless the detector has been armed anew."""

        def take(gate: Future[Exposure]) -> None:
            if self._armed is armed and frames:
                self._take_next(file, frames - 1, armed)
                try:
                    self._keep(file, gate.result())
                except Exception:  # the frame is missing, and whoever compares it with the gates finds out
                    logger.exception("%s could not keep a frame", self.name)

        self._gate.next_exposure().add_done_callback(take)

    def _uri(self) -> str:
        return self._open_file().uri

    def _open_file(self) -> FrameFile:
        if self._file is None:
            raise RuntimeError(f"{self.name} has no file: stage it first")
        return self._file
