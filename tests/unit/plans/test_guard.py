"""The guard on a simulated film: the ledger says what the sample received, whatever interrupts the plan."""

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.plans as bp
import bluesky.preprocessors as bpp
import numpy as np
import pytest
from bluesky import RunEngine
from bluesky.utils import FailedStatus, Msg, RunEngineInterrupted

from ptycho_plugin.devices import Beamline, simulated_beamline
from ptycho_plugin.devices.hdf5_frames import FrameFile
from ptycho_plugin.errors import DoseRefusal, InputError, LedgerError, StalledPlanError
from ptycho_plugin.flux import LOSSLESS, FluxCalibration
from ptycho_plugin.geometry import Geometry
from ptycho_plugin.ledger import Budget, Exposures, Ledger, Region
from ptycho_plugin.optics import ZonePlate
from ptycho_plugin.plans import Sample, ptycho_scan
from ptycho_plugin.plans.acquisition import acquire
from ptycho_plugin.plans.guard import DoseGuard
from ptycho_plugin.plans.stubs import expose_point
from ptycho_plugin.simulation.options import SimulationOptions
from ptycho_plugin.trajectory import ConcentricRings

POINTS = [(0.0, 0.0), (0.0, 0.4), (0.4, 0.4)]
EXPOSURE_S = 0.2
GEOMETRY = Geometry.from_wavelength(0.2e-9, distance=2.236, detector_pixel=172e-6, frame_side=48)
OPTIC = ZonePlate(diameter=80e-6, outermost_zone=100e-9, central_stop=0.0)
TRUTH = SimulationOptions(flux_drift=0.02, flux_drift_s=1.0, seed=5)
BUDGET = Budget(dose=1e6, material="PMMA", formula="C5H8O2")
Plan = Callable[[Beamline], Iterator[Msg]]


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
    true = TRUTH.monitor_counts_per_photon
    said = {
        "photons_per_count": 1 / true,
        "relative_sigma": 0.002,
        "scatter": 0.005,
        "counts_per_frame": true * TRUTH.photons_per_second * EXPOSURE_S,
        "frames": 10,
        "exposure_s": EXPOSURE_S,
        "energy_eV": GEOMETRY.energy_eV,
        "gain": 1.0,
        "transmission": 1.0,
        "path": LOSSLESS,
        "run_uid": "flux-run",
        "date": datetime.now(UTC),
    }
    return FluxCalibration(**said | changes)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(tmp_path / "film.ledger", new=True) as ledger:
        # No power is lost here, and a busy disk would take most of the time.
        ledger._database._connection.execute("PRAGMA synchronous = OFF")
        ledger.samples.mount("film")
        yield ledger


@pytest.fixture
def region(ledger: Ledger, beamline: Beamline) -> Region:
    region = ledger.samples.place_region("film", "1", "A", stage_um=beamline.place_um("sample"), reach_um=1.5)
    ledger.samples.set_budget(region, BUDGET)
    return region


@pytest.fixture
def guard(beamline: Beamline, ledger: Ledger, region: Region) -> DoseGuard:
    return DoseGuard(beamline, ledger, region, repeat=2)


def careful(beamline: Beamline) -> Iterator[Msg]:
    """This package's own way to expose points."""

    def exposures() -> Iterator[Msg]:
        for point in POINTS:
            yield from expose_point(beamline, point)

    return acquire(beamline, exposures(), EXPOSURE_S, {})


def careless(beamline: Beamline) -> Iterator[Msg]:
    """One of bluesky's plans with a shutter, which an interruption makes expose again."""

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


plans = pytest.mark.parametrize("plan", [careful, careless])


def received(beamline: Beamline) -> float:
    return beamline.shutter._world.photons_on_sample


def is_open(beamline: Beamline) -> bool:
    return beamline.shutter._world._open


def assert_told(ledger: Ledger, region: Region, beamline: Beamline) -> Exposures:
    """The ledger's photons are those that the sample received, and every exposure is settled."""
    assert not is_open(beamline)
    exposures = ledger.exposures(region)
    told, sigma = exposures.photons.sum(), exposures.photons_uncertainty.sum()
    assert set(exposures.status) <= {"done", "withdrawn"}
    assert abs(told - received(beamline)) <= 3 * sigma
    return exposures


