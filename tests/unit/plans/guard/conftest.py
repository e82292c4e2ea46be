"""A simulated film in the beam, a ledger that knows it, and plans that expose three points of it."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.plans as bp
import numpy as np
import pytest
from bluesky import RunEngine
from bluesky.utils import Msg, RunEngineInterrupted

from ptycho_plugin.devices import Beamline, simulated_beamline
from ptycho_plugin.flux import FluxCalibration
from ptycho_plugin.geometry import Geometry
from ptycho_plugin.ledger import Budget, Exposures, Ledger, Region
from ptycho_plugin.optics import ZonePlate
from ptycho_plugin.plans.acquisition import acquire
from ptycho_plugin.plans.guard import DoseGuard
from ptycho_plugin.plans.stubs import expose_point
from ptycho_plugin.simulation.calibration import true_calibration
from ptycho_plugin.simulation.options import SimulationOptions

POINTS = [(0.0, 0.0), (0.0, 0.4), (0.4, 0.4)]
EXPOSURE_S = 0.2
GEOMETRY = Geometry.from_wavelength(0.2e-9, distance=2.236, detector_pixel=172e-6, frame_side=48)
OPTIC = ZonePlate(diameter=80e-6, outermost_zone=100e-9, central_stop=0.0)
TRUTH = SimulationOptions(flux_drift=0.02, flux_drift_s=1.0, seed=5)
BUDGET = Budget(dose=1e6, material="PMMA", formula="C5H8O2")


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Beamline:
    frames = tmp_path_factory.mktemp("frames")
    return simulated_beamline(frames, time_factor=0.0, geometry=GEOMETRY, optic=OPTIC, options=TRUTH)


@pytest.fixture
def beamline(simulated: Beamline) -> Beamline:
    """A calibrated one, as new, with the middle of the film at piezo position (0, 0)."""
    row, column = simulated.place_um("sample")
    for device, value in (
        (simulated.coarse.y, row),
        (simulated.coarse.x, column),
        (simulated.flux.gain, 1.0),
        (simulated.flux.calibration, calibration().model_dump_json()),
        (simulated.detector.exposure_time, EXPOSURE_S),
    ):
        device.set(value).wait(timeout=5)
    simulated.shutter.openings_s.clear()
    simulated.shutter._world._photons_on_sample = 0.0
    return simulated


def calibration(**changes: Any) -> FluxCalibration:
    said = true_calibration(TRUTH, GEOMETRY.energy_eV, EXPOSURE_S).model_dump()
    return FluxCalibration(**said | changes)


@dataclass(frozen=True)
class Film:
    """A region of a sample, and what its world knows."""

    beamline: Beamline
    ledger: Ledger
    region: Region

    points = POINTS
    exposure_s = EXPOSURE_S
    truth = TRUTH
    budget = BUDGET
    calibration = staticmethod(calibration)

    @property
    def received(self) -> float:
        """Photons."""
        return self.beamline.shutter._world.photons_on_sample

    @property
    def is_open(self) -> bool:
        return self.beamline.shutter._world._open

    def peak(self) -> float:
        """What a session that starts now reads of the region's dose, in Gy."""
        return float(DoseGuard(self.beamline, self.ledger, self.region)._account.update()["dose"]["peak_Gy"])

    def careful(self) -> Iterator[Msg]:
        """This package's own way to expose points."""

        def exposures() -> Iterator[Msg]:
            for point in POINTS:
                yield from expose_point(self.beamline, point)

        return acquire(self.beamline, exposures(), EXPOSURE_S, {})

    def careless(self) -> Iterator[Msg]:
        """One of bluesky's plans with a shutter, which an interruption makes expose again."""
        beamline = self.beamline

        def per_step(detectors: Any, step: Any, pos_cache: Any) -> Iterator[Msg]:
            yield from bps.move_per_step(step, pos_cache)
            yield from bps.mv(beamline.shutter, "open")
            yield from bps.trigger_and_read([*detectors, *step])
            yield from bps.mv(beamline.shutter, "closed")

        rows, columns = zip(*POINTS, strict=True)
        return bp.list_scan(
            [beamline.flux, beamline.encoder, beamline.detector],
            *(beamline.stage.y, rows),
            *(beamline.stage.x, columns),
            per_step=per_step,
        )

    def assert_told(self) -> Exposures:
        """The ledger's photons are those that the sample received, and every exposure is settled."""
        assert not self.is_open
        exposures = self.ledger.exposures(self.region)
        told, sigma = exposures.photons.sum(), exposures.photons_uncertainty.sum()
        assert set(exposures.status) <= {"done", "withdrawn"}
        assert abs(told - self.received) <= 3 * sigma
        return exposures

    def assert_complete(self, documents: Any, runs: int = 1) -> None:
        """Every point was exposed once, and its event is there, in each of some runs."""
        exposures = self.assert_told()
        exposures = exposures.where(exposures.status == "done")
        assert exposures.point.tolist() == list(range(len(POINTS))) * runs
        np.testing.assert_allclose(exposures.start_um, POINTS * runs, atol=1e-6)
        assert [event["seq_num"] for event in documents.events()] == [1, 2, 3] * runs
        places = [(event["data"]["encoder_y"], event["data"]["encoder_x"]) for event in documents.events()]
        np.testing.assert_allclose(places, POINTS * runs, atol=1e-6)


