"""A Pilatus that takes a frame for each trigger, or for each gate of a trajectory, into a file of the run."""

from __future__ import annotations

import threading
from pathlib import Path
from time import monotonic, sleep
from typing import Any
from uuid import uuid4

import h5py
from ophyd.status import Status, StatusBase, SubscriptionStatus

from ptycho_plugin.devices.epics.answers import (
    ANSWER_S,
    all_of,
    becomes,
    commanded,
    named,
    read,
    told,
)
from ptycho_plugin.devices.epics.pilatus import CAMERA, STOP_S, WRITER, PilatusRecords
from ptycho_plugin.devices.hdf5_frames import DATASET
from ptycho_plugin.devices.statuses import following, settled
from ptycho_plugin.errors import DeviceError

POLL_S = 0.02
"""From one look at a file to the next: what another machine wrote into it may be seen a little later here."""


class EpicsPilatus(PilatusRecords):
    """Full frames, one a trigger or one a gate, on disk before a status says so.

    Staging opens a file of its own name in a folder that camera and we both see; unstaging closes it
    and leaves camera and plugin as they were found.

    Parameters
    ----------
    *args, **kwargs
        As for `PilatusRecords`.
    directory : Path
        Where the files go.
    """

    def __init__(self, *args: Any, directory: Path, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._directory = directory.absolute()
        self._path: Path | None = None
        self._exposures = 0
        self._ends = 0.0
        """When the exposure that began last should be over, on the monotonic clock."""
        self._idle = threading.Event()
        self._idle.set()
        self._roi: h5py.File | None = None

    def stage(self) -> list[object]:
        """Set camera and plugin up, and open a file.

        Raises
        ------
        InputError
            If the region of interest leaves the frame.
        DeviceError
            If the plugin does not open the file; everything is then as it was.
        """
        self._region()
        path = self._directory / f"{uuid4().hex}.h5"
        staged = super().stage()
        try:
            self._settings.change(self.hdf.file_path, f"{path.parent}/")
            self._settings.change(self.hdf.file_name, path.name)
            self._open(path)
        except Exception as error:
            self._give_back(error)
            raise
        return staged

    def unstage(self) -> list[object]:
        """Close the file, after an exposure that may be under way, and set everything back."""
        self.wait_until_idle(ANSWER_S)
        if self._roi is not None:
            self._roi.close()
        self._roi = self._path = None
        return super().unstage()

    def trigger(self) -> StatusBase:
        """Expose one frame; the status is done when it can be read from its file.

        Raises
        ------
        RuntimeError
            If the detector is not staged, or an exposure is under way.
        """
        expected = self.get_index() + 1
        if self.is_exposing:
            raise RuntimeError("an exposure is under way: wait until its status is done")
        exposure_s = float(self.exposure_time.get())
        acquired = self._expose(exposure_s)

        def keep(error: Exception | None) -> None:
            if error is not None:
                raise error
            self._count(self._read_when_there(expected - 1))

        return following(self, all_of(acquired, self._on_disk(expected, exposure_s)), keep)

    def prepare(self, value: int) -> StatusBase:
        """Take so many frames, one in each of the gates to come; less if it is prepared anew before.

        Raises
        ------
        RuntimeError
            If the detector is not staged.
        """
        self.get_index()
        settled(commanded(self.acquire, 0, STOP_S, CAMERA))
        settled(becomes(self.cam.armed, 0, ANSWER_S, "say unarmed", CAMERA))
        for signal, setting in self._gated_frames(value):
            self._settings.change(signal, setting)
        self.acquire.put(1, use_complete=False)
        return becomes(self.cam.armed, 1, ANSWER_S, "say armed", CAMERA)

    def get_index(self) -> int:
        """Return how many frames are on disk."""
        if self._path is None:
            raise RuntimeError(f"{self.name} has no file: stage it first")
        return int(self.written.get())

    @property
    def _source(self) -> str:
        return f"PV:{self.hdf.prefix}"

    @property
    def is_exposing(self) -> bool:
        """Whether an exposure that was triggered is under way."""
        return not self._idle.is_set()

    @property
    def exposures(self) -> int:
        """How many were triggered, and are on disk: hardware triggers some that we do not hear of before."""
        return self._exposures + int(self.written.get())

    def wait_until_idle(self, late_s: float) -> None:
        """Block until no exposure is under way, or one is so many seconds late."""
        self._idle.wait(max(0.0, self._ends - monotonic()) + late_s)

    def _expose(self, exposure_s: float) -> Status:
        """Begin an exposure, and return when the camera has handed the frame on."""
        self._exposures += 1
        self._ends = monotonic() + exposure_s
        self._idle.clear()
        try:
            acquired = told(self.acquire, 1, exposure_s + ANSWER_S, CAMERA)
        except DeviceError:
            self._idle.set()
            raise
        acquired.add_callback(lambda _: self._idle.set())
        return acquired

    def _on_disk(self, frames: int, exposure_s: float) -> StatusBase:
        """Return when so many frames are written."""
        timeout_s = exposure_s + ANSWER_S
        written = SubscriptionStatus(
            self.written, lambda *_, value, **__: value >= frames, run=True, timeout=timeout_s
        )
        return named(
            written,
            lambda _: (
                f"{self.written.pvname} is {self.written.get()} and not {frames}, {ANSWER_S:g} s after the "
                f"exposure: the frame is not on disk; {WRITER}"
            ),
        )

    def _open(self, path: Path) -> None:
        if not read(self.hdf.file_path_exists):
            raise DeviceError(
                f"{self.hdf.file_path_exists.pvname} says that the file plugin cannot write to "
                f"{path.parent}: name a folder that is there on the detector's machine"
            )
        settled(commanded(self.capture, 1, ANSWER_S, WRITER))
        self._path = path
        self._begin_file()

    def _read_when_there(self, index: int) -> Any:
        """Return the region of interest of a frame that is written, as soon as it can be read here."""
        deadline = monotonic() + ANSWER_S
        while True:
            try:
                return self._read(index)
            except (OSError, IndexError, ValueError) as error:
                if monotonic() > deadline:
                    raise DeviceError(
                        f"{self._path} cannot be read here, {ANSWER_S:g} s after the file plugin has written "
                        f"frame {index}: see that this is the same folder on both machines ({error})"
                    ) from error
                sleep(POLL_S)

    def _read(self, index: int) -> Any:
        """Return the region of interest of a frame, as any reader would see it."""
        if self._roi is None:
            self._roi = h5py.File(self._path, "r", libver="latest", swmr=True)
        frames = self._roi[DATASET]
        frames.refresh()
        return frames[index, *self._region()]

    def _uri(self) -> str:
        assert self._path is not None  # noqa: S101  (for the type checker: it is staged)
        return self._path.as_uri().replace("file://", "file://localhost", 1)
