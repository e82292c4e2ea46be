"""The file plugin of areaDetector: frames go to HDF5, and can be read while the file grows."""

from __future__ import annotations

import asyncio
import re
from enum import Enum, auto
from pathlib import Path
from typing import Any

import numpy as np
from caproto import ChannelType
from caproto.server import pvproperty
from numpy.typing import NDArray
from ophyd.areadetector.plugins import HDF5Plugin, HDF5Plugin_V34

from ptycho_plugin.devices.hdf5_frames import FrameFile
from ptycho_plugin.errors import InputError
from ptycho_plugin.ioc.physics import Keep, Physics
from ptycho_plugin.ioc.records import NO_YES, PATH_LENGTH, follow, passive_group

PORT = "HDF1"
CONVERSION = re.compile(r"%.")
DONE, CAPTURE = "Done", "Capture"
OFF_ON = ("Off", "On")
DISABLE_ENABLE = ("Disable", "Enable")

_Passive: Any = passive_group(
    HDF5Plugin_V34,
    HDF5Plugin,
    values={
        "PluginType": "NDFileHDF5",
        "PortName": PORT,
        "NDArrayPort": "PIL",
        "ADCoreVersion": "3.4.0",
        "DriverVersion": "3.4.0",
        "EnableCallbacks": "Enable",
        "BlockingCallbacks": "Yes",
        "ArrayCallbacks": "Enable",
        "DataType": "Int32",
        "NDimensions": 2,
        "FileName": "frames",
        "FileTemplate": "%s%s_%6.6d.h5",
        "FileWriteMode": "Stream",
        "AutoIncrement": "Yes",
        "AutoSave": "Yes",
        "CreateDirectory": -3,
        "Compression": "zlib",
        "ZLevel": 1,
        "NumFramesChunks": 1,
        "NumFramesFlush": 1,
        "SWMRSupported": "Supported",
        "SWMRMode": "On",
        "QueueSize": 20,
    },
    choices={
        "EnableCallbacks": DISABLE_ENABLE,
        "ArrayCallbacks": DISABLE_ENABLE,
        "AutoIncrement": NO_YES,
        "AutoSave": NO_YES,
        "DeleteDriverFile": NO_YES,
        "FilePathExists": NO_YES,
        "FileWriteMode": ("Single", "Capture", "Stream"),
        "ReadFile": ("Done", "Read"),
        "WriteFile": ("Done", "Write"),
        "WriteStatus": ("Write OK", "Write error"),
        "Compression": ("None", "N-bit", "szip", "zlib", "Blosc", "BSLZ4", "LZ4", "JPEG"),
        "FileFormat": ("HDF5",),
        "FlushNow": ("Done", "Flush"),
        "ChunkSizeAuto": NO_YES,
    },
    more={"FlushNow": "", "ChunkSizeAuto": "", "ChunkSizeAuto_RBV": ""},  # to ophyd-async
)


class Fate(Enum):
    """What becomes of a frame."""

    KEPT = auto()
    UNKEPT = auto()
    """Nobody asked for it."""
    DROPPED = auto()


class FileClosed(Exception):
    """What a frame was to go into was closed before it had come."""


