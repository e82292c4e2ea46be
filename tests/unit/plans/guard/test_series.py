"""The protocol as one call: every region and repeat once, whatever interrupts it, and nothing over budget."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from threading import Timer
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
import numpy as np
import pytest
from bluesky import RunEngine
from bluesky.utils import FailedStatus, Msg, RunEngineInterrupted
from ophyd import Signal

from ptycho_plugin.devices.hdf5_frames import FrameFile
from ptycho_plugin.errors import DoseRefusal, InputError, LedgerError, PreflightRefusal
from ptycho_plugin.ledger import Ledger
from ptycho_plugin.plans import RepeatDone, Sample, dose_series, ring_current_suspender
from ptycho_plugin.plans.acquisition import acquire
from ptycho_plugin.plans.guard import DoseGuard
from ptycho_plugin.plans.stubs import expose_point
from ptycho_plugin.postprocess.stopping import Verdict
from ptycho_plugin.region_matrix import RegionMatrix
from ptycho_plugin.trajectory import ConcentricRings, RecordedPositions
from ptycho_plugin.view.bars import SeriesBar

POINTS = ((0.0, 0.0), (0.0, 0.2), (0.2, 0.2))
MATRIX = RegionMatrix(areas=("1",), regions=("A", "B"), repeats=2, region_step_um=(3.0, 0.5), reach_um=1.0)
REPEATS = [("A", 1), ("A", 2), ("B", 1), ("B", 2)]

Series = Callable[..., Iterator[Msg]]


@pytest.fixture
def series(film: Any) -> Series:
    """Return the same call; keyword arguments change it."""

    def call(**changes: Any) -> Iterator[Msg]:
        plan = {"matrix": MATRIX, "trajectory": RecordedPositions(points_um=POINTS), "budget": film.budget}
        return dose_series(film.beamline, film.ledger, "film", **(plan | changes))

    return call


def runs(documents: Any) -> list[tuple[str, int]]:
    return [(start["region"], start["repeat"]) for start in documents.of("start")]


def assert_done(film: Any, documents: Any, repeats: Any = REPEATS, left_out: int = 0) -> None:
    """Every point of every repeat was exposed once, in its place, but for some that are uncertain."""
    assert not film.is_open
    starts = {start["uid"]: start for start in documents.of("start")}
    assert len({start["series"]["uid"] for start in starts.values()}) == 1
    exposures = [film.ledger.exposures_of_run(uid) for uid in starts]
    counted: Counter[Any] = Counter()
    for start, exposed in zip(starts.values(), exposures, strict=True):
        region = film.ledger.samples.region("film", "1", start["region"])
        exposed = exposed.where((exposed.status != "withdrawn") & (exposed.frame != "none"))
        for point, at in zip(exposed.point, exposed.start_um, strict=True):
            counted[start["region"], start["repeat"], int(point)] += 1
            np.testing.assert_allclose(at - region.centre_um, POINTS[point], atol=1e-6)
    assert counted == Counter((*repeat, point) for repeat in repeats for point in range(len(POINTS)))
    assert len(documents.events()) == len(repeats) * len(POINTS) - left_out


def test_every_region_is_scanned_in_its_place_as_often_as_the_protocol_says(
    engine: RunEngine, film: Any, documents: Any, series: Series, capsys: Any
) -> None:
    engine(series(md={"proposal": 7}))
    assert runs(documents) == REPEATS
    assert_done(film, documents)
    row, column = film.beamline.place_um("sample")
    placed = film.ledger.samples.region("film", "1", "B")
    assert placed.centre_um == (row + 3.0, column + 0.5)
    assert placed.reach_um == 1.0
    assert film.region.reach_um == 1.5, "a region that was there stays as it is"
    start = documents.of("start")[0]
    assert [start[key] for key in ("plan_name", "sample", "area", "proposal")] == [
        "dose_series",
        "film",
        "1",
        7,
    ]
    assert start["series"]["matrix"] == MATRIX.model_dump(mode="json")
    assert film.received == pytest.approx(
        sum(film.ledger.exposures_of_run(start["uid"]).photons.sum() for start in documents.of("start")),
        rel=0.01,
    )
    said = capsys.readouterr().out
    assert said.count("Preflight") == said.count("Dose series of 'film'") == 1


def test_it_takes_the_dose_that_was_forecast(
    engine: RunEngine, film: Any, documents: Any, series: Series
) -> None:
    engine(series())
    forecast = documents.of("start")[0]["series"]["forecast"]
    assert (forecast["repeats"], forecast["points"]) == (4, 12)
    assert [region["region"] for region in forecast["regions"]] == ["A", "B"]
    after = [event["data"]["dose_peak_Gy"] for event in documents.events("dose")]
    for region, dose in zip(forecast["regions"], after[1::2], strict=True):
        assert region["peak_before_Gy"] == 0
        assert region["budget_Gy"] == film.budget.dose
        assert region["peak_after_Gy"] == pytest.approx(dose, rel=0.05)


def test_rings_are_turned_from_repeat_to_repeat(
    engine: RunEngine, film: Any, documents: Any, series: Series
) -> None:
    rings = ConcentricRings(height_um=0.3, width_um=0.3, turn_deg=1.0)
    matrix = MATRIX.model_copy(update={"repeats": 3, "regions": ("A",)})
    sample = Sample(name="film", thickness_um=5.0)
    engine(dose_series(film.beamline, film.ledger, sample, matrix=matrix, trajectory=rings))
    start = documents.of("start")[0]
    assert (start["sample"]["thickness_um"], start["series"]["sample"]) == (5.0, "film")
    turns = [start["ptycho"]["trajectory"]["turn_deg"] for start in documents.of("start")]
    assert turns == [1.0, 9.5, 18.0]


def test_the_same_call_again_has_nothing_to_do(
    engine: RunEngine, film: Any, documents: Any, series: Series, capsys: Any
) -> None:
    engine(series())
    before = film.received
    capsys.readouterr()
    assert not engine(series())
    assert film.received == before
    assert "Nothing is left to be done" in capsys.readouterr().out
    engine(series(matrix=MATRIX.model_copy(update={"repeats": 3})))
    assert runs(documents) == [*REPEATS, ("A", 3), ("B", 3)]
    assert len({start["series"]["uid"] for start in documents.of("start")}) == 1


def test_a_bar_goes_over_the_whole_series_and_makes_room_in_a_pause(
    engine: RunEngine, film: Any, series: Series, monkeypatch: pytest.MonkeyPatch, run_until: Any
) -> None:
    shown: list[Any] = []

    class Bar(SeriesBar):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            shown.append(self)

        def pause(self) -> None:
            shown.append("pause")

        def resume(self) -> None:
            shown.append("resume")

    monkeypatch.setattr("ptycho_plugin.plans.series.SeriesBar", Bar)
    with pytest.raises(RunEngineInterrupted):
        run_until(series(stop_rule=Rule(("A", 1))), exposing(film), end_with("_request_pause_coro"))
    assert shown[1:] == ["resume", "pause"]
    engine.resume()
    assert shown[3:] == ["resume", "pause"]
    (task,) = shown[0]._bars.tasks
    assert (task.completed, task.total) == (9, 9), "a repeat of three points was not to be made any more"


def end_with(coroutine: str) -> Callable[[RunEngine], None]:
    return lambda engine: engine.loop.create_task(getattr(engine, coroutine)())


def exposing(film: Any, number: int = 0) -> Callable[[Msg], bool]:
    """Tell the message that triggers the detector for an exposure of a number."""
    numbers = iter(range(1000))
    is_it = lambda m: m.command == "trigger" and m.obj is film.beamline.detector  # noqa: E731
    return lambda m: is_it(m) and next(numbers) == number


def message(number: int) -> Callable[[Msg], bool]:
    numbers = iter(range(100_000))
    return lambda _: next(numbers) == number


def messages(engine: RunEngine, plan: Any) -> list[str]:
    """Run a plan, and return the commands of its messages."""
    commands: list[str] = []
    engine.msg_hook = lambda message: commands.append(message.command)
    engine(plan)
    engine.msg_hook = None
    return commands


@pytest.mark.parametrize("end", ["_abort_coro", "_stop_coro"])
def test_what_was_ended_goes_on_by_the_same_call(
    engine: RunEngine, film: Any, documents: Any, series: Series, tmp_path: Any, end: str, run_until: Any
) -> None:
    end_now = end_with(end) if end == "_stop_coro" else lambda e: e.loop.create_task(e._abort_coro("a test"))
    with pytest.raises(RunEngineInterrupted):  # while the coarse stage goes to the first region
        run_until(series(), lambda m: m.obj is film.beamline.coarse.y and m.command == "set", end_now)
    rng = np.random.default_rng(3)
    for _ in range(4):
        with pytest.raises(RunEngineInterrupted):
            run_until(series(), message(int(rng.integers(60, 260))), end_now)
        film.beamline.stage.y.set(0.7).wait(timeout=5)  # whatever somebody does in between
        film.beamline.coarse.x.set(-5.0).wait(timeout=5)
    with Ledger(film.ledger._database.path) as another_session:
        engine(dose_series(film.beamline, another_session, "film", **series_of(series)))
    assert_done(film, documents)


def series_of(series: Series) -> dict[str, Any]:
    return {"matrix": MATRIX, "trajectory": RecordedPositions(points_um=POINTS)}


def test_a_pause_or_a_suspender_at_any_message_loses_nothing_and_exposes_nothing_twice(
    engine: RunEngine, film: Any, documents: Any, series: Series, run_until: Any
) -> None:
    matrix = MATRIX.model_copy(update={"repeats": 1})
    number = len(messages(engine, series(matrix=matrix)))
    repeats = [("A", 1), ("B", 1)]

    async def beam_is_back() -> None:
        assert not film.is_open

    rng = np.random.default_rng(5)
    for repeat in range(2, 8):
        at = message(int(rng.integers(2, number)))
        again = series(matrix=matrix.model_copy(update={"repeats": repeat}))
        if repeat % 2:
            run_until(again, at, lambda engine: engine.request_suspend(beam_is_back))
        else:
            with pytest.raises(RunEngineInterrupted):
                run_until(again, at, end_with("_request_pause_coro"))
            assert not film.is_open
            engine.resume()
        repeats += [("A", repeat), ("B", repeat)]
    assert_done(film, documents, repeats)


def test_a_suspender_holds_the_series_until_the_beam_is_back(
    engine: RunEngine, film: Any, documents: Any, series: Series, run_until: Any
) -> None:
    current = Signal(name="current", value=100.0)
    suspender = ring_current_suspender(current, 50.0, settle_s=0.0)
    lost = []

    def lose(engine: RunEngine) -> None:
        lost.append(film.beamline.shutter.position)
        current.put(0.0)
        Timer(0.1, current.put, (100.0,)).start()

    run_until(bpp.suspend_wrapper(series(), suspender), exposing(film, 5), lose)
    assert lost
    assert_done(film, documents)


def test_after_a_halt_the_point_under_way_is_left_out_until_it_is_asked_for(
    engine: RunEngine, film: Any, documents: Any, series: Series, capsys: Any, run_until: Any
) -> None:
    with pytest.raises(RunEngineInterrupted):
        run_until(series(), exposing(film), end_with("_halt_coro"))
    assert not film.is_open
    engine(series())
    assert_done(film, documents, left_out=1)
    assert "point 0: may have been exposed" in " ".join(capsys.readouterr().out.replace("│", " ").split())
    before = film.received
    engine(series())
    said = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "Nothing is left to be done" in said
    assert "again=True" in said
    engine(series(again=True))
    assert film.received - before == pytest.approx(film.received / 12, rel=0.2)
    assert len(documents.events()) == 12


def test_after_a_detector_that_fails_the_series_goes_on(
    engine: RunEngine, film: Any, documents: Any, series: Series, monkeypatch: pytest.MonkeyPatch
) -> None:
    append, calls = FrameFile.append, []

    def full_disk(file: FrameFile, frame: Any) -> Any:
        calls.append(frame)
        if len(calls) == 5:
            raise OSError("no space left")
        return append(file, frame)

    monkeypatch.setattr(FrameFile, "append", full_disk)
    with pytest.raises(FailedStatus):
        engine(series())
    assert runs(documents) == [("A", 1), ("A", 2)]
    engine(series())
    assert_done(film, documents, left_out=1)


def test_a_series_over_its_budget_is_refused_before_anything_moves_or_is_written(
    engine: RunEngine, film: Any, documents: Any, series: Series
) -> None:
    matrix = MATRIX.model_copy(update={"repeats": 5, "regions": ("B", "C")})
    engine(series(matrix=matrix.model_copy(update={"repeats": 1, "regions": ("C",), "first_um": (3.0, 0.5)})))
    spent = documents.events("dose")[0]["data"]["dose_peak_Gy"]
    documents.clear()
    for device, value in ((film.beamline.coarse.y, 55.0), (film.beamline.stage.y, 0.3)):
        device.set(value).wait(timeout=5)
    budget = film.budget.model_copy(update={"dose": 3.5 * spent})
    said = (
        r"take region 'C' .* of 'film' \(and 1 more of the regions\) to \S+ kGy in 4 repeats, from \S+ kGy "
        r"so far, and \S+ kGy in PMMA are allowed, .*: 2 of them would fit; make fewer"
    )
    with pytest.raises(DoseRefusal, match=said):
        engine(series(matrix=matrix, budget=budget))
    assert not documents.of("start")
    assert (film.beamline.coarse.y.position, film.beamline.stage.y.position) == (55.0, 0.3)
    assert [region.name for region in film.ledger.samples.regions("film")] == ["A", "C"]
    assert film.ledger.samples.budget(film.ledger.samples.region("film", "1", "C")) == film.budget
    engine(series(matrix=matrix.model_copy(update={"repeats": 3}), budget=budget))
    assert runs(documents) == [("B", 1), ("B", 2), ("B", 3), ("C", 2), ("C", 3)]


REFUSED: dict[str, Any] = {
    "far away": (
        {"matrix": RegionMatrix(first_um=(0.0, 24000.0))},
        InputError,
        "'A' .* '2' .* coarse stage goes",
    ),
    "beyond its reach": (
        {"matrix": MATRIX.model_copy(update={"reach_um": 0.9, "regions": ("B",)}), "trajectory": None},
        DoseRefusal,
        r"the scan goes 2.00 um from the centre of region 'B' .* reaches 0.9 um",
    ),
    "no budget": ({"budget": None}, InputError, "region 'B' .* has no budget: give one"),
    "unknown sample": ({"sample": "plate"}, LedgerError, "knows no sample 'plate'"),
    "preflight": ({"exposure_s": 1e-9}, PreflightRefusal, "the least"),
    "no such background": ({"background_run": "none"}, InputError, "no calibrations"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_work_leaves_everything_as_it_was(
    engine: RunEngine, film: Any, documents: Any, case: str
) -> None:
    changes, error, said = REFUSED[case]
    film.beamline.coarse.y.set(55.0).wait(timeout=5)
    small = RecordedPositions(points_um=POINTS)
    plan = {"sample": "film", "matrix": MATRIX, "budget": film.budget, "trajectory": small} | changes
    with pytest.raises(error, match=said):
        engine(dose_series(film.beamline, film.ledger, **plan))
    assert not documents.of("start")
    assert film.beamline.coarse.y.position == 55.0
    assert film.ledger.samples.regions("film") == (film.region,)


@pytest.mark.parametrize(
    ("argument", "value"),
    [("ledger", "film.ledger"), ("stop_rule", "often"), ("turn_deg", "a bit"), ("again", 3)],
)
def test_a_bad_argument_is_named_at_the_call(film: Any, argument: str, value: Any) -> None:
    plan = {"ledger": film.ledger, "sample": "film", argument: value}
    with pytest.raises(InputError, match=rf"^dose_series: {argument} = .* cannot be used"):
        dose_series(film.beamline, **plan)


def test_a_plan_that_is_only_looked_at_writes_nothing(film: Any, series: Series) -> None:
    assert [message.command for message in series()] == ["rewindable"]
    assert film.ledger.samples.regions("film") == (film.region,)


def test_regions_of_two_series_are_refused_before_another_is_placed(
    engine: RunEngine, film: Any, documents: Any, series: Series
) -> None:
    for name in "AB":
        engine(
            series(
                matrix=MATRIX.model_copy(update={"repeats": 1, "regions": (name,), "first_um": (3.0, 0.0)})
            )
        )
    with pytest.raises(LedgerError, match="one series cannot have regions of several"):
        engine(series(matrix=MATRIX.model_copy(update={"regions": ("A", "B", "C")})))
    assert [region.name for region in film.ledger.samples.regions("film")] == ["A", "B"]


def test_another_exposure_is_another_series(
    engine: RunEngine, film: Any, documents: Any, series: Series
) -> None:
    engine(series(matrix=MATRIX.model_copy(update={"repeats": 1})))
    with pytest.raises(
        LedgerError, match=r"repeat 1 of region 'A' .* not of this series: .* exposure_s = 0\.1"
    ):
        engine(series(exposure_s=0.1))
    assert len(documents.of("start")) == 2


def test_a_sample_that_is_mounted_again_keeps_its_regions(
    engine: RunEngine, film: Any, documents: Any, series: Series, run_until: Any
) -> None:
    film.ledger.samples.find_marks("film", {"left": (0, 0), "right": (0, 1000)})
    with pytest.raises(RunEngineInterrupted):
        run_until(series(), exposing(film, 4), end_with("_stop_coro"))
    film.ledger.samples.mount("film", again=True)
    film.ledger.samples.find_marks("film", {"left": (2.0, 1.0), "right": (2.0, 1001.0)})
    engine(series())
    assert runs(documents) == [("A", 1), ("A", 2), ("B", 1), ("B", 2)], "the half-done repeat stays as it is"
    note = documents.of("start")[-1]["series"]["forecast"]["regions"][0]["note"]
    assert note == "repeat 2 stays as it is: the sample was mounted again since"
    setup = documents.events("setup")[-1]["data"]
    assert (setup["coarse_y"], setup["coarse_x"]) == pytest.approx((5.0, 1.5))
    exposures = film.ledger.exposures_of_run(documents.of("start")[-1]["uid"])
    centre = film.ledger.samples.region("film", "1", "B").centre_um
    np.testing.assert_allclose(exposures.start_um - centre, POINTS, atol=1e-6)


def test_a_rule_is_told_the_dose_of_the_scanned_field(engine: RunEngine, film: Any, series: Series) -> None:
    """However much more an alignment left beside it."""
    rule, one_region = Rule(), MATRIX.model_copy(update={"regions": ("A",)})
    engine(series(matrix=one_region.model_copy(update={"repeats": 1}), stop_rule=rule))
    guard = DoseGuard(film.beamline, film.ledger, film.region, kind="alignment")

    def spot() -> Iterator[Msg]:
        for _ in range(10):
            yield from expose_point(film.beamline, (1.3, -1.3))

    engine(guard(acquire(film.beamline, spot(), film.exposure_s, {})))
    engine(series(matrix=one_region, stop_rule=rule))
    *_, first, second = rule.told
    own = [done.dose_after - done.dose_before for done in (first, second)]
    assert own[1] == pytest.approx(own[0], rel=0.05)
    assert second.dose_before < 1.1 * first.dose_after
    assert film.peak() > 1.3 * second.dose_after


class Rule:
    """Stops some repeats; keeps what it was told."""

    def __init__(self, *stops: tuple[str, int]) -> None:
        self.stops = stops
        self.told: list[RepeatDone] = []

    def __call__(self, done: RepeatDone) -> Iterator[Msg]:
        yield from bps.sleep(0.001)
        self.told.append(done)
        stop = (done.region.name, done.repeat) in self.stops
        return Verdict(stop=stop, reason=f"12 % are lost after {done.dose_after:.0f} Gy")


def test_a_region_that_had_enough_is_closed_with_the_reason_and_the_next_one_begins(
    engine: RunEngine, film: Any, documents: Any, series: Series, capsys: Any
) -> None:
    rule, longer = Rule(("A", 2)), MATRIX.model_copy(update={"repeats": 3})
    engine(series(matrix=longer, stop_rule=rule))
    assert runs(documents) == [("A", 1), ("A", 2), ("B", 1), ("B", 2), ("B", 3)]
    first, second, *_ = rule.told
    assert first.dose_before == 0
    assert first.dose_after == pytest.approx(second.dose_before)
    peaks = [event["data"]["dose_peak_Gy"] for event in documents.events("dose")]
    for done, peak in zip(rule.told, peaks, strict=True):
        assert 0.5 * peak < done.dose_after < peak
    uids = [start["uid"] for start in documents.of("start")]
    assert [done.run_uids for done in rule.told] == [(uid,) for uid in uids]
    reason = f"12 % are lost after {second.dose_after:.0f} Gy"
    assert [stop["reason"] for stop in documents.of("stop")] == ["", reason, "", "", ""]
    assert {stop["exit_status"] for stop in documents.of("stop")} == {"success"}
    told = " ".join(capsys.readouterr().out.split())
    assert f"Closed after repeat 2: region 'A' in area '1' of 'film'. {reason}" in told
    end = film.ledger.scans.closed(film.region)
    assert (end.reason, end.run_uid) == (reason, uids[1])
    assert not engine(series(matrix=longer, stop_rule=rule)), "it stays closed"
    assert len(rule.told) == 5


def forgets(done: RepeatDone) -> Iterator[Msg]:
    yield from bps.null()


def no_plan(done: RepeatDone) -> Verdict:
    return Verdict(stop=True, reason="enough")


def no_reason(done: RepeatDone) -> Iterator[Msg]:
    yield from bps.null()
    return Verdict(stop=True, reason="")


@pytest.mark.parametrize("rule", [forgets, no_plan, no_reason])
def test_a_rule_that_gives_no_verdict_ends_no_series(
    engine: RunEngine, film: Any, documents: Any, series: Series, rule: Any
) -> None:
    engine(series(stop_rule=rule, matrix=MATRIX.model_copy(update={"regions": ("A",)})))
    assert runs(documents) == [("A", 1), ("A", 2)]
    first, second = documents.of("stop")
    assert first["reason"].startswith("the stop rule failed: ")
    assert second["reason"] == ""


def test_a_rule_that_fails_is_told_aloud_and_the_series_goes_on_without_it(
    engine: RunEngine, film: Any, documents: Any, series: Series, capsys: Any, caplog: Any
) -> None:
    def broken(done: RepeatDone) -> Iterator[Msg]:
        yield from bps.null()
        raise ZeroDivisionError("no [first] map")

    engine(series(stop_rule=broken))
    assert_done(film, documents)
    said = "the stop rule failed: ZeroDivisionError: no [first] map"
    assert [stop["reason"] for stop in documents.of("stop")] == [said, "", "", ""]
    told = " ".join(capsys.readouterr().err.split())
    assert told.count(f"After repeat 1 of region 'A' in area '1' of 'film' {said}.") == 1
    assert "nothing watches for damage any more" in told
    assert "ZeroDivisionError" in caplog.text


def test_a_rule_hears_of_every_repeat_in_order_whatever_came_between(
    engine: RunEngine, film: Any, documents: Any, series: Series
) -> None:
    def abort_in(rule: Rule) -> Any:
        def asked(done: RepeatDone) -> Iterator[Msg]:
            engine.loop.call_soon(engine.loop.create_task, engine._abort_coro("while it thinks"))
            yield from bps.sleep(30)
            return (yield from rule(done))

        return asked

    rule = Rule(("A", 1))
    with pytest.raises(RunEngineInterrupted):
        engine(series(stop_rule=abort_in(rule)))
    assert documents.of("stop")[0]["exit_status"] == "abort"
    engine(series(stop_rule=rule))
    assert runs(documents) == [("A", 1), ("B", 1), ("B", 2)], "what it says of repeat 1 is heard later"
    assert [(done.region.name, done.repeat) for done in rule.told] == [("A", 1), ("B", 1), ("B", 2)]


def test_a_pause_makes_no_rule_wait_again(
    engine: RunEngine, film: Any, series: Series, run_until: Any
) -> None:
    only_a, waits = MATRIX.model_copy(update={"regions": ("A",), "repeats": 1}), 20
    engine(series(matrix=only_a))

    def waiting(done: RepeatDone) -> Iterator[Msg]:
        for _ in range(waits):
            yield Msg("sleep", None, 0.001, rule=done.repeat)
        return Verdict(stop=False, reason="")

    given: list[Msg] = []

    def last_wait(message: Msg) -> bool:
        given.append(message)
        return message.kwargs.get("rule") == 1 and len([m for m in given if m.kwargs.get("rule")]) == waits

    more = series(matrix=MATRIX.model_copy(update={"regions": ("A",)}), stop_rule=waiting)
    with pytest.raises(RunEngineInterrupted):
        run_until(more, last_wait, end_with("_request_pause_coro"))
    seen: list[Msg] = []
    engine.msg_hook = seen.append
    engine.resume()
    assert not [message for message in seen if message.kwargs.get("rule") == 1]


def test_a_region_that_was_closed_by_hand_while_a_rule_thought_ends_no_series(
    engine: RunEngine, film: Any, documents: Any, series: Series
) -> None:
    def late(done: RepeatDone) -> Iterator[Msg]:
        yield from bps.null()
        if done.region.name == "A":
            film.ledger.scans.close(done.region, "it bubbles")
        return Verdict(stop=done.region.name == "A", reason="12 % are lost")

    engine(series(stop_rule=late))
    assert runs(documents) == [("A", 1), ("B", 1), ("B", 2)]
    assert documents.of("stop")[0]["reason"] == "12 % are lost"
    assert film.ledger.scans.closed(film.region).reason == "it bubbles"


def test_a_stricter_rule_may_close_a_region_before_its_next_repeat(
    engine: RunEngine, film: Any, documents: Any, series: Series
) -> None:
    only_a = MATRIX.model_copy(update={"regions": ("A",)})
    engine(series(matrix=only_a))
    rule = Rule(("A", 1), ("A", 2))
    film.beamline.coarse.y.set(55.0).wait(timeout=5)
    assert not engine(series(matrix=only_a.model_copy(update={"repeats": 3}), stop_rule=rule))
    assert len(rule.told) == 1
    assert film.ledger.scans.closed(film.region) is not None
    assert film.beamline.coarse.y.position == 55.0


def test_dose_and_reconstruction_use_one_probe_throughout(
    engine: RunEngine, film: Any, documents: Any, store: Any
) -> None:
    beamline = replace(film.beamline, calibrations=store)
    optic = beamline.optic
    first = store.store_probe(optic.probe(beamline.geometry), geometry=beamline.geometry)

    def newer(done: RepeatDone) -> Iterator[Msg]:
        yield from bps.null()
        store.store_probe(optic.probe(beamline.geometry), geometry=beamline.geometry)
        return Verdict(stop=False, reason="")

    plan = {"matrix": MATRIX, "trajectory": RecordedPositions(points_um=POINTS), "budget": film.budget}
    engine(dose_series(beamline, film.ledger, "film", probe="latest", stop_rule=newer, **plan))
    assert {start["ptycho"]["probe"]["uid"] for start in documents.of("start")} == {first}
    assert len(store.probes) == 5