@pytest.fixture
def film(beamline: Beamline, tmp_path: Path) -> Iterator[Film]:
    with Ledger(tmp_path / "film.ledger", new=True) as ledger:
        # No power is lost here, and a busy disk would take most of the time.
        ledger._database._connection.execute("PRAGMA synchronous = OFF")
        ledger.samples.mount("film")
        region = ledger.samples.place_region(
            "film", "1", "A", stage_um=beamline.place_um("sample"), reach_um=1.5
        )
        ledger.samples.set_budget(region, BUDGET)
        yield Film(beamline, ledger, region)


@pytest.fixture
def guard(film: Film) -> DoseGuard:
    return DoseGuard(film.beamline, film.ledger, film.region, repeat=2)


@pytest.fixture(params=["careful", "careless"])
def plan(request: pytest.FixtureRequest, film: Film) -> Callable[[], Iterator[Msg]]:
    return getattr(film, request.param)


RunUntil = Callable[[Iterator[Msg], Callable[[Msg], bool], Callable[[RunEngine], object]], None]


@pytest.fixture
def run_until(engine: RunEngine) -> RunUntil:
    """Run a plan that is interrupted while, or just after, the first message of a kind is at work."""

    def run(plan: Iterator[Msg], at: Callable[[Msg], bool], interrupt: Callable[[RunEngine], object]) -> None:
        pending = [interrupt]

        def hook(message: Msg) -> None:
            if pending and at(message):
                pending.pop()(engine)

        engine.msg_hook = hook
        try:
            engine(plan)
        finally:
            engine.msg_hook = None

    return run


@pytest.fixture
def at_random_messages(engine: RunEngine, run_until: RunUntil) -> Callable[..., Iterator[tuple[int, int]]]:
    """Interrupt repeats of a scan, each at one of its messages, and yield their numbers and the messages'."""

    def interrupted(
        scan: Callable[..., Iterator[Msg]], interrupt: Callable[[RunEngine], object], seed: int
    ) -> Iterator[tuple[int, int]]:
        commands: list[str] = []
        engine.msg_hook = lambda message: commands.append(message.command)
        engine(scan(repeat=1))
        engine.msg_hook = None
        some = np.random.default_rng(seed).choice(
            range(commands.index("open_run"), len(commands) - 2), 10, replace=False
        )
        for repeat, at in enumerate(sorted(some.tolist()), start=10):
            numbers = iter(range(10_000))
            with suppress(RunEngineInterrupted):  # it may be over before, as fast as it goes
                run_until(
                    scan(repeat=repeat), lambda _, at=at, numbers=numbers: next(numbers) == at, interrupt
                )
            yield repeat, at

    return interrupted
