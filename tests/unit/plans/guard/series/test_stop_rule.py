"""A series with a rule that closes regions which have had enough."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import bluesky.plan_stubs as bps
import pytest
from bluesky import RunEngine
from bluesky.utils import Msg, RunEngineInterrupted

from ptycho_plugin.plans import RepeatDone
from ptycho_plugin.plans.acquisition import acquire
from ptycho_plugin.plans.guard import DoseGuard
from ptycho_plugin.plans.stubs import expose_point
from ptycho_plugin.postprocess.stopping import Verdict
from ptycho_plugin.view.bars import SeriesBar


def test_a_rule_is_told_the_dose_of_the_scanned_field(engine: RunEngine, film: Any, series: Any) -> None:
    """However much more an alignment left beside it."""
    rule, one_region = Rule(), series.matrix_of(regions=("A",))
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
    engine: RunEngine, film: Any, documents: Any, series: Any, capsys: Any
) -> None:
    rule, longer = Rule(("A", 2)), series.matrix_of(repeats=3)
    engine(series(matrix=longer, stop_rule=rule))
    assert series.runs == [("A", 1), ("A", 2), ("B", 1), ("B", 2), ("B", 3)]
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
    engine: RunEngine, film: Any, documents: Any, series: Any, rule: Any
) -> None:
    engine(series(stop_rule=rule, matrix=series.matrix_of(regions=("A",))))
    assert series.runs == [("A", 1), ("A", 2)]
    first, second = documents.of("stop")
    assert first["reason"].startswith("the stop rule failed: ")
    assert second["reason"] == ""


def test_a_rule_that_fails_is_told_aloud_and_the_series_goes_on_without_it(
    engine: RunEngine, film: Any, documents: Any, series: Any, capsys: Any, caplog: Any
) -> None:
    def broken(done: RepeatDone) -> Iterator[Msg]:
        yield from bps.null()
        raise ZeroDivisionError("no [first] map")

    engine(series(stop_rule=broken))
    series.assert_done()
    said = "the stop rule failed: ZeroDivisionError: no [first] map"
    assert [stop["reason"] for stop in documents.of("stop")] == [said, "", "", ""]
    told = " ".join(capsys.readouterr().err.split())
    assert told.count(f"After repeat 1 of region 'A' in area '1' of 'film' {said}.") == 1
    assert "nothing watches for damage any more" in told
    assert "ZeroDivisionError" in caplog.text


def test_a_rule_hears_of_every_repeat_in_order_whatever_came_between(
    engine: RunEngine, film: Any, documents: Any, series: Any
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
    assert series.runs == [("A", 1), ("B", 1), ("B", 2)], "what it says of repeat 1 is heard later"
    assert [(done.region.name, done.repeat) for done in rule.told] == [("A", 1), ("B", 1), ("B", 2)]


def test_a_pause_makes_no_rule_wait_again(
    engine: RunEngine, film: Any, series: Any, run_until: Any, end_with: Any
) -> None:
    only_a, waits = series.matrix_of(regions=("A",), repeats=1), 20
    engine(series(matrix=only_a))

    def waiting(done: RepeatDone) -> Iterator[Msg]:
        for _ in range(waits):
            yield Msg("sleep", None, 0.001, rule=done.repeat)
        return Verdict(stop=False, reason="")

    given: list[Msg] = []

    def last_wait(message: Msg) -> bool:
        given.append(message)
        return message.kwargs.get("rule") == 1 and len([m for m in given if m.kwargs.get("rule")]) == waits

    more = series(matrix=series.matrix_of(regions=("A",)), stop_rule=waiting)
    with pytest.raises(RunEngineInterrupted):
        run_until(more, last_wait, end_with("_request_pause_coro"))
    seen: list[Msg] = []
    engine.msg_hook = seen.append
    engine.resume()
    assert not [message for message in seen if message.kwargs.get("rule") == 1]


def test_a_region_that_was_closed_by_hand_while_a_rule_thought_ends_no_series(
    engine: RunEngine, film: Any, documents: Any, series: Any
) -> None:
    def late(done: RepeatDone) -> Iterator[Msg]:
        yield from bps.null()
        if done.region.name == "A":
            film.ledger.scans.close(done.region, "it bubbles")
        return Verdict(stop=done.region.name == "A", reason="12 % are lost")

    engine(series(stop_rule=late))
    assert series.runs == [("A", 1), ("B", 1), ("B", 2)]
    assert documents.of("stop")[0]["reason"] == "12 % are lost"
    assert film.ledger.scans.closed(film.region).reason == "it bubbles"


def test_a_stricter_rule_may_close_a_region_before_its_next_repeat(
    engine: RunEngine, film: Any, documents: Any, series: Any
) -> None:
    only_a = series.matrix_of(regions=("A",))
    engine(series(matrix=only_a))
    rule = Rule(("A", 1), ("A", 2))
    film.beamline.coarse.y.set(55.0).wait(timeout=5)
    assert not engine(series(matrix=only_a.model_copy(update={"repeats": 3}), stop_rule=rule))
    assert len(rule.told) == 1
    assert film.ledger.scans.closed(film.region) is not None
    assert film.beamline.coarse.y.position == 55.0


def test_dose_and_reconstruction_use_one_probe_throughout(
    engine: RunEngine, film: Any, documents: Any, series: Any, store: Any
) -> None:
    beamline = replace(film.beamline, calibrations=store)
    optic = beamline.optic
    first = store.store_probe(optic.probe(beamline.geometry), geometry=beamline.geometry)

    def newer(done: RepeatDone) -> Iterator[Msg]:
        yield from bps.null()
        store.store_probe(optic.probe(beamline.geometry), geometry=beamline.geometry)
        return Verdict(stop=False, reason="")

    engine(series(beamline=beamline, probe="latest", stop_rule=newer))
    assert {start["ptycho"]["probe"]["uid"] for start in documents.of("start")} == {first}
    assert len(store.probes) == 5


def test_a_bar_goes_over_the_whole_series_and_makes_room_in_a_pause(
    engine: RunEngine, film: Any, series: Any, monkeypatch: pytest.MonkeyPatch, run_until: Any, end_with: Any
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
        run_until(
            series(stop_rule=Rule(("A", 1))),
            lambda m: m.command == "trigger" and m.obj is film.beamline.detector,
            end_with("_request_pause_coro"),
        )
    assert shown[1:] == ["resume", "pause"]
    engine.resume()
    assert shown[3:] == ["resume", "pause"]
    (task,) = shown[0]._bars.tasks
    assert (task.completed, task.total) == (9, 9), "a repeat of three points was not to be made any more"
