"""What the guard refuses, what it keeps, and when it closes the shutter itself."""

import threading
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
import numpy as np
import pytest
from bluesky import RunEngine
from bluesky.utils import Msg

from ptycho_plugin.devices.beamline import GatedPoints
from ptycho_plugin.errors import DoseRefusal, InputError, LedgerError, StalledPlanError
from ptycho_plugin.ledger import Ledger
from ptycho_plugin.plans import Sample, ptycho_fly_scan, ptycho_scan
from ptycho_plugin.plans.acquisition import acquire
from ptycho_plugin.plans.guard import DoseGuard
from ptycho_plugin.trajectory import ConcentricRings


def test_the_budget_is_never_passed_and_the_refusal_names_the_numbers(engine: RunEngine, film: Any) -> None:
    engine(DoseGuard(film.beamline, film.ledger, film.region)(film.careful()))
    spent = film.peak()
    film.ledger.samples.set_budget(film.region, film.budget.model_copy(update={"dose": 1.5 * spent}))
    before = film.received
    said = r"point 1 would take region 'A' .* in PMMA: \S+ kGy so far, up to \S+ kGy by this .*, \S+ kGy"
    with pytest.raises(DoseRefusal, match=said):
        engine(DoseGuard(film.beamline, film.ledger, film.region)(film.careful()))
    film.assert_told()
    assert spent < film.peak() <= 1.5 * spent
    assert film.received > before
    assert engine.rewindable


def test_what_another_session_exposes_during_a_run_is_held_against_the_budget(
    engine: RunEngine, film: Any
) -> None:
    engine(DoseGuard(film.beamline, film.ledger, film.region)(film.careful()))
    budget = 2.5 * film.peak()
    film.ledger.samples.set_budget(film.region, film.budget.model_copy(update={"dose": budget}))
    intend, numbers = film.ledger.intend, iter(range(10))

    def seen(intent: Any, **kwargs: Any) -> int:
        if next(numbers) == 0:
            with Ledger(film.ledger._database.path) as another:
                for uid in ("a", "b", "c"):
                    another.intend(intent.model_copy(update={"run_uid": uid}))
        return int(intend(intent, **kwargs))

    film.ledger.intend = seen
    with pytest.raises(DoseRefusal, match="point 1 would take region 'A'"):
        engine(DoseGuard(film.beamline, film.ledger, film.region)(film.careful()))
    assert next(numbers) == 1


def test_a_guard_that_went_along_knows_what_one_that_starts_anew_reads(
    engine: RunEngine, film: Any, guard: Any, documents: Any
) -> None:
    for _ in range(2):
        engine(guard(film.careless()))
    first, second = documents.events("dose")
    peak = film.peak()
    assert second["data"]["dose_peak_Gy"] == pytest.approx(peak)
    assert documents.of("start")[1]["dose"]["peak_Gy"] == pytest.approx(first["data"]["dose_peak_Gy"])
    assert documents.of("start")[1]["dose"]["exposures"] == len(film.points)
    start = documents.of("start")[0]
    assert [start[key] for key in ("sample", "area", "region", "repeat")] == ["film", "1", "A", 2]


