"""One real Tiled server and one simulated beamline for the session, and a small scan.

Starting either takes some ten seconds.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import event_model
import h5py
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from ptycho_plugin.geometry import M_PER_UM, Geometry
from ptycho_plugin.ioc import IocProcess
from ptycho_plugin.metadata import ScanMetadata
from ptycho_plugin.optics import ZonePlate
from ptycho_plugin.orientation import DetectorOrientation, PositionSign, crop_window
from ptycho_plugin.publishing.server import LocalTiledServer
from ptycho_plugin.reconstruction.options import ReconstructionOptions
from ptycho_plugin.trajectory import ConcentricRings

GEOMETRY = Geometry.from_wavelength(0.2e-9, distance=2.236, detector_pixel=172e-6, frame_side=32)
OPTIC = ZonePlate(diameter=100e-6, outermost_zone=200e-9, central_stop=20e-6, defocus=500e-6)
PHOTONS = 1e5
DETECTOR_SHAPE = (60, 52)
GAP_ROW = 17


@pytest.fixture(scope="session")
def data_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of frame files that the server may read."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="session")
def tiled_server(tmp_path_factory: pytest.TempPathFactory, data_folder: Path) -> Iterator[LocalTiledServer]:
    with LocalTiledServer(tmp_path_factory.mktemp("tiled"), readable=[data_folder]) as server:
        yield server


@pytest.fixture(scope="session")
def tiled(tiled_server: LocalTiledServer) -> Any:
    """A client of the tree's root."""
    return tiled_server.client()


@pytest.fixture(scope="session")
def ioc(data_folder: Path) -> Iterator[IocProcess]:
    """The simulated beamline that this process' Channel Access finds; the Tiled server reads its frames."""
    port, repeater_port = (int(os.environ[f"EPICS_CA_{whose}_PORT"]) for whose in ("SERVER", "REPEATER"))
    with IocProcess(port=port, repeater_port=repeater_port, directory=data_folder / "ioc") as process:
        yield process


@dataclass
class SmallScan:
    """A simulated scan whose documents and frames come one by one, without a RunEngine."""

    folder: Path
    metadata: ScanMetadata
    truth: Any = field(init=False)
    frames: Any = field(init=False)
    stage_um: Any = field(init=False)
    corners: Any = field(init=False)

    def __post_init__(self) -> None:
        rng = np.random.default_rng(7)
        planned = self.metadata.trajectory.offsets_um() + np.array(self.metadata.centre_um)
        probe_um = self.metadata.position_sign.to_probe_positions(planned)
        pixel_um = GEOMETRY.object_pixel / M_PER_UM
        # Measured places differ from the planned ones, and lie on the pixel grid.
        corners = np.round((probe_um + rng.normal(0, 0.02, planned.shape)) / pixel_um).astype(int)
        self.stage_um = self.metadata.position_sign.to_probe_positions(corners * pixel_um)
        self.corners = corners = corners - corners.min(axis=0)
        shape = tuple(corners.max(axis=0) + GEOMETRY.frame_side)
        phase = gaussian_filter(rng.normal(size=shape), 1.5)
        self.truth = np.exp(-0.5j * (phase - phase.min()) / np.ptp(phase))
        self.frames = np.stack([self._raw_frame(corner, rng) for corner in corners])

    @property
    def uid(self) -> str:
        return str(self._run.start_doc["uid"])

    def _raw_frame(self, corner: Any, rng: np.random.Generator) -> Any:
        side = GEOMETRY.frame_side
        row, column = corner
        probe = OPTIC.probe(GEOMETRY, PHOTONS)[0]
        wave = probe * self.truth[row : row + side, column : column + side]
        counts = rng.poisson(np.abs(np.fft.fftshift(np.fft.fft2(wave, norm="ortho"))) ** 2)
        raw = rng.poisson(5.0, DETECTOR_SHAPE).astype(np.int32)  # nobody should look outside the crop
        orientation = self.metadata.orientation
        window = crop_window(self.metadata.beam_centre_px, side, DETECTOR_SHAPE, orientation)
        raw[window] = orientation.to_raw(counts)
        raw[GAP_ROW] = -1
        return raw

    def documents(self, count: int | None = None, start: dict[str, Any] | None = None) -> Iterator[Any]:
        """Yield (name, document) of a run of ``count`` exposures; each frame is on disk by then."""
        self._run = run = event_model.compose_run(
            metadata={**self.metadata.to_start(), "plan_name": "ptycho_scan", **(start or {})}
        )
        yield "start", run.start_doc
        keys = {
            key: {"dtype": "number", "shape": [], "source": "test"} for key in self.metadata.position_keys
        }
        frame_key = {"dtype": "array", "dtype_numpy": "<i4", "shape": list(DETECTOR_SHAPE), "source": "test"}
        frame_key["external"] = "STREAM:"
        stream = run.compose_descriptor(
            name="primary", data_keys={**keys, self.metadata.frame_key: frame_key}
        )
        yield "descriptor", stream.descriptor_doc
        path = self.folder / f"{run.start_doc['uid']}.h5"
        resource = run.compose_stream_resource(
            mimetype="application/x-hdf5",
            uri=f"file://localhost{path}",
            data_key=self.metadata.frame_key,
            parameters={"dataset": "/entry/data/data", "chunk_shape": [1, *DETECTOR_SHAPE]},
        )
        yield "stream_resource", resource.stream_resource_doc
        with h5py.File(path, "w", libver="latest") as file:
            data = file.create_dataset(
                "/entry/data/data",
                (0, *DETECTOR_SHAPE),
                "<i4",
                maxshape=(None, *DETECTOR_SHAPE),
                chunks=(1, *DETECTOR_SHAPE),
                compression="gzip",
                compression_opts=1,
            )
            file.swmr_mode = True
            for index, (frame, position) in enumerate(zip(self.frames, self.stage_um, strict=True)):
                if index == count:
                    break
                data.resize(index + 1, axis=0)
                data[index] = frame
                data.flush()
                yield (
                    "stream_datum",
                    resource.compose_stream_datum(
                        indices={"start": index, "stop": index + 1},
                        seq_nums={"start": index + 1, "stop": index + 2},
                        descriptor=stream.descriptor_doc,
                    ),
                )
                reading = dict(zip(self.metadata.position_keys, map(float, position), strict=True))
                yield "event", stream.compose_event(data=reading, timestamps=dict.fromkeys(reading, 0.0))
        yield "stop", run.compose_stop()


MakeScan = Callable[..., SmallScan]


@pytest.fixture(scope="session")
def make_scan(data_folder: Path) -> MakeScan:
    """Return a small scan; keyword arguments change its metadata."""

    def make(**changes: Any) -> SmallScan:
        metadata = ScanMetadata(
            **{
                "geometry": GEOMETRY,
                "orientation": DetectorOrientation.TRANSPOSE_FLIP_ROWS,
                "position_sign": PositionSign.SAMPLE,
                "beam_centre_px": (31.3, 24.8),
                "frame_key": "pilatus",
                "position_keys": ("encoder_y", "encoder_x"),
                "trajectory": ConcentricRings(radial_step_um=0.2, height_um=1.6, width_um=1.6),
                "centre_um": (20.0, -5.0),
                "exposure_s": 0.2,
                "photons_per_frame": PHOTONS,
                "probe": OPTIC,
                "optic": OPTIC,
                "options": ReconstructionOptions(
                    difference_map_iterations=30, maximum_likelihood_iterations=10, frames_to_start=5
                ),
                **changes,
            }
        )
        return SmallScan(data_folder, metadata)

    return make
