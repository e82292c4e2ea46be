"""What every camera of frames says of itself, whoever takes them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from event_model import ComposeStreamResourceBundle, StreamRange, compose_stream_resource
from numpy.typing import NDArray
from ophyd import Component, Device, Signal

from ptycho_plugin.devices.hdf5_frames import DATASET, MIMETYPE
from ptycho_plugin.devices.signals import ComputedSignal, MeasuredSignal, UnitSignal
from ptycho_plugin.io.checks import are_counts
from ptycho_plugin.orientation import DetectorOrientation, crop_corner, crop_window


class FrameCamera(Device):
    """Full frames in an HDF5 file, referred to by the run's documents.

    What a frame counts in the region of interest about the beam centre goes into the events.

    Parameters
    ----------
    *args, **kwargs
        As for `ophyd.Device`.
    frame_shape : (int, int)
        Rows and columns of a full frame.
    beam_centre_px : (float, float)
        Direct beam (row, column) in the full frame, until it is measured.
    roi_side : int
        Rows and columns of the region of interest.
    orientation : DetectorOrientation
        How the camera is mounted: the region is then the very pixels that a reconstruction cuts.
    """

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
        *args: Any,
        frame_shape: tuple[int, int],
        beam_centre_px: tuple[float, float],
        roi_side: int,
        orientation: DetectorOrientation = DetectorOrientation.AS_IS,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.frame_shape = frame_shape
        self._orientation = orientation
        self._documents: ComposeStreamResourceBundle | None = None
        self._announced = 0
        self.beam_centre_row.put(beam_centre_px[0])
        self.beam_centre_column.put(beam_centre_px[1])
        self.roi_side.put(roi_side)

    @property
    def frame_key(self) -> str:
        """Data key of the frames."""
        return f"{self.name}_image"

    def describe(self) -> dict[str, Any]:
        """Return the frames' data key: one frame an event, kept outside the documents."""
        described: dict[str, Any] = super().describe()
        described[self.frame_key] = {
            "source": self._source,
            "dtype": "array",
            "dtype_numpy": "<i4",
            "shape": list(self.frame_shape),
            "units": "counts",
            "external": "STREAM:",
        }
        return described

    @property
    def _source(self) -> str:
        """Where the frames come from, as a data key says it."""
        return f"SIM:{self.name}"

    def get_index(self) -> int:
        """Return how many frames are on disk.

        Raises
        ------
        RuntimeError
            If the detector is not staged.
        """
        raise NotImplementedError

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

    def _uri(self) -> str:
        """Return where the open file is, as documents name it."""
        raise NotImplementedError

    def _begin_file(self) -> None:
        """Hear that a file was opened, of which the documents know nothing yet."""
        self._documents = None
        self._announced = 0

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

    def _count(self, region: NDArray[Any]) -> None:
        """Keep what a frame counts in its region of interest."""
        counts = np.sum(region, where=are_counts(region), dtype=np.int64)
        self.roi_counts.put(int(counts), internal=True)

    def _compose_resource(self) -> ComposeStreamResourceBundle:
        return compose_stream_resource(
            mimetype=MIMETYPE,
            uri=self._uri(),
            data_key=self.frame_key,
            parameters={"dataset": DATASET, "chunk_shape": [1, *self.frame_shape], "swmr": True},
        )
