"""ophyd-async devices beside classic ones, in the same plan: it speaks protocols only."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bluesky import RunEngine
from bluesky.utils import Msg, RunEngineInterrupted
from ophyd_async.core import (
    DetectorAcquireLogic,
    DetectorDataLogic,
    DetectorTriggerLogic,
    StandardDetector,
    StreamResourceDataProvider,
    StreamResourceInfo,
    init_devices,
    soft_signal_r_and_setter,
    soft_signal_rw,
)
from ophyd_async.sim import SimMotor

from ptycho_plugin import Budget, DoseGuard, Ledger, calibrate_flux, find_beam_centre, ptycho_scan
from ptycho_plugin.devices import Beamline, simulated_beamline
from ptycho_plugin.devices.gate import ExposureGate
from ptycho_plugin.devices.hdf5_frames import DATASET, MIMETYPE, FrameFile
from ptycho_plugin.devices.stage import SimulatedStage
from ptycho_plugin.geometry import Geometry
from ptycho_plugin.ledger import Region
from ptycho_plugin.optics import ZonePlate
from ptycho_plugin.publishing.raw import dataset_from_tiled
from ptycho_plugin.publishing.raw_run_writer import RawRunWriter
from ptycho_plugin.simulation.options import SimulationOptions
from ptycho_plugin.simulation.world import World
from ptycho_plugin.trajectory import ConcentricRings

GEOMETRY = Geometry.from_wavelength(0.2e-9, distance=2.236, detector_pixel=172e-6, frame_side=48)
OPTIC = ZonePlate(diameter=80e-6, outermost_zone=100e-9, central_stop=0.0)
NO_NOISE = SimulationOptions(poisson=False, flux_drift=0.0, bad_pixels=0)
FIELD = ConcentricRings(height_um=0.5, width_um=0.5)
POINTS = len(FIELD.offsets_um())
BUDGET = Budget(dose=1e7, material="PMMA", formula="C5H8O2")


class PiezoAxis(SimMotor):
    """A motor whose position is the world's."""

    limits = (-50.0, 50.0)

    def __init__(self, world: World, axis: str) -> None:
        self._world, self._axis = world, axis
        super().__init__(units="um")

    async def connect(self, *args: Any, **kwargs: Any) -> None:
        await super().connect(*args, **kwargs)
        self.user_readback.subscribe_reading(self._follow)

    def _follow(self, reading: dict[str, Any]) -> None:
        for one in reading.values():
            self._world.move(self._axis, one["value"])


class InternalTrigger(DetectorTriggerLogic):
    async def prepare_internal(self, num: int, livetime: float, deadtime: float) -> None:
        """Expose as the signal ``exposure_time`` says."""


class FramesInFile(DetectorDataLogic):
    """Frames into one file, from the first trigger to the last."""

    def __init__(self, directory: Path, shape: tuple[int, int]) -> None:
        self._directory, self._shape = directory, shape
        self.written, self._set_written = soft_signal_r_and_setter(int)
        self.file: FrameFile | None = None

    async def prepare_unbounded(self, datakey_name: str) -> StreamResourceDataProvider:
        self.file = FrameFile(self._directory, self._shape)
        self._set_written(0)
        info = StreamResourceInfo(
            data_key=datakey_name,
            shape=self._shape,
            chunk_shape=(1, *self._shape),
            dtype_numpy="<i4",
            parameters={"dataset": DATASET, "swmr": True},
        )
        return StreamResourceDataProvider(
            uri=self.file.uri, resources=[info], mimetype=MIMETYPE, collections_written_signal=self.written
        )

    def append(self, frame: Any) -> None:
        assert self.file is not None
        self.file.append(frame)
        self._set_written(len(self.file))

    async def stop(self) -> None:
        if self.file is not None:
            self.file.close()

    def get_hinted_fields(self, datakey_name: str) -> Sequence[str]:
        return [datakey_name]


class GatedExposures(DetectorAcquireLogic):
    """One exposure a trigger, of the gate that the counters listen to."""

    def __init__(self, gate: ExposureGate, exposure_time: Any, data: FramesInFile) -> None:
        self._gate, self._exposure_time, self._data = gate, exposure_time, data
        self._exposure: asyncio.Future[Any] | None = None

    async def start_acquiring(self) -> None:
        exposing = self._gate.expose(await self._exposure_time.get_value())
        self._exposure = asyncio.ensure_future(self._keep(asyncio.wrap_future(exposing)))

    async def _keep(self, exposing: asyncio.Future[Any]) -> None:
        self._data.append((await exposing).frame)

    async def wait_for_idle(self) -> None:
        if self._exposure is not None:
            await self._exposure

    async def ensure_stopped(self) -> None:
        await self.wait_for_idle()
        self._exposure = None


