"""A Pilatus over Channel Access: the camera's and the file plugin's records."""

from __future__ import annotations

from typing import Any

from ophyd import Device, EpicsSignal, EpicsSignalRO, EpicsSignalWithRBV, FormattedComponent
from ophyd.areadetector.cam import PilatusDetectorCam
from ophyd.areadetector.plugins import HDF5Plugin_V34

from ptycho_plugin import beamline_file
from ptycho_plugin.devices.frame_camera import FrameCamera

INTERNAL, EXTERNAL = "Internal", "Ext. Trigger"


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
    acquire = FormattedComponent(EpicsSignal, "{prefix}{_said.cam}Acquire", put_complete=True, kind="omitted")
    exposure_time = FormattedComponent(
        EpicsSignalWithRBV, "{prefix}{_said.cam}AcquireTime", put_complete=True, kind="config"
    )
    threshold_keV = FormattedComponent(  # noqa: N815  as the record has it
        EpicsSignalWithRBV, "{prefix}{_said.cam}ThresholdEnergy", put_complete=True, kind="config"
    )
    capture = FormattedComponent(EpicsSignal, "{prefix}{_said.hdf}Capture", put_complete=True, kind="omitted")
    written = FormattedComponent(
        EpicsSignalRO, "{prefix}{_said.hdf}NumCaptured_RBV", auto_monitor=True, kind="omitted"
    )

    def __init__(self, prefix: str, said: beamline_file.schema.Camera, **kwargs: Any) -> None:
        self._said = said
        super().__init__(prefix, frame_shape=said.frame_shape, beam_centre_px=said.beam_centre_px, **kwargs)
        self.stage_sigs.update(
            {
                "acquire": 0,
                "cam.image_mode": "Single",
                "cam.trigger_mode": INTERNAL,
                "cam.num_images": 1,
                "cam.array_callbacks": "Enable",
                "hdf.enable": "Enable",
                "hdf.lazy_open": "Yes",
                "hdf.swmr_mode": "On",
                "hdf.file_write_mode": "Stream",
                "hdf.auto_increment": "No",
                "hdf.num_capture": 0,
                "hdf.num_frames_flush": 1,
                "hdf.file_template": "%s%s",
            }
        )