class Hdf5Plugin(_Passive):
    """Opens a file when it is told to capture, and writes each frame that comes until it is told to stop.

    Parameters
    ----------
    *args, **kwargs
        As for `caproto.server.PVGroup`.
    physics : Physics
        Whose thread writes the files.
    folder : Path
        All files are below it.
    frame_shape : (int, int)
        Rows and columns.
    """

    capture = pvproperty(name="Capture", value=DONE, enum_strings=(DONE, CAPTURE), dtype=ChannelType.ENUM)
    capture_rbv = pvproperty(
        name="Capture_RBV", value=DONE, enum_strings=(DONE, CAPTURE), dtype=ChannelType.ENUM
    )
    file_path = pvproperty(name="FilePath", value="", dtype=ChannelType.CHAR, max_length=PATH_LENGTH)

    def __init__(
        self, *args: Any, physics: Physics, folder: Path, frame_shape: tuple[int, int], **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self._physics = physics
        self._folder = folder.resolve()
        self._frame_shape = frame_shape
        self._file: FrameFile | None = None
        self._closed = asyncio.Event()
        """Set when the capture that was begun last is over."""

    @capture.startup
    async def capture(self, _instance: Any, _library: Any) -> None:
        """Know frames before the first has come: a warm-up would be dose."""
        rows, columns = self._frame_shape
        await self.height.write(rows)
        await self.width.write(columns)
        await self.file_path.write(str(self._folder))

    @capture.putter
    async def capture(self, instance: Any, value: str) -> str:
        """Open a file, and be done when it has been closed: areaDetector has a busy record here."""
        if value == DONE:
            return await self._close()
        if await self._open() == CAPTURE:
            await instance.write(CAPTURE, verify_value=False)
            await self._closed.wait()
            await instance.write(DONE, verify_value=False)
        return DONE

    @file_path.putter
    async def file_path(self, instance: Any, value: str) -> str:
        """Take a folder, which must be in the IOC's own; it is made if that is allowed."""
        path = value.rstrip("/") + "/"
        await follow(self, instance, path)
        folder = Path(path)
        if self._is_ours(folder) and self.create_directory.value != 0:
            folder.mkdir(parents=True, exist_ok=True)
        await self.file_path_exists.write("Yes" if self._is_ours(folder) and folder.is_dir() else "No")
        return path

    def keep(self) -> Keep | None:
        """Return what writes a frame into the file that is open, if it shall be written."""
        file = self._file
        if file is None or self.enable.value != "Enable":
            return None

        def append(frame: NDArray[np.int32]) -> None:
            if file is not self._file:
                raise FileClosed
            file.append(frame)

        return append

    async def count(self, fate: Fate) -> None:
        """Say that one more frame has come, and what became of it."""
        await self.array_counter_rbv.write(self.array_counter_rbv.value + 1)
        if fate is Fate.DROPPED:
            await self.dropped_arrays_rbv.write(self.dropped_arrays_rbv.value + 1)
        if fate is not Fate.KEPT:
            return
        captured = self.num_captured.value + 1
        await self.num_captured.write(captured)
        await self.unique_id.write(captured)
        if captured == self.num_capture.value:
            await self.capture.write(DONE)

    async def fail(self, error: Exception) -> None:
        """Say why a frame is not in the file, and close it."""
        await self._say(error)
        await self.capture.write(DONE)

    async def _open(self) -> str:
        if self._file is not None:
            return CAPTURE
        try:
            self._file = await asyncio.wrap_future(self._physics.do(self._create))
        except (InputError, OSError) as error:
            await self._say(error)
            return await self._close()
        self._closed = asyncio.Event()
        await self.num_captured.write(0)
        await self.full_file_name.write(str(self._file.path))
        if self.auto_increment.value == "Yes":
            await self.file_number.write(self.file_number.value + 1)
        await self.write_status.write("Write OK")
        await self.write_message.write("")
        await self.swmr_active.write("Active")
        await self.capture_rbv.write(CAPTURE)
        return CAPTURE

    async def _close(self) -> str:
        file, self._file = self._file, None
        if file is not None:
            await asyncio.wrap_future(self._physics.do(file.close))
        await self.swmr_active.write("Off")
        await self.capture_rbv.write(DONE)
        self._closed.set()
        return DONE

    def _create(self) -> FrameFile:
        path = self._path()
        if not self._is_ours(path):
            raise InputError(f"{path} is outside {self._folder}: choose a FilePath in it")
        return FrameFile(path.parent, self._frame_shape, name=path.name)

    def _path(self) -> Path:
        """Return the next file, as C would format it: what the template does not ask for is left out."""
        template = self.file_template.value
        parts = self.file_path.value, self.file_name.value, self.file_number.value
        try:
            asked = [conversion for conversion in CONVERSION.findall(template) if conversion != "%%"]
            return Path(template % parts[: len(asked)])
        except (TypeError, ValueError) as error:
            raise InputError(f"FileTemplate {template!r} cannot be used: {error}") from None

    def _is_ours(self, path: Path) -> bool:
        return path.resolve().is_relative_to(self._folder)

    async def _say(self, error: Exception) -> None:
        await self.write_status.write("Write error")
        await self.write_message.write(str(error)[: PATH_LENGTH - 1])
