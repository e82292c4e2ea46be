"""When a series stops, and that it does not stop for nothing."""

from dataclasses import replace
from math import ceil, log

import numpy as np
import pytest

from ptycho_plugin.errors import InputError
from ptycho_plugin.postprocess.frc import ring_correlation
from ptycho_plugin.postprocess.repeats import HighAngleSignal, Repeat, RepeatSeries
from ptycho_plugin.postprocess.stopping import (
    DamageWatch,
    ResolutionReached,
    StopCriteria,
    predicted_correlation,
)
from ptycho_plugin.simulation.dying_film import GEOMETRY

PIXEL = GEOMETRY.object_pixel
LONGEST = 8
"""Repeats: the most enduring film has lost a tenth after 6.3."""
UNHURT = 1e9


def stopped_after(film, watch):
    """Number of the repeat after which a watch stops a series, None if it does not."""
    series = RepeatSeries()
    for repeat in film.repeats(LONGEST):
        series.add(repeat)
        if watch.judge(series).stop:
            return len(series)
    return None


def true_resolution(series, film):
    """Of the average, where its correlation with the truth falls to 0.5."""
    return ring_correlation(series.phases.mean(axis=0), film.truth()).half_period(0.5, PIXEL)


def test_twenty_dying_films_are_stopped_in_time_and_not_before(dying_film):
    """Noise as in maps of the published scan, or a little more: none false, none missed."""
    films = [dying_film(seed, noise=0.25) for seed in range(20)]
    stops = [stopped_after(film, DamageWatch()) for film in films]
    tenth_lost = [ceil(-log(0.9) * film.critical_repeats) for film in films]
    false = [stop for stop, lost in zip(stops, tenth_lost, strict=True) if stop is not None and stop < lost]
    missed = [stop for stop, lost in zip(stops, tenth_lost, strict=True) if stop is None or stop > lost + 1]
    assert (false, missed) == ([], [])


@pytest.mark.parametrize(("last", "said"), [(0.0, "100.0 +- 10.0 %"), (0.05, "95.0 +- 10.0 %")])
def test_a_high_angle_signal_that_is_gone_is_as_uncertain_as_what_is_left(dying_film, last, said):
    signals = [HighAngleSignal(1.0, 1e-3), HighAngleSignal(last, 0.1)]
    series = RepeatSeries(
        replace(repeat, high_angle=signal)
        for repeat, signal in zip(dying_film(0).repeats(2), signals, strict=True)
    )
    assert f"{said} of the high-angle signal" in DamageWatch().judge(series).reason


def test_films_that_endure_are_not_stopped(dying_film):
    assert [stopped_after(dying_film(seed, UNHURT), DamageWatch()) for seed in range(4)] == [None] * 4


def test_maps_that_are_the_same_have_lost_nothing(dying_film):
    """As where a recorded scan is replayed."""
    (first,) = dying_film(0).repeats(1)
    doses = [(n * first.dose_after, (n + 1) * first.dose_after) for n in range(5)]
    for number in (2, 5):
        series = RepeatSeries(Repeat(first.transmission, *dose) for dose in doses[:number])
        verdict = DamageWatch().judge(series)
        assert not verdict.stop
        assert "0.0 +- 0.0 % of the phase contrast" in verdict.reason


def test_the_reason_names_the_numbers(dying_film):
    signals = [HighAngleSignal(0.02, 1e-4), HighAngleSignal(0.02, 1e-4), HighAngleSignal(0.015, 1e-4)]
    repeats = dying_film(0, 10.0, 0.2).repeats(3)
    series = RepeatSeries(replace(r, high_angle=h) for r, h in zip(repeats, signals, strict=True))
    verdict = DamageWatch().judge(series)
    assert verdict.stop
    assert "of the phase contrast is lost after 84 kGy" in verdict.reason
    assert "25.0 +- 0.6 % of the high-angle signal since the first repeat" in verdict.reason
    assert ": more than 10 % at a confidence of 90 %" in verdict.reason
    assert "not surely more than 40 %" in DamageWatch(threshold=0.4).judge(series).reason


def test_a_surer_watch_waits_longer(dying_film):
    stops = [stopped_after(dying_film(4, 30.0, 0.8), DamageWatch(confidence=c)) for c in (0.5, 0.999)]
    assert stops[1] is None or stops[0] < stops[1]


@pytest.mark.parametrize(
    "judge", [DamageWatch().judge, lambda s: ResolutionReached(resolution=9e-6).judge(s, 1)]
)
def test_nothing_is_told_of_one_repeat(dying_film, judge):
    verdict = judge(dying_film(0).series(1))
    assert not verdict.stop
    assert "before the second repeat" in verdict.reason