class Camera(StandardDetector):
    """What a scan needs of a camera, as signals and logics of ophyd-async."""

    def __init__(self, classic: Any, directory: Path) -> None:
        self.frame_shape = classic.frame_shape
        row, column = (signal.get() for signal in (classic.beam_centre_row, classic.beam_centre_column))
        self.exposure_time = soft_signal_rw(float, 0.2, units="s")
        self.beam_centre_row = soft_signal_rw(float, row)
        self.beam_centre_column = soft_signal_rw(float, column)
        self.beam_centre_measured = soft_signal_rw(bool)
        self.mask_version = soft_signal_rw(str)
        self.roi_side = soft_signal_rw(int, 48)
        self.roi_counts = soft_signal_rw(int)
        data = FramesInFile(directory, classic.frame_shape)
        acquire = GatedExposures(classic._gate, self.exposure_time, data)
        self.add_detector_logics(InternalTrigger(), acquire, data)
        self.add_config_signals(self.exposure_time, self.mask_version)
        super().__init__()

    @property
    def frame_key(self) -> str:
        return self.name


@pytest.fixture
def make_classic(data_folder: Path) -> Callable[[], Any]:
    """Return a beamline of classic devices, on a world of its own that begins as any other."""
    return lambda: simulated_beamline(
        data_folder, time_factor=0, geometry=GEOMETRY, optic=OPTIC, options=NO_NOISE
    )


@pytest.fixture
def mixed(make_classic: Callable[[], Any], engine: RunEngine, data_folder: Path) -> Beamline:
    """The same with a stage and a camera of ophyd-async."""
    classic = make_classic()
    world = classic.shutter._world
    with init_devices():
        piezo_y = PiezoAxis(world, "stage_row")
        piezo_x = PiezoAxis(world, "stage_column")
        camera = Camera(classic.detector, data_folder)
    return replace(classic, stage=SimulatedStage(piezo_y, piezo_x), detector=camera)


@contextmanager
def film(beamline: Beamline, folder: Path) -> Iterator[tuple[Ledger, Region]]:
    """Bring a region with a budget into the beam."""
    place = beamline.place_um("sample")
    for axis, value in zip((beamline.coarse.y, beamline.coarse.x), place, strict=True):
        axis.set(value).wait(timeout=5)
    with Ledger(folder / f"{beamline.detector.name}.ledger", new=True) as ledger:
        ledger.samples.mount("film")
        region = ledger.samples.place_region("film", "1", "A", stage_um=place, reach_um=1.5)
        ledger.samples.set_budget(region, BUDGET)
        yield ledger, region


def scanned(engine: RunEngine, beamline: Beamline, tiled: Any, folder: Path) -> Any:
    """Return what Tiled has of a guarded scan."""
    token = engine.subscribe(RawRunWriter(tiled))
    engine(find_beam_centre(beamline))
    engine(calibrate_flux(beamline, frames=2))
    with film(beamline, folder) as (ledger, region):
        guard = DoseGuard(beamline, ledger, region, repeat=1)
        (uid,) = engine(ptycho_scan(beamline, trajectory=FIELD, guard=guard))
        assert list(ledger.exposures(region).status) == ["done"] * POINTS
    engine.unsubscribe(token)
    return dataset_from_tiled(tiled, uid)


def test_a_mixed_beamline_measures_the_same(
    engine: RunEngine, make_classic: Callable[[], Any], mixed: Beamline, tiled: Any, tmp_path: Path
) -> None:
    expected, found = (scanned(engine, beamline, tiled, tmp_path) for beamline in (make_classic(), mixed))
    np.testing.assert_array_equal(found.frames, expected.frames)
    np.testing.assert_array_equal(found.positions, expected.positions)


def test_a_pause_in_an_exposure_costs_no_frame_and_no_second_one(
    engine: RunEngine, mixed: Beamline, tmp_path: Path
) -> None:
    engine(calibrate_flux(mixed, frames=2))
    triggers = count()

    def pause_in_the_third_exposure(message: Msg) -> None:
        if message.command == "trigger" and message.obj is mixed.detector and next(triggers) == 2:
            engine.loop.create_task(engine._request_pause_coro())

    engine.msg_hook = pause_in_the_third_exposure
    frames: list[int] = []
    engine.subscribe(lambda _, datum: frames.append(datum["indices"]["stop"]), "stream_datum")
    with film(mixed, tmp_path) as (ledger, region):
        with pytest.raises(RunEngineInterrupted):
            engine(ptycho_scan(mixed, trajectory=FIELD, guard=DoseGuard(mixed, ledger, region, repeat=1)))
        assert mixed.shutter.position == "closed"
        engine.resume()
        assert list(ledger.exposures(region).status) == ["done"] * POINTS
    assert frames == list(range(1, POINTS + 1))
    assert next(triggers) == POINTS