def assert_complete(
    documents: Any, ledger: Ledger, region: Region, beamline: Beamline, runs: int = 1
) -> None:
    exposures = assert_told(ledger, region, beamline)
    exposures = exposures.where(exposures.status == "done")
    assert exposures.point.tolist() == list(range(len(POINTS))) * runs
    np.testing.assert_allclose(exposures.start_um, POINTS * runs, atol=1e-6)
    assert [event["seq_num"] for event in documents.events()] == [1, 2, 3] * runs
    places = [(event["data"]["encoder_y"], event["data"]["encoder_x"]) for event in documents.events()]
    np.testing.assert_allclose(places, POINTS * runs, atol=1e-6)


@plans
def test_a_run_is_in_the_ledger_as_the_sample_received_it(
    engine: RunEngine, documents: Any, beamline: Any, ledger: Any, region: Any, guard: Any, plan: Plan
) -> None:
    (uid,) = engine(guard(plan(beamline)))
    assert_complete(documents, ledger, region, beamline)
    exposures = ledger.exposures(region)
    assert set(exposures.run_uid) == {uid}
    assert set(exposures.repeat) == {2}
    assert exposures.open_s == pytest.approx(EXPOSURE_S + 0.004)


Interrupt = Callable[[RunEngine], object]


def hard_pause(engine: RunEngine) -> object:
    return engine.loop.create_task(engine._request_pause_coro())


def deferred_pause(engine: RunEngine) -> object:
    return engine.loop.create_task(engine._request_pause_coro(defer=True))


def abort(engine: RunEngine) -> object:
    return engine.loop.create_task(engine._abort_coro("the test says so"))


def stop(engine: RunEngine) -> object:
    return engine.loop.create_task(engine._stop_coro())


def moments(engine: RunEngine, plan: Any, number: int) -> list[int]:
    """Run a plan, and return some numbers of its messages in the run, and that of the run's closing."""
    commands: list[str] = []
    engine.msg_hook = lambda message: commands.append(message.command)
    engine(plan)
    engine.msg_hook = None
    closing = commands.index("close_run")
    in_run = range(commands.index("open_run"), closing)
    return [*sorted(np.random.default_rng(7).choice(in_run, number, replace=False).tolist()), closing]


def run_interrupted(engine: RunEngine, plan: Any, at: int, interrupt: Interrupt) -> None:
    """Run a plan that is interrupted while, or just after, the message of a number is at work."""
    numbers = iter(range(10_000))
    engine.msg_hook = lambda message: interrupt(engine) if next(numbers) == at else None
    try:
        engine(plan)
    finally:
        engine.msg_hook = None


@plans
def test_a_pause_at_any_message_exposes_no_point_twice_and_loses_none(
    engine: RunEngine, documents: Any, beamline: Any, ledger: Any, region: Any, guard: Any, plan: Plan
) -> None:
    some = moments(engine, guard(plan(beamline)), 8)
    for at in some:
        with pytest.raises(RunEngineInterrupted):
            run_interrupted(engine, guard(plan(beamline)), at, hard_pause)
        assert not is_open(beamline), f"the shutter is open in a pause at message {at}"
        engine.resume()
    assert_complete(documents, ledger, region, beamline, 1 + len(some))


@plans
def test_a_suspender_exposes_no_point_twice_and_loses_none(
    engine: RunEngine, documents: Any, beamline: Any, ledger: Any, region: Any, guard: Any, plan: Plan
) -> None:
    while_suspended = []

    async def beam_is_back() -> None:
        while_suspended.append(is_open(beamline))

    some = moments(engine, guard(plan(beamline)), 4)
    for at in some:
        suspend = lambda engine: engine.request_suspend(beam_is_back)  # noqa: E731
        run_interrupted(engine, guard(plan(beamline)), at, suspend)
    assert while_suspended == [False] * len(some)
    assert_complete(documents, ledger, region, beamline, 1 + len(some))


def test_a_deferred_pause_exposes_no_point_twice_and_loses_none(
    engine: RunEngine, documents: Any, beamline: Any, ledger: Any, region: Any, guard: Any
) -> None:
    with pytest.raises(RunEngineInterrupted):
        run_interrupted(engine, guard(careless(beamline)), 30, deferred_pause)
    assert not is_open(beamline)
    engine.resume()
    assert_complete(documents, ledger, region, beamline)


@plans
@pytest.mark.parametrize("end", [abort, stop])
def test_a_run_that_is_ended_leaves_the_shutter_closed_and_nothing_unsettled(
    engine: RunEngine, beamline: Any, ledger: Any, region: Any, guard: Any, plan: Plan, end: Interrupt
) -> None:
    for at in moments(engine, guard(plan(beamline)), 5):
        with pytest.raises(RunEngineInterrupted):
            run_interrupted(engine, guard(plan(beamline)), at, end)
        assert engine.state == "idle"
        assert engine.rewindable
        assert_told(ledger, region, beamline)


