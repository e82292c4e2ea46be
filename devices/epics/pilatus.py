"""A Pilatus over Channel Access: the camera's and the file plugin's records."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ophyd import Device, EpicsSignalRO, EpicsSignalWithRBV, FormattedComponent
from ophyd.areadetector.cam import PilatusDetectorCam
from ophyd.areadetector.plugins import HDF5Plugin_V34
from ophyd.device import Staged

from ptycho_plugin import beamline_file
from ptycho_plugin.devices.epics.answers import ANSWER_S, commanded
from ptycho_plugin.devices.epics.settings import Settings
from ptycho_plugin.devices.frame_camera import FrameCamera
from ptycho_plugin.devices.statuses import settled
from ptycho_plugin.errors import DeviceError

CAMERA = "see the camera's StatusMessage"
WRITER = "see the file plugin's WriteMessage"
TRIM_S = 120.0
"""For the camera to set a threshold: it trims every pixel."""
STOP_S = 10.0
"""For the camera to stop: its driver alone sleeps for two seconds."""


class FilePlugin(HDF5Plugin_V34):
    """The HDF5 plugin, which opens its file with the first frame.

    ophyd's own refuses a plugin that has seen no frame yet, and exposes one for it: that would be dose.
    """

    def stage(self) -> list[object]:
        """Stage it as any device."""
        staged: list[object] = Device.stage(self)
        return staged


class PilatusRecords(FrameCamera):
    """Camera and file plugin, and how they stand while a run takes frames.

    Parameters
    ----------
    prefix : str
        Of the beamline.
    said : Camera
        As the beamline file has it.
    **kwargs
        As for `FrameCamera`.
    """

    cam = FormattedComponent(PilatusDetectorCam, "{prefix}{_said.cam}", kind="omitted")
    hdf = FormattedComponent(FilePlugin, "{prefix}{_said.hdf}", kind="omitted")
    acquire = FormattedComponent(
        EpicsSignalWithRBV, "{prefix}{_said.cam}Acquire", put_complete=True, kind="omitted"
    )
    """Completes when all frames have been handed on."""
    exposure_time = FormattedComponent(
        EpicsSignalWithRBV,
        "{prefix}{_said.cam}AcquireTime",
        put_complete=True,
        write_timeout=ANSWER_S,
        kind="config",
    )
    threshold_keV = FormattedComponent(  # noqa: N815  as the record has it
        EpicsSignalWithRBV,
        "{prefix}{_said.cam}ThresholdEnergy",
        put_complete=True,
        write_timeout=TRIM_S,
        kind="config",
    )
    capture = FormattedComponent(EpicsSignalWithRBV, "{prefix}{_said.hdf}Capture", kind="omitted")
    written = FormattedComponent(
        EpicsSignalRO, "{prefix}{_said.hdf}NumCaptured_RBV", auto_monitor=True, kind="omitted"
    )

    def __init__(self, prefix: str, said: beamline_file.schema.Camera, **kwargs: Any) -> None:
        self._said = said
        super().__init__(prefix, frame_shape=said.frame_shape, beam_centre_px=said.beam_centre_px, **kwargs)
        self._settings = Settings()
        for part in (self.cam, self.hdf):
            part.stage_sigs.clear()  # ophyd's own, which it sets back without a timeout

    def stage(self) -> list[object]:
        """Stop camera and plugin, and set them up for single frames in files that can be read as they grow.

        Raises
        ------
        DeviceError
            If a record does not answer; everything is then as it was, or a note says what is not.
        """
        staged: list[object] = super().stage()
        try:
            self._stop()
            for signal, value in self._setup():
                self._settings.change(signal, value)
        except Exception as error:
            self._give_back(error)
            raise
        return staged

    def unstage(self) -> list[object]:
        """Stop camera and plugin, and leave them set as they were found; nothing, where it is not staged."""
        if self._staged is Staged.no:
            return []
        try:
            self._stop()
        finally:
            try:
                self._settings.restore()
            finally:
                unstaged: list[object] = super().unstage()
        return unstaged

    def _stop(self) -> None:
        """Stop the camera and close the file, whichever of them does not answer."""
        try:
            settled(commanded(self.acquire, 0, STOP_S, CAMERA))
        finally:
            settled(commanded(self.capture, 0, ANSWER_S, WRITER))

    def _give_back(self, error: Exception) -> None:
        """Unstage after an error; what fails then is a note to it."""
        try:
            self.unstage()
        except DeviceError as other:
            error.add_note(str(other))

    def _setup(self) -> Iterator[tuple[Any, Any]]:
        """Yield how records stand while a run takes frames."""
        yield from self._single_frames()
        yield self.cam.array_callbacks, "Enable"
        yield self.hdf.enable, "Enable"
        yield self.hdf.lazy_open, "Yes"
        yield self.hdf.swmr_mode, "On"
        yield self.hdf.file_write_mode, "Stream"
        yield self.hdf.auto_increment, "No"
        yield self.hdf.num_capture, 0
        yield self.hdf.num_frames_flush, 1
        yield self.hdf.file_template, "%s%s"

    def _single_frames(self) -> Iterator[tuple[Any, Any]]:
        """Yield how the camera stands to expose by itself, one frame for each trigger."""
        yield self.cam.image_mode, "Single"
        yield self.cam.trigger_mode, "Internal"
        yield self.cam.num_images, 1

    def _gated_frames(self, number: int) -> Iterator[tuple[Any, Any]]:
        """Yield how it stands to take a frame in each gate of a trajectory.

        On an "Ext. Trigger" it would take all of them, at its own pace: camserver's command ExtTrigger.
        """
        yield self.cam.image_mode, "Multiple"
        yield self.cam.trigger_mode, "Mult. Trigger"
        yield self.cam.num_images, number