def test_the_prediction_is_what_the_truth_says(dying_film):
    """Over ten films without damage: neither finer nor coarser."""
    films = [dying_film(seed, UNHURT, 1.0) for seed in range(10)]
    ratios = [
        predicted_correlation(series).half_period(0.5, PIXEL) / true_resolution(series, film)
        for film in films
        for series in [film.series(3)]
    ]
    assert np.mean(ratios) == pytest.approx(1.0, abs=0.05)


def test_a_confidence_is_how_often_it_is_true(dying_film):
    """Of twenty-five series without damage: the truth is as fine as said, or finer."""
    films = [dying_film(seed, UNHURT, 1.0) for seed in range(25)]
    said = [
        (predicted_correlation(series).half_period(0.5, PIXEL, 0.8), true_resolution(series, film))
        for film in films
        for series in [film.series(2)]
    ]
    held = np.mean([true <= at_least for at_least, true in said])
    assert 0.7 <= held <= 0.98


def test_it_stops_where_the_resolution_is_reached(dying_film):
    series = dying_film(0, UNHURT, 1.0).series(3)
    reached = predicted_correlation(series).half_period(0.5, PIXEL, 0.8)
    near, far = (ResolutionReached(resolution=reached * part).judge(series, PIXEL) for part in (1.001, 0.999))
    assert (near.stop, far.stop) == (True, False)
    assert f"3 repeats resolves {reached * 1e9:.1f} nm at a confidence of 80 %" in near.reason
    bold, timid = (ResolutionReached(resolution=reached, confidence=c) for c in (0.6, 0.95))
    assert (bold.judge(series, PIXEL).stop, timid.judge(series, PIXEL).stop) == (True, False)


def test_two_criteria_stop_for_either(dying_film):
    dying, enduring = dying_film(0, 10.0, 0.2).series(3), dying_film(0, UNHURT, 0.2).series(3)
    easy, hard = ResolutionReached(resolution=9e-6), ResolutionReached(resolution=1e-12)
    both = StopCriteria(resolution=hard).judge(dying, PIXEL)
    assert both.stop
    assert "of the phase contrast" in both.reason
    assert "are wanted" not in both.reason
    assert StopCriteria(resolution=easy).judge(enduring, PIXEL).stop
    neither = StopCriteria(resolution=hard).judge(enduring, PIXEL)
    assert not neither.stop
    assert "of the phase contrast" in neither.reason
    assert "are wanted" in neither.reason
    assert not StopCriteria(damage=None).judge(dying, PIXEL).stop


def test_more_repeats_resolve_more(dying_film):
    reached = [
        np.mean(
            [
                predicted_correlation(dying_film(seed, UNHURT, 1.5).series(n)).half_period(0.5, PIXEL)
                for seed in range(4)
            ]
        )
        for n in (2, 6)
    ]
    assert reached[1] < 0.95 * reached[0]


def test_half_bit_asks_for_its_own_threshold(dying_film):
    series = dying_film(0, UNHURT, 1.0).series(2)
    predicted = predicted_correlation(series)
    reached = predicted.half_period(np.sqrt(predicted.rings.threshold("half_bit")), PIXEL, 0.8)
    assert reached != predicted.half_period(0.5, PIXEL, 0.8)
    for part, stop in ((1.001, True), (0.999, False)):
        criterion = ResolutionReached(resolution=part * reached, criterion="half_bit")
        assert criterion.judge(series, PIXEL).stop is stop


def test_what_repeats_share_flatters_them(dying_film):
    """The same artefact in every map correlates, and is not the sample: turn the rings."""
    film = dying_film(0, UNHURT, 1.0)
    rng = np.random.default_rng(0)

    def flattery(turned):
        artefacts = rng.normal(size=(3, *next(film.repeats(1)).transmission.shape))
        artefacts = artefacts if turned else artefacts[:1].repeat(3, axis=0)
        maps = [
            Repeat(r.transmission * np.exp(0.02j * artefact), r.dose_before, r.dose_after)
            for r, artefact in zip(film.repeats(3), artefacts, strict=True)
        ]
        series = RepeatSeries(maps)
        return predicted_correlation(series).half_period(0.5, PIXEL) / true_resolution(series, film)

    assert flattery(turned=False) < 0.95 < flattery(turned=True)


def test_a_resolution_in_nanometres_is_refused():
    with pytest.raises(InputError, match="resolution = 30"):
        ResolutionReached(resolution=30)


@pytest.mark.parametrize("changes", [{"threshold": 0.0}, {"threshold": 1.0}, {"confidence": 0.3}])
def test_a_watch_that_cannot_be_is_refused(changes):
    with pytest.raises(InputError, match="DamageWatch"):
        DamageWatch(**changes)