@plans
def test_a_camera_that_fails_after_its_exposure_leaves_it_counted(
    engine: RunEngine, documents: Any, beamline: Any, ledger: Any, region: Any, guard: Any, plan: Plan,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def full_disk(file: FrameFile, frame: Any) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(FrameFile, "append", full_disk)
    with pytest.raises(FailedStatus):
        engine(guard(plan(beamline)))
    exposures = assert_told(ledger, region, beamline)
    assert exposures.status.tolist() == ["done"]
    assert not documents.events()
    (done,) = documents.events("dose")
    assert done["data"]["dose_photons"] == exposures.photons.sum()
    assert done["data"]["dose_uncertain"] == 0


@plans
def test_a_camera_that_dies_leaves_its_exposure_uncertain_at_the_upper_bound(
    engine: RunEngine, beamline: Any, ledger: Any, region: Any, guard: Any, plan: Plan,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def dead(exposure_s: float) -> Any:
        raise RuntimeError("the camera died")

    monkeypatch.setattr(beamline.shutter._world, "expose", dead)
    with pytest.raises(FailedStatus):
        engine(guard(plan(beamline)))
    assert not is_open(beamline)
    exposures = ledger.exposures(region)
    assert exposures.status.tolist() == ["under way"]
    assert exposures.photons.sum() > received(beamline)


def test_without_a_guard_bluesky_exposes_again(engine: RunEngine, beamline: Any) -> None:
    def pause_once(message: Msg) -> None:
        if message.command == "trigger" and message.obj is beamline.detector:
            engine.msg_hook = None
            hard_pause(engine)

    engine.msg_hook = pause_once
    with pytest.raises(RunEngineInterrupted):
        engine(careless(beamline))
    with pytest.raises(RuntimeError, match="multiple indices"):
        engine.resume()
    assert received(beamline) > 1.9 * EXPOSURE_S * TRUTH.photons_per_second


def test_a_halt_closes_the_shutter_and_leaves_the_exposure_uncertain(
    engine: RunEngine, beamline: Any, ledger: Any, region: Any, guard: Any
) -> None:
    def halt(engine: RunEngine) -> object:
        return engine.loop.create_task(engine._halt_coro())

    def hook(message: Msg) -> None:
        if message.command == "trigger" and message.obj is beamline.detector:
            halt(engine)

    engine.msg_hook = hook
    with pytest.raises(RunEngineInterrupted):
        engine(guard(careless(beamline)))
    engine.rewindable = True  # which a halt leaves as the guard had it
    assert not is_open(beamline)
    assert ledger.exposures(region).photons.sum() >= received(beamline)
    engine.msg_hook = None
    engine(guard(careless(beamline)))
    assert ledger.exposures(region).status.tolist() == ["uncertain", *["done"] * len(POINTS)]


def test_the_budget_is_never_passed_and_the_refusal_names_the_numbers(
    engine: RunEngine, beamline: Any, ledger: Any, region: Any
) -> None:
    engine(DoseGuard(beamline, ledger, region)(careful(beamline)))
    spent = ledger_peak(beamline, ledger, region)
    ledger.samples.set_budget(region, BUDGET.model_copy(update={"dose": 1.5 * spent}))
    before = received(beamline)
    said = r"point 1 would take region 'A' .* in PMMA: \S+ kGy so far, up to \S+ kGy by this .*, \S+ kGy"
    with pytest.raises(DoseRefusal, match=said):
        engine(DoseGuard(beamline, ledger, region)(careful(beamline)))
    assert_told(ledger, region, beamline)
    assert spent < ledger_peak(beamline, ledger, region) <= 1.5 * spent
    assert received(beamline) > before
    assert engine.rewindable


def ledger_peak(beamline: Any, ledger: Any, region: Any) -> float:
    """What a session that starts now reads of the region's dose."""
    return float(DoseGuard(beamline, ledger, region)._account.update()["dose"]["peak_Gy"])


def test_a_guard_that_went_along_knows_what_one_that_starts_anew_reads(
    engine: RunEngine, beamline: Any, ledger: Any, region: Any, guard: Any, documents: Any
) -> None:
    for _ in range(2):
        engine(guard(careless(beamline)))
    first, second = documents.events("dose")
    peak = ledger_peak(beamline, ledger, region)
    assert second["data"]["dose_peak_Gy"] == pytest.approx(peak)
    assert documents.of("start")[1]["dose"]["peak_Gy"] == pytest.approx(first["data"]["dose_peak_Gy"])
    assert documents.of("start")[1]["dose"]["exposures"] == len(POINTS)
    start = documents.of("start")[0]
    assert [start[key] for key in ("sample", "area", "region", "repeat")] == ["film", "1", "A", 2]


REFUSED = {
    "uncalibrated": (lambda b: b.flux.calibration.set(""), InputError, "not calibrated"),
    "gain": (lambda b: b.flux.gain.set(10.0), InputError, "calibrated at gain 1, it is at 10"),
    "energy": (
        lambda b: b.flux.calibration.set(calibration(energy_eV=7000.0).model_dump_json()),
        InputError,
        "calibrated at 7000 eV",
    ),
    "elsewhere": (lambda b: b.coarse.y.set(b.place_um("sample")[0] + 2.0), LedgerError, "reaches 1.5"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_counted_is_refused_before_the_shutter_opens(
    engine: RunEngine, beamline: Any, ledger: Any, region: Any, guard: Any, case: str
) -> None:
    change, error, said = REFUSED[case]
    change(beamline).wait(timeout=5)
    with pytest.raises(error, match=said):
        engine(guard(careful(beamline)))
    assert not beamline.shutter.openings_s
    assert not len(ledger.exposures_of_run("")) + len(ledger.exposures(region))
    assert engine.rewindable


def test_a_ledger_that_takes_no_entry_lets_nothing_be_exposed(
    engine: RunEngine, beamline: Any, ledger: Any, region: Any, guard: Any, monkeypatch: Any
) -> None:
    confirm, calls = ledger.confirm, []

    def full(*args: Any) -> None:
        calls.append(args)
        if len(calls) > 1:
            raise LedgerError("the ledger cannot be written: the disk is full")
        confirm(*args)

    monkeypatch.setattr(ledger, "confirm", full)
    with pytest.raises(LedgerError, match="disk is full"):
        engine(guard(careless(beamline)))
    assert not is_open(beamline)
    assert len(calls) == 2, "it is told once"
    exposures = ledger.exposures(region)
    assert exposures.status.tolist() == ["done", "under way"]
    assert exposures.photons.sum() >= received(beamline)
    assert engine.rewindable


def test_as_a_preprocessor_it_guards_every_plan_once(
    engine: RunEngine, documents: Any, beamline: Any, ledger: Any, region: Any, guard: Any
) -> None:
    engine.preprocessors.append(guard)
    engine(careless(beamline))
    engine(guard(careful(beamline)))
    assert_complete(documents, ledger, region, beamline, 2)


def test_a_sample_without_regions_is_counted(
    engine: RunEngine, beamline: Any, ledger: Any, documents: Any
) -> None:
    (uid,) = engine(DoseGuard(beamline, ledger, "film", kind="alignment")(careful(beamline)))
    exposures = ledger.exposures_of_run(uid)
    assert set(exposures.kind) == {"alignment"}
    assert abs(exposures.photons.sum() - received(beamline)) <= 3 * exposures.photons_uncertainty.sum()
    assert documents.of("start")[0]["sample"] == "film"


def opened(beamline: Any, then: Any) -> Iterator[Msg]:
    yield from bps.open_run()
    yield from bps.mv(beamline.shutter, "open")
    yield from then
    yield from bps.mv(beamline.shutter, "closed")
    yield from bps.close_run()


def test_nothing_moves_while_the_shutter_is_open(
    engine: RunEngine, beamline: Any, ledger: Any, region: Any, guard: Any
) -> None:
    with pytest.raises(DoseRefusal, match="stage_y is to move with the shutter open"):
        engine(guard(opened(beamline, bps.mv(beamline.stage.y, 0.1))))
    exposures = assert_told(ledger, region, beamline)
    assert exposures.open_s == pytest.approx(0.004), "it was open before the move"


def test_one_opening_is_for_one_exposure(
    engine: RunEngine, beamline: Any, ledger: Any, region: Any, guard: Any
) -> None:
    detectors = [beamline.flux, beamline.encoder, beamline.detector]
    plan = opened(beamline, bps.repeat(lambda: bps.trigger_and_read(detectors), 2))
    with pytest.raises(DoseRefusal, match="is to be exposed again"):
        engine(guard(bpp.stage_wrapper(plan, [beamline.detector])))
    assert len(assert_told(ledger, region, beamline)) == 1


@pytest.mark.parametrize("stale", [False, True])
def test_a_monitor_that_was_not_armed_leaves_the_exposure_uncertain_and_ends_the_plan(
    engine: RunEngine, beamline: Any, ledger: Any, region: Any, guard: Any, stale: bool
) -> None:
    def expose() -> Iterator[Msg]:
        yield from bps.mv(beamline.shutter, "open")
        yield from bps.trigger_and_read([beamline.detector])
        yield from bps.mv(beamline.shutter, "closed")

    def plan() -> Iterator[Msg]:
        yield from bps.open_run()
        if stale:
            yield from bps.trigger_and_read([beamline.flux, beamline.detector], "dark")
        yield from expose()
        yield from expose()

    with pytest.raises(LedgerError, match=r"point 0, attempt 1.* is under way"):
        engine(guard(bpp.stage_wrapper(plan(), [beamline.detector])))
    exposures = ledger.exposures(region)
    assert exposures.status.tolist() == ["under way"]
    assert received(beamline) <= exposures.photons.sum() < 1.2 * received(beamline)
    assert not is_open(beamline)


def test_a_shutter_outside_a_run_stays_closed(engine: RunEngine, beamline: Any, guard: Any) -> None:
    with pytest.raises(DoseRefusal, match="outside a run"):
        engine(guard(bps.mv(beamline.shutter, "open")))
    assert not beamline.shutter.openings_s


def test_a_plan_that_is_only_looked_at_exposes_nothing(beamline: Any, guard: Any, ledger: Any) -> None:
    messages = list(guard(careful(beamline)))
    assert [m.obj.name for m in messages if m.command == "trigger"].count("pilatus") == len(POINTS)
    assert not beamline.shutter.openings_s


def test_a_plan_that_stands_still_has_its_shutter_closed_and_ends(
    engine: RunEngine, beamline: Any, ledger: Any, region: Any
) -> None:
    guard, closed = DoseGuard(beamline, ledger, region, patience_s=0.05), threading.Event()
    beamline.detector.exposure_time.set(0.01).wait(timeout=5)
    beamline.shutter.state.subscribe(
        lambda value, **_: closed.set() if beamline.shutter.openings_s else None, run=False
    )

    def stand_still() -> Iterator[Msg]:
        assert closed.wait(timeout=10), "the watchdog needs no RunEngine: this blocks it"
        yield Msg("null")

    with pytest.raises(StalledPlanError, match=r"closed after 0.05 s without any progress"):
        engine(guard(opened(beamline, stand_still())))
    assert_told(ledger, region, beamline)


SMALL = ConcentricRings(height_um=0.5, width_um=0.5)


def test_a_scan_takes_a_guard(
    engine: RunEngine, beamline: Any, ledger: Any, region: Any, guard: Any, documents: Any
) -> None:
    plan = ptycho_scan(beamline, trajectory=SMALL, sample=Sample(name="film 7"), guard=guard)
    (uid,) = engine(plan)
    exposures = assert_told(ledger, region, beamline)
    assert set(exposures.run_uid) == {uid}
    assert len(exposures) == len(SMALL.offsets_um()) == documents.events("dose")[0]["data"]["dose_exposures"]
    start = documents.of("start")[0]
    assert [start[key] for key in ("area", "region", "repeat")] == ["1", "A", 2]
    assert start["sample"]["name"] == "film 7", "what the plan says of its sample stays"
    assert start["dose"]["peak_Gy"] == 0
    assert start["dose"]["budget_Gy"] == BUDGET.dose


def test_a_scan_that_cannot_end_within_its_budget_or_region_is_not_begun(
    engine: RunEngine, beamline: Any, ledger: Any, region: Any, guard: Any, documents: Any
) -> None:
    engine(ptycho_scan(beamline, trajectory=SMALL, guard=guard))
    spent = documents.events("dose")[0]["data"]["dose_peak_Gy"]
    documents.clear()
    ledger.samples.set_budget(region, BUDGET.model_copy(update={"dose": 1.9 * spent}))
    before = received(beamline)
    with pytest.raises(DoseRefusal, match=r"the scan would take .* to \S+ kGy, from \S+ kGy so far"):
        engine(ptycho_scan(beamline, trajectory=SMALL, guard=guard))
    with pytest.raises(DoseRefusal, match=r"the scan goes 2.\d+ um from the centre of region 'A'"):
        engine(ptycho_scan(beamline, trajectory=SMALL, centre_um=(2.0, 0.0), guard=guard))
    assert received(beamline) == before
    assert not documents.of("start")
    ledger.samples.set_budget(region, BUDGET.model_copy(update={"dose": 2.1 * spent}))
    engine(ptycho_scan(beamline, trajectory=SMALL, guard=guard))
    assert documents.events("dose")[0]["data"]["dose_peak_Gy"] == pytest.approx(2 * spent, rel=0.02)
