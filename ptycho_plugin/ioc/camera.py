"""The camera of areaDetector: a Pilatus 2M that exposes by itself, or when hardware tells it to."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from itertools import count
from typing import Any

from caproto import ChannelType
from caproto.server import pvproperty
from ophyd.areadetector.cam import PilatusDetectorCam

from ptycho_plugin.errors import InputError
from ptycho_plugin.ioc.faults import Faults
from ptycho_plugin.ioc.gate import Gate, Pulse, until
from ptycho_plugin.ioc.hdf5 import DISABLE_ENABLE, Fate, FileClosed, Hdf5Plugin
from ptycho_plugin.ioc.records import NO_YES, PATH_LENGTH, passive_group

DONE, ACQUIRE = "Done", "Acquire"
UNARMED, ARMED = "Unarmed", "Armed"
EXTERNAL = "Mult. Trigger"
"""A frame for each trigger."""
SERIES = "Ext. Trigger"
"""One trigger for all frames, which the camera then times itself: its command ``ExtTrigger``."""
READOUT_S = 3e-3
"""From the end of an exposure until the next may begin."""
STATES = (
    "Idle",
    "Acquire",
    "Readout",
    "Correct",
    "Saving",
    "Aborting",
    "Error",
    "Waiting",
    "Initializing",
    "Disconnected",
    "Aborted",
)

_Passive: Any = passive_group(
    PilatusDetectorCam,
    values={
        "PortName": "PIL",
        "Manufacturer": "Simulated",
        "Model": "Pilatus 2M",
        "AcquireTime": 0.2,
        "AcquirePeriod": 0.203,
        "NumImages": 1,
        "NumExposures": 1,
        "BinX": 1,
        "BinY": 1,
        "Gain": 1.0,
        "DataType": "Int32",
        "ArrayCallbacks": "Enable",
        "TriggerMode": "Internal",
        "ImageMode": "Single",
        "Temperature": 25.0,
        "GapFill": -1,
        "PixelCutOff": 1048575.0,
    },
    choices={
        "ColorMode": ("Mono",),
        "DataType": ("Int8", "UInt8", "Int16", "UInt16", "Int32", "UInt32", "Float32", "Float64"),
        "ArrayCallbacks": DISABLE_ENABLE,
        "FrameType": ("Normal", "Background", "FlatField", "DblCorrelation"),
        "ImageMode": ("Single", "Multiple", "Continuous"),
        "ShutterMode": ("None", "EPICS output", "Camera output"),
        "TriggerMode": ("Internal", "Ext. Enable", SERIES, EXTERNAL, "Alignment"),
        "FileFormat": ("TIFF", "CBF"),
        "GainMenu": ("7-30KeV/Fast/LowG", "5-18KeV/Med/MedG", "3-6KeV/Slow/HighG", "2-5KeV/Slow/UltraG"),
        "DetectorState": STATES,
        "ShutterStatusEPICS": ("Closed", "Open"),
        "ShutterStatus": ("Closed", "Open"),
        "Armed": (UNARMED, ARMED),
        "ThresholdAutoApply": NO_YES,
        "WaitForPlugins": NO_YES,
    },
    more={  # to ophyd-async
        "WaitForPlugins": "",
        "UniqueId_RBV": 0,
        **dict.fromkeys(("ArraySize0_RBV", "ArraySize1_RBV", "ArraySize2_RBV"), 0),
        **dict.fromkeys(("ADCoreVersion_RBV", "DriverVersion_RBV"), "3.4.0"),
        **dict.fromkeys(("SerialNumber_RBV", "SDKVersion_RBV", "FirmwareVersion_RBV"), ""),
    },
)


class Camera(_Passive):
    """Takes one frame for each time that the gate is high while it acquires.

    With the internal trigger it raises the gate itself, ``NumImages`` times. Armed for external
    triggers, it takes a frame for each gate of the trajectory, until it has so many.

    Parameters
    ----------
    *args, **kwargs
        As for `caproto.server.PVGroup`.
    gate : Gate
    faults : Faults
    plugin : Hdf5Plugin
        Gets the frames.
    frame_shape : (int, int)
        Rows and columns.
    """

    acquire = pvproperty(name="Acquire", value=DONE, enum_strings=(DONE, ACQUIRE), dtype=ChannelType.ENUM)
    acquire_rbv = pvproperty(
        name="Acquire_RBV", value=DONE, enum_strings=(DONE, ACQUIRE), dtype=ChannelType.ENUM
    )

    def __init__(
        self,
        *args: Any,
        gate: Gate,
        faults: Faults,
        plugin: Hdf5Plugin,
        frame_shape: tuple[int, int],
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self._gate = gate
        self._faults = faults
        self._plugin = plugin
        self._frame_shape = frame_shape
        self._stop = asyncio.Event()
        self._missing = 0
        """Frames that external triggers are yet to bring."""
        self._frames: list[asyncio.Task[None]] | None = None
        """On their way, of an acquisition that is not over."""

    @property
    def missing(self) -> int:
        """Frames that it still waits for."""
        return self._missing

    @acquire.startup
    async def acquire(self, _instance: Any, _library: Any) -> None:
        """Say how large frames are."""
        rows, columns = self._frame_shape
        for record in (self.size_size_y, self.max_size_max_size_y, self.array_size_array_size_y):
            await record.write(rows)
        for record in (self.size_size_x, self.max_size_max_size_x, self.array_size_array_size_x):
            await record.write(columns)
        await self.array_size_bytes.write(rows * columns * 4)

    @acquire.putter
    async def acquire(self, instance: Any, value: str) -> str:
        """Acquire until all frames are where they go to, or stop after the exposure that is under way."""
        if value == DONE:
            self._stop.set()
            return DONE
        if self._frames is not None:
            raise RuntimeError("the camera acquires already: stop it first")
        if self.trigger_mode.value == SERIES:
            await self.status_message.write(f"{SERIES} is not simulated: {EXTERNAL} takes a frame a trigger")
            return DONE
        await instance.write(ACQUIRE, verify_value=False)
        await self.acquire_rbv.write(ACQUIRE)
        await self.num_images_counter.write(0)
        await self.status_message.write("")
        self._stop, self._frames = asyncio.Event(), []
        await self.armed.write(ARMED)
        try:
            await (self._wait() if self.trigger_mode.value == EXTERNAL else self._expose())
        finally:
            await self.armed.write(UNARMED)
            await asyncio.gather(*self._frames)
            self._frames = None
            await self.detector_state.write("Error" if self.status_message.value else "Idle")
            await instance.write(DONE, verify_value=False)
            await self.acquire_rbv.write(DONE)
        return DONE

    def trigger(self, exposure_s: float, begin: float) -> Pulse:
        """Hold the gate high for a time, as hardware says; if the camera is armed, take a frame.

        Parameters
        ----------
        exposure_s : float
        begin : float
            When it rises, on the monotonic clock.
        """
        if not self._missing or self._faults.befalls("miss_trigger"):
            return self._gate.raise_now(exposure_s, None, begin)
        pulse = self._take(exposure_s, begin)
        self._missing -= 1
        if not self._missing:
            self._stop.set()
        return pulse

    async def _wait(self) -> None:
        """Be armed for external triggers until they have brought all frames, or nobody waits for more."""
        self._missing = self.num_images.value
        await self.detector_state.write("Waiting")
        await self._stop.wait()
        self._missing = 0

    async def _expose(self) -> None:
        """Raise the gate for each image, at the acquisition's period."""
        await self.detector_state.write("Acquire")
        for _ in self._images():
            if self._faults.befalls("miss_trigger"):
                await self._stop.wait()
            if self._stop.is_set():
                return
            pulse = self._take(self.acquire_time.value, None)
            await until(max(pulse.end + READOUT_S, pulse.begin + self.acquire_period.value))

    def _images(self) -> Iterable[int]:
        match self.image_mode.value:
            case "Single":
                return range(1)
            case "Multiple":
                return range(self.num_images.value)
        return count()

    def _take(self, exposure_s: float, begin: float | None) -> Pulse:
        """Raise the gate for one frame, and see to it that it gets to where it goes to."""
        assert self._frames is not None  # noqa: S101  (for the type checker: it acquires)
        keep = self._plugin.keep() if self.array_callbacks.value == "Enable" else None
        fate = Fate.UNKEPT if keep is None else Fate.KEPT
        if keep is not None and self._faults.befalls("drop_frame"):
            keep, fate = None, Fate.DROPPED
        pulse = self._gate.raise_now(exposure_s, keep, begin)
        self._frames.append(asyncio.create_task(self._collect(pulse, fate)))
        return pulse

    async def _collect(self, pulse: Pulse, fate: Fate) -> None:
        try:
            await pulse.reading
        except Exception as error:  # noqa: BLE001  whatever it is, the client must hear of it
            self._stop.set()
            await self.status_message.write(str(error)[: PATH_LENGTH - 1])
            return
        await self.array_counter_rbv.write(self.array_counter_rbv.value + 1)
        await self.num_images_counter.write(self.num_images_counter.value + 1)
        try:
            await pulse.kept
        except FileClosed:
            await self._plugin.count(Fate.UNKEPT)
        except (InputError, OSError) as error:
            await self._plugin.fail(error)
        else:
            await self._plugin.count(fate)
