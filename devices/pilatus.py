"""A simulated photon-counting detector that writes its frames to HDF5."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from event_model import ComposeStreamResourceBundle, StreamRange, compose_stream_resource
from ophyd import Component, Device, Signal
from ophyd.status import DeviceStatus

from ptycho_plugin.devices.gate import ExposureGate, settle
from ptycho_plugin.devices.hdf5_frames import DATASET, MIMETYPE, FrameFile
from ptycho_plugin.devices.signals import ComputedSignal, MeasuredSignal, UnitSignal
from ptycho_plugin.io.checks import are_counts
from ptycho_plugin.orientation import DetectorOrientation, crop_corner, crop_window

if TYPE_CHECKING:
    from ptycho_plugin.simulation.world import Exposure

logger = logging.getLogger(__name__)


class SimulatedPilatus(Device):
    """Full frames, one a trigger, referred to by the run's documents.

    Staging opens a file and unstaging closes it. ``trigger()`` exposes; its status is done
    when the frame is on disk. What the frame counts in the region of interest about the beam
    centre goes into the events. Prepared, it takes a frame in each gate of a trajectory.

    Parameters
    ----------
    gate : ExposureGate
    frame_shape : (int, int)
        Rows and columns of a full frame.
    directory : Path
        Where the files go.
    beam_centre_px : (float, float)
        Direct beam (row, column) in the full frame, until it is measured.
    roi_side : int
        Rows and columns of the region of interest.
    orientation : DetectorOrientation
        How the camera is mounted: the region is then the very pixels that a reconstruction cuts.
    **kwargs
        As for `ophyd.Device`.
    """

    exposure_time = Component(UnitSignal, value=0.2, units="s", kind="config")
    beam_centre_row = Component(UnitSignal, value=0.0, units="px", kind="config")
    beam_centre_column = Component(UnitSignal, value=0.0, units="px", kind="config")
    beam_centre_measured = Component(Signal, value=False, kind="config")
    mask_version = Component(Signal, value="", kind="config")
    """Valid-pixel mask in force, a key under ``calibrations/masks``; empty where there is none."""
    roi_side = Component(UnitSignal, value=0, units="px", kind="config")
    roi_first_row = Component(ComputedSignal, attr="_first_row", units="px", kind="config")
    roi_first_column = Component(ComputedSignal, attr="_first_column", units="px", kind="config")
    roi_counts = Component(MeasuredSignal, value=0, units="counts", kind="hinted")
    """Sum over the region in the last frame; the detector's marks do not count."""

    def __init__(
        self,
        *,
        gate: ExposureGate,
        frame_shape: tuple[int, int],
        directory: Path,
        beam_centre_px: tuple[float, float],
        roi_side: int,
        orientation: DetectorOrientation = DetectorOrientation.AS_IS,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.frame_shape = frame_shape
        self._orientation = orientation
        self._gate = gate
        self._directory = directory
        self._file: FrameFile | None = None
        self._exposure: DeviceStatus | None = None
        self._armed: object | None = None
        """For the gates of a trajectory, anew each time."""
        self._documents: ComposeStreamResourceBundle | None = None
        self._announced = 0
        self.beam_centre_row.put(beam_centre_px[0])
        self.beam_centre_column.put(beam_centre_px[1])
        self.roi_side.put(roi_side)

    @property
    def frame_key(self) -> str:
        """Data key of the frames."""
        return f"{self.name}_image"

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
        self._documents = None
        self._announced = 0
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
        status = DeviceStatus(self)
        status.set_finished()
        return status

    def describe(self) -> dict[str, Any]:
        """Return the frames' data key: one frame an event, kept outside the documents."""
        described: dict[str, Any] = super().describe()
        described[self.frame_key] = {
            "source": f"SIM:{self.name}",
            "dtype": "array",
            "dtype_numpy": "<i4",
            "shape": list(self.frame_shape),
            "units": "counts",
            "external": "STREAM:",
        }
        return described

    def get_index(self) -> int:
        """Return how many frames are on disk."""
        return len(self._open_file())

    def collect_asset_docs(self, index: int | None = None) -> Iterator[tuple[str, Any]]:
        """Yield where the frames since the last call are: the file, once, then their indices.

        Parameters
        ----------
        index : int, optional
            Up to this many frames, where a plan keeps several detectors in step.
        """
        frames = self.get_index() if index is None else min(index, self.get_index())
        if frames == self._announced:
            return
        if self._documents is None:
            self._documents = self._compose_resource()
            yield "stream_resource", self._documents.stream_resource_doc
        indices = StreamRange(start=self._announced, stop=frames)
        self._announced = frames
        yield "stream_datum", self._documents.compose_stream_datum(indices)

    @property
    def _first_row(self) -> int:
        return crop_corner(*self._about_centre(), self._orientation)[0]

    @property
    def _first_column(self) -> int:
        return crop_corner(*self._about_centre(), self._orientation)[1]

    def _region(self) -> tuple[slice, slice]:
        """Return the region's rows and columns, or raise `InputError` where it leaves the frame."""
        centre, side = self._about_centre()
        return crop_window(centre, side, self.frame_shape, self._orientation)

    def _about_centre(self) -> tuple[tuple[float, float], int]:
        centre = self.beam_centre_row.get(), self.beam_centre_column.get()
        return centre, int(self.roi_side.get())

    def _keep(self, file: FrameFile, exposure: Exposure) -> None:
        file.append(exposure.frame)
        region = exposure.frame[self._region()]
        counts = np.sum(region, where=are_counts(region), dtype=np.int64)
        self.roi_counts.put(int(counts), internal=True)

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

    def _compose_resource(self) -> ComposeStreamResourceBundle:
        return compose_stream_resource(
            mimetype=MIMETYPE,
            uri=self._open_file().uri,
            data_key=self.frame_key,
            parameters={"dataset": DATASET, "chunk_shape": [1, *self.frame_shape], "swmr": True},
        )

    def _open_file(self) -> FrameFile:
        if self._file is None:
            raise RuntimeError(f"{self.name} has no file: stage it first")
        return self._file
