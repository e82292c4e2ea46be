"""The protocol as one call: every region and repeat once, whatever interrupts it, and nothing over budget."""

from collections.abc import Callable
from threading import Timer
from typing import Any

import bluesky.preprocessors as bpp
import numpy as np
import pytest
from bluesky import RunEngine
from bluesky.utils import FailedStatus, Msg, RunEngineInterrupted
from ophyd import Signal

from ptycho_plugin.devices.hdf5_frames import FrameFile
from ptycho_plugin.errors import DoseRefusal, InputError, LedgerError, PreflightRefusal
from ptycho_plugin.ledger import Ledger
from ptycho_plugin.plans import Sample, dose_series, ring_current_suspender
from ptycho_plugin.region_matrix import RegionMatrix
from ptycho_plugin.trajectory import ConcentricRings


def test_every_region_is_scanned_in_its_place_as_often_as_the_protocol_says(
    engine: RunEngine, film: Any, documents: Any, series: Any, capsys: Any
) -> None:
    engine(series(md={"proposal": 7}))
    assert series.runs == series.repeats
    series.assert_done()
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
    assert start["series"]["matrix"] == series.matrix.model_dump(mode="json")
    assert film.received == pytest.approx(
        sum(film.ledger.exposures_of_run(start["uid"]).photons.sum() for start in documents.of("start")),
        rel=0.01,
    )
    said = capsys.readouterr().out
    assert said.count("Preflight") == said.count("Dose series of 'film'") == 1


def test_it_takes_the_dose_that_was_forecast(
    engine: RunEngine, film: Any, documents: Any, series: Any
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
    engine: RunEngine, film: Any, documents: Any, series: Any
) -> None:
    rings = ConcentricRings(height_um=0.3, width_um=0.3, turn_deg=1.0)
    matrix = series.matrix_of(repeats=3, regions=("A",))
    sample = Sample(name="film", thickness_um=5.0)
    engine(dose_series(film.beamline, film.ledger, sample, matrix=matrix, trajectory=rings))
    start = documents.of("start")[0]
    assert (start["sample"]["thickness_um"], start["series"]["sample"]) == (5.0, "film")
    turns = [start["ptycho"]["trajectory"]["turn_deg"] for start in documents.of("start")]
    assert turns == [1.0, 9.5, 18.0]


def test_the_same_call_again_has_nothing_to_do(
    engine: RunEngine, film: Any, documents: Any, series: Any, capsys: Any
) -> None:
    engine(series())
    before = film.received
    capsys.readouterr()
    assert not engine(series())
    assert film.received == before
    assert "Nothing is left to be done" in capsys.readouterr().out
    engine(series(matrix=series.matrix_of(repeats=3)))
    assert series.runs == [*series.repeats, ("A", 3), ("B", 3)]
    assert len({start["series"]["uid"] for start in documents.of("start")}) == 1


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
    engine: RunEngine,
    film: Any,
    documents: Any,
    series: Any,
    tmp_path: Any,
    end: str,
    run_until: Any,
    end_with: Any,
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
        engine(series(ledger=another_session, budget=None))
    series.assert_done()


def test_a_pause_or_a_suspender_at_any_message_loses_nothing_and_exposes_nothing_twice(
    engine: RunEngine, film: Any, documents: Any, series: Any, run_until: Any, end_with: Any
) -> None:
    matrix = series.matrix_of(repeats=1)
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
    series.assert_done(repeats)