REFUSED = {
    "uncalibrated": (lambda film: film.beamline.flux.calibration.set(""), InputError, "not calibrated"),
    "gain": (lambda film: film.beamline.flux.gain.set(10.0), InputError, "at gain 1, it is at 10"),
    "energy": (
        lambda film: film.beamline.flux.calibration.set(film.calibration(energy_eV=7000.0).model_dump_json()),
        InputError,
        "calibrated at 7000 eV",
    ),
    "elsewhere": (lambda film: film.beamline.coarse.y.set(2.0), LedgerError, "reaches 1.5"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_counted_is_refused_before_the_shutter_opens(
    engine: RunEngine, film: Any, guard: Any, case: str
) -> None:
    change, error, said = REFUSED[case]
    change(film).wait(timeout=5)
    with pytest.raises(error, match=said):
        engine(guard(film.careful()))
    assert not film.beamline.shutter.openings_s
    assert not len(film.ledger.exposures(film.region))
    assert engine.rewindable


def test_a_ledger_that_takes_no_entry_lets_nothing_be_exposed(
    engine: RunEngine, film: Any, guard: Any, monkeypatch: Any
) -> None:
    confirm, calls = film.ledger.confirm, []

    def full(*args: Any) -> None:
        calls.append(args)
        if len(calls) > 1:
            raise LedgerError("the ledger cannot be written: the disk is full")
        confirm(*args)

    monkeypatch.setattr(film.ledger, "confirm", full)
    with pytest.raises(LedgerError, match="disk is full"):
        engine(guard(film.careless()))
    assert not film.is_open
    assert len(calls) == 2, "it is told once"
    exposures = film.ledger.exposures(film.region)
    assert exposures.status.tolist() == ["done", "under way"]
    assert exposures.photons.sum() >= film.received
    assert engine.rewindable


def test_as_a_preprocessor_it_guards_every_plan_once(
    engine: RunEngine, film: Any, documents: Any, guard: Any
) -> None:
    engine.preprocessors.append(guard)
    engine(film.careless())
    engine(guard(film.careful()))
    film.assert_complete(documents, 2)


def test_a_sample_by_its_name_is_counted(engine: RunEngine, film: Any, documents: Any) -> None:
    (uid,) = engine(DoseGuard(film.beamline, film.ledger, "film", kind="alignment")(film.careful()))
    exposures = film.ledger.exposures_of_run(uid)
    assert set(exposures.kind) == {"alignment"}
    assert abs(exposures.photons.sum() - film.received) <= 3 * exposures.photons_uncertainty.sum()
    assert documents.of("start")[0]["sample"] == "film"


def opened(beamline: Any, then: Any) -> Iterator[Msg]:
    yield from bps.open_run()
    yield from bps.mv(beamline.shutter, "open")
    yield from then
    yield from bps.mv(beamline.shutter, "closed")
    yield from bps.close_run()


def test_nothing_moves_while_the_shutter_is_open(engine: RunEngine, film: Any, guard: Any) -> None:
    with pytest.raises(DoseRefusal, match="stage_y is to move with the shutter open"):
        engine(guard(opened(film.beamline, bps.mv(film.beamline.stage.y, 0.1))))
    exposures = film.assert_told()
    assert exposures.open_s == pytest.approx(0.004), "it was open before the move"


def test_one_opening_is_for_one_exposure(engine: RunEngine, film: Any, guard: Any) -> None:
    detectors = [film.beamline.flux, film.beamline.encoder, film.beamline.detector]
    plan = opened(film.beamline, bps.repeat(lambda: bps.trigger_and_read(detectors), 2))
    with pytest.raises(DoseRefusal, match="is to be exposed again"):
        engine(guard(bpp.stage_wrapper(plan, [film.beamline.detector])))
    assert len(film.assert_told()) == 1


@pytest.mark.parametrize("stale", [False, True])
def test_a_monitor_that_was_not_armed_leaves_the_exposure_uncertain_and_ends_the_plan(
    engine: RunEngine, film: Any, guard: Any, stale: bool
) -> None:
    def expose() -> Iterator[Msg]:
        yield from bps.mv(film.beamline.shutter, "open")
        yield from bps.trigger_and_read([film.beamline.detector])
        yield from bps.mv(film.beamline.shutter, "closed")

    def plan() -> Iterator[Msg]:
        yield from bps.open_run()
        if stale:
            yield from bps.trigger_and_read([film.beamline.flux, film.beamline.detector], "dark")
        yield from expose()
        yield from expose()

    with pytest.raises(LedgerError, match=r"point 0, attempt 1.* is under way"):
        engine(guard(bpp.stage_wrapper(plan(), [film.beamline.detector])))
    exposures = film.ledger.exposures(film.region)
    assert exposures.status.tolist() == ["under way"]
    assert film.received <= exposures.photons.sum() < 1.2 * film.received
    assert not film.is_open


def test_a_shutter_outside_a_run_stays_closed(engine: RunEngine, film: Any, guard: Any) -> None:
    with pytest.raises(DoseRefusal, match="outside a run"):
        engine(guard(bps.mv(film.beamline.shutter, "open")))
    assert not film.beamline.shutter.openings_s


def test_a_plan_that_is_only_looked_at_exposes_nothing(film: Any, guard: Any) -> None:
    messages = list(guard(film.careful()))
    assert [m.obj.name for m in messages if m.command == "trigger"].count("pilatus") == len(film.points)
    assert not film.beamline.shutter.openings_s


def test_a_plan_that_stands_still_has_its_shutter_closed_and_ends(engine: RunEngine, film: Any) -> None:
    guard, closed = DoseGuard(film.beamline, film.ledger, film.region, patience_s=0.05), threading.Event()
    film.beamline.detector.exposure_time.set(0.01).wait(timeout=5)
    film.beamline.shutter.state.subscribe(
        lambda value, **_: closed.set() if film.beamline.shutter.openings_s else None, run=False
    )

    def stand_still() -> Iterator[Msg]:
        assert closed.wait(timeout=10), "the watchdog needs no RunEngine: this blocks it"
        yield Msg("null")

    with pytest.raises(StalledPlanError, match=r"closed after 0.05 s without any progress"):
        engine(guard(opened(film.beamline, stand_still())))
    film.assert_told()


SMALL = ConcentricRings(height_um=0.5, width_um=0.5)


def test_once_a_trajectory_is_told_nobody_watches_it_any_more(
    engine: RunEngine, film: Any, guard: Any
) -> None:
    def then_think() -> Iterator[Msg]:
        yield from ptycho_fly_scan(film.beamline, trajectory=SMALL, guard=guard)
        watching = [thread for thread in threading.enumerate() if thread.name == "watchdog"]
        for thread in watching:
            thread.join(timeout=5)
        assert not any(thread.is_alive() for thread in watching)
        yield from bps.null()

    engine(guard(then_think()))


def test_a_trajectory_that_was_reserved_once_is_made_once(engine: RunEngine, film: Any, guard: Any) -> None:
    scanner = film.beamline.scanner

    def again_and_again() -> Iterator[Msg]:
        yield from bps.prepare(scanner, GatedPoints(SMALL.offsets_um(), film.exposure_s), wait=True)
        yield from bps.mv(scanner, "armed")
        yield from bps.mv(film.beamline.shutter, "open")
        for _ in range(2):
            yield from bps.kickoff(scanner, wait=True)
            yield from bps.complete(scanner, wait=True)
            yield from bps.mv(scanner, "armed")

    with pytest.raises(DoseRefusal, match="scanner is to move with the shutter open"):
        engine(guard(acquire(film.beamline, again_and_again(), film.exposure_s, {})))
    exposures = film.assert_told()
    assert exposures.where(exposures.kind == "scan").frame.tolist() == ["lost"] * len(SMALL.offsets_um())


def test_a_scan_takes_a_guard(engine: RunEngine, film: Any, guard: Any, documents: Any) -> None:
    plan = ptycho_scan(film.beamline, trajectory=SMALL, sample=Sample(name="film 7"), guard=guard)
    (uid,) = engine(plan)
    exposures = film.assert_told()
    assert set(exposures.run_uid) == {uid}
    assert len(exposures) == len(SMALL.offsets_um()) == documents.events("dose")[0]["data"]["dose_exposures"]
    start = documents.of("start")[0]
    assert [start[key] for key in ("area", "region", "repeat")] == ["1", "A", 2]
    assert start["sample"]["name"] == "film 7", "what the plan says of its sample stays"
    assert start["dose"]["peak_Gy"] == 0
    assert start["dose"]["budget_Gy"] == film.budget.dose
    said = start["preflight"]["budget"]
    assert said["value"] == pytest.approx(film.peak() / 1e3, rel=0.05)
    assert (said["limit"], said["unit"]) == (film.budget.dose / 1e3, "kGy")


def test_a_scan_that_cannot_end_within_its_budget_or_region_is_not_begun(
    engine: RunEngine, film: Any, documents: Any
) -> None:
    guard = DoseGuard(film.beamline, film.ledger, film.region)
    engine(ptycho_scan(film.beamline, trajectory=SMALL, guard=guard))
    spent = documents.events("dose")[0]["data"]["dose_peak_Gy"]
    documents.clear()
    film.ledger.samples.set_budget(film.region, film.budget.model_copy(update={"dose": 1.9 * spent}))
    before = film.received
    with pytest.raises(DoseRefusal, match=r"the scan would take .* to \S+ kGy, from \S+ kGy so far"):
        engine(ptycho_scan(film.beamline, trajectory=SMALL, guard=guard))
    with pytest.raises(DoseRefusal, match=r"the scan goes 2.\d+ um from the centre of region 'A'"):
        engine(ptycho_scan(film.beamline, trajectory=SMALL, centre_um=(2.0, 0.0), guard=guard))
    assert film.received == before
    assert not documents.of("start")
    film.ledger.samples.set_budget(film.region, film.budget.model_copy(update={"dose": 2.1 * spent}))
    engine(ptycho_scan(film.beamline, trajectory=SMALL, guard=guard))
    assert documents.events("dose")[0]["data"]["dose_peak_Gy"] == pytest.approx(2 * spent, rel=0.02)


def test_the_illumination_is_named_as_for_a_scan(film: Any, store: Any) -> None:
    """The stored one, where it is asked for or is the beamline's own; else the zone plate's."""
    geometry = film.beamline.geometry
    stored = film.beamline.optic.model_copy(update={"defocus": 600e-6}).probe(geometry)
    uid = store.store_probe(stored, geometry=geometry)
    with_store = replace(film.beamline, calibrations=store)
    with_own = replace(with_store, start_probe=uid)

    def used(beamline: Any, probe: Any) -> Any:
        return DoseGuard(beamline, film.ledger, film.region, probe=probe)._account._probe

    for beamline, probe in ((film.beamline, None), (with_own, "zone_plate")):
        np.testing.assert_array_equal(used(beamline, probe), film.beamline.optic.probe(geometry))
    for beamline, probe in ((with_store, "latest"), (with_store, uid), (with_own, None)):
        np.testing.assert_array_equal(used(beamline, probe), stored)
    with pytest.raises(InputError, match="no calibrations to find a probe"):
        used(film.beamline, "latest")


@pytest.fixture
def beside(film: Any) -> Any:
    """A region that the last of the film's points falls into, and its budget, which one exposure uses up."""
    row, column = film.beamline.place_um("sample")
    region = film.ledger.samples.place_region("film", "1", "B", stage_um=(row + 1.0, column), reach_um=0.7)
    film.ledger.samples.set_budget(region, film.budget.model_copy(update={"dose": 1.0}))
    return region


@pytest.mark.parametrize("target", ["region", "sample"])
def test_no_region_goes_over_its_budget_whichever_is_meant(
    target: str, engine: RunEngine, film: Any, beside: Any
) -> None:
    meant = film.region if target == "region" else "film"
    guard = DoseGuard(film.beamline, film.ledger, meant, kind="alignment")
    with pytest.raises(DoseRefusal, match=r"point 2 would take region 'B' .* over its budget"):
        engine(guard(film.careful()))
    assert len(film.assert_told()) == 2
    with pytest.raises(DoseRefusal, match=r"the scan would take region 'B' .* 0.001 kGy"):
        engine(guard.check_scan(np.array(film.points), film.exposure_s))
    assert len(film.assert_told()) == 2


def test_what_falls_into_another_region_adds_up_there(engine: RunEngine, film: Any, beside: Any) -> None:
    """Within one run, and as a guard that starts anew reads it."""
    film.ledger.samples.set_budget(beside, film.budget)
    guard = DoseGuard(film.beamline, film.ledger, film.region)
    for _ in range(2):
        engine(guard(film.careful()))
    exposures = film.ledger.exposures(beside)
    assert len(exposures) == 2
    (along,) = guard._account._around.holding(np.array([film.ledger.samples.stage_position(beside)]))
    anew = DoseGuard(film.beamline, film.ledger, beside)._account.update()
    assert along.dose.peak == pytest.approx(anew["dose"]["peak_Gy"])


def test_a_region_without_a_budget_forbids_nothing_to_others(
    engine: RunEngine, film: Any, documents: Any
) -> None:
    film.ledger.samples.place_region(
        "film", "1", "B", stage_um=film.beamline.place_um("sample"), reach_um=1.0
    )
    engine(DoseGuard(film.beamline, film.ledger, film.region)(film.careful()))
    film.assert_complete(documents)


@pytest.mark.parametrize(("part", "points"), [(1.0001, 0), (1.2, 3)])
def test_a_scan_is_begun_only_if_its_last_exposure_will_be_admitted(
    part: float, points: int, engine: RunEngine, film: Any
) -> None:
    """Each is admitted by its upper bound, so that what is expected of all is not enough of a budget."""
    where = np.array(film.points)
    guard = DoseGuard(film.beamline, film.ledger, film.region, repeat=1)
    account = guard._account
    account.update()
    expected = film.truth.photons_per_second * film.exposure_s
    coarse_um = np.array(film.beamline.place_um("sample"))
    peak = account._region.peak_with(where + coarse_um, 1.01 * expected)  # with the closing shutter's
    film.ledger.samples.set_budget(film.region, film.budget.model_copy(update={"dose": part * peak}))

    def scan() -> Iterator[Msg]:
        yield from guard.check_scan(where, film.exposure_s)
        yield from guard(film.careful())

    with (
        nullcontext() if points else pytest.raises(DoseRefusal, match="for what its last exposure may exceed")
    ):
        engine(scan())
    assert len(film.assert_told()) == points


@pytest.mark.parametrize(
    ("options", "said"), [({"kind": "aligment"}, "scan or alignment"), ({"repeat": 0}, "the first one is 1")]
)
def test_a_guard_that_cannot_be_is_refused(options: Any, said: str, film: Any) -> None:
    with pytest.raises(InputError, match=said):
        DoseGuard(film.beamline, film.ledger, film.region, **options)