def test_a_suspender_holds_the_series_until_the_beam_is_back(
    engine: RunEngine, film: Any, documents: Any, series: Any, run_until: Any
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
    series.assert_done()


def test_after_a_halt_the_point_under_way_is_left_out_until_it_is_asked_for(
    engine: RunEngine, film: Any, documents: Any, series: Any, capsys: Any, run_until: Any, end_with: Any
) -> None:
    with pytest.raises(RunEngineInterrupted):
        run_until(series(), exposing(film), end_with("_halt_coro"))
    assert not film.is_open
    engine(series())
    series.assert_done(left_out=1)
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
    engine: RunEngine, film: Any, documents: Any, series: Any, monkeypatch: pytest.MonkeyPatch
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
    assert series.runs == [("A", 1), ("A", 2)]
    engine(series())
    series.assert_done(left_out=1)


def test_a_series_over_its_budget_is_refused_before_anything_moves_or_is_written(
    engine: RunEngine, film: Any, documents: Any, series: Any
) -> None:
    matrix = series.matrix_of(repeats=5, regions=("B", "C"))
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
    assert series.runs == [("B", 1), ("B", 2), ("B", 3), ("C", 2), ("C", 3)]


REFUSED: dict[str, Any] = {
    "far away": (
        {"matrix": RegionMatrix(first_um=(0.0, 24000.0))},
        InputError,
        "'A' .* '2' .* coarse stage goes",
    ),
    "beyond its reach": (
        {"matrix": RegionMatrix(areas=("1",), regions=("B",), reach_um=0.9), "trajectory": None},
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
    engine: RunEngine, film: Any, documents: Any, series: Any, case: str
) -> None:
    changes, error, said = REFUSED[case]
    film.beamline.coarse.y.set(55.0).wait(timeout=5)
    with pytest.raises(error, match=said):
        engine(series(**changes))
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


def test_a_plan_that_is_only_looked_at_writes_nothing(film: Any, series: Any) -> None:
    assert [message.command for message in series()] == ["rewindable"]
    assert film.ledger.samples.regions("film") == (film.region,)


def test_regions_of_two_series_are_refused_before_another_is_placed(
    engine: RunEngine, film: Any, documents: Any, series: Any
) -> None:
    for name in "AB":
        engine(series(matrix=series.matrix_of(repeats=1, regions=(name,), first_um=(3.0, 0.0))))
    with pytest.raises(LedgerError, match="one series cannot have regions of several"):
        engine(series(matrix=series.matrix_of(regions=("A", "B", "C"))))
    assert [region.name for region in film.ledger.samples.regions("film")] == ["A", "B"]


def test_another_exposure_is_another_series(
    engine: RunEngine, film: Any, documents: Any, series: Any
) -> None:
    engine(series(matrix=series.matrix_of(repeats=1)))
    with pytest.raises(
        LedgerError, match=r"repeat 1 of region 'A' .* not of this series: .* exposure_s = 0\.1"
    ):
        engine(series(exposure_s=0.1))
    assert len(documents.of("start")) == 2


def test_a_sample_that_is_mounted_again_keeps_its_regions(
    engine: RunEngine, film: Any, documents: Any, series: Any, run_until: Any, end_with: Any
) -> None:
    film.ledger.samples.find_marks("film", {"left": (0, 0), "right": (0, 1000)})
    with pytest.raises(RunEngineInterrupted):
        run_until(series(), exposing(film, 4), end_with("_stop_coro"))
    film.ledger.samples.mount("film", again=True)
    film.ledger.samples.find_marks("film", {"left": (2.0, 1.0), "right": (2.0, 1001.0)})
    engine(series())
    assert series.runs == [("A", 1), ("A", 2), ("B", 1), ("B", 2)], "the half-done repeat stays as it is"
    note = documents.of("start")[-1]["series"]["forecast"]["regions"][0]["note"]
    assert note == "repeat 2 stays as it is: the sample was mounted again since"
    setup = documents.events("setup")[-1]["data"]
    assert (setup["coarse_y"], setup["coarse_x"]) == pytest.approx((5.0, 1.5))
    exposures = film.ledger.exposures_of_run(documents.of("start")[-1]["uid"])
    centre = film.ledger.samples.region("film", "1", "B").centre_um
    np.testing.assert_allclose(exposures.start_um - centre, series.points, atol=1e-6)
