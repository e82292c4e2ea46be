"""No scan that was broken on purpose is green, and no good one red."""

import json
import re
from collections import Counter

import pytest

from benchmarks.broken_scans import RECIPE, broken_trials, good_trials, small_case
from ptycho_plugin.reconstruction.map_figures import MapFigures
from ptycho_plugin.reconstruction.map_verdict import CRITERIA, MapVerdict, judged
from ptycho_plugin.reconstruction.whole_scan import started

BY_THE_CAUSE = {
    "beam centre (4, 3) px off": r"the beam is \(4, 3\) px from where it should be",
    "beam centre 1 px off": r"the beam is \(1, 0\) px from where",
    "half the defocus": r"overlaps with the start probe by 0\.41",
    "another optic's probe": r"the start probe's light is like the mean frame by 0\.4",
    "rows and columns swapped": "times the curl that they have transposed",
    "rows mirrored": "times the curl that they have mirrored",
    "both signs reversed": "phase and modulus correlate by -0",
    "told jitter of 100 nm": "fit 3 times worse than most",
    "readback stuck for a third": "32% of the frames were measured where the one before was",
    "detector transposed": "times the curl that they have transposed",
    "detector flipped": "times the curl that they have mirrored",
    "detector turned by 180 degrees": "phase and modulus correlate by -0",
    "distance 1.1 times": "check the optic, the distance and the energy",
    "energy 0.9 times": "check the optic, the distance and the energy",
    "shutter closed for a third": "33% of the frames have less than 30% of the usual counts",
    "shutter 3 frames late": "3% of the frames have less than 30% of the usual counts",
    "frames shuffled": "like a sample's in none: check that frames and positions belong together",
    "a hot pixel, constant": "pixels that count what is neither .*: 1, add",
    "a hot pixel, faint": "pixels that count what is neither .*: 1, add",
    "a tenth of pixels clipped": r"3\d\.\d% of the counts are at the largest one",
    "a fiftieth of pixels clipped": r"9\.\d% of the counts are at the largest one",
    "30 % of the frames missing": "30 of 100 planned frames are missing",
}
"""What names the cause; the others are told by R alone."""
RED = {
    "beam centre (4, 3) px off",
    "twice the defocus",
    "defocus of the other sign",
    "rows and columns swapped",
    "rows mirrored",
    "both signs reversed",
    "told jitter of 100 nm",
    "true jitter of 80 nm",
    "stage stuck for a third",
    "readback stuck for a third",
    "detector transposed",
    "detector flipped",
    "detector turned by 180 degrees",
    "shutter closed for a third",
    "shutter 3 frames late",
    "frames shuffled",
    "frames one late",
    "a tenth of pixels clipped",
}
"""Maps that show something else than the sample; the others show it out of place, blurred or in part."""


@pytest.fixture(scope="module")
def broken() -> dict[str, MapVerdict]:
    return {name: trial.verdict() for name, trial in broken_trials().items()}


@pytest.fixture(scope="module")
def good() -> dict[str, MapVerdict]:
    return {name: trial.verdict() for name, trial in good_trials().items()}


@pytest.fixture(scope="module")
def ordinary(good) -> MapFigures:
    return good["plain"].figures


def test_no_broken_scan_is_green(broken):
    assert len(broken) == 30
    assert [name for name, verdict in broken.items() if verdict.colour == "green"] == []


def test_no_good_scan_is_red_and_hardly_one_amber(good):
    """The one that may be amber has R 1.1 times that of noise: 1e6 photons tell of a hundredth of a pixel."""
    colours = Counter(verdict.colour for verdict in good.values())
    assert colours["red"] == 0
    assert [name for name, v in good.items() if v.colour == "amber"] in ([], ["drift of 1 px, refined"])


def test_the_worst_are_red(broken):
    assert {name for name, verdict in broken.items() if verdict.colour == "red"} == RED


@pytest.mark.parametrize("name", BY_THE_CAUSE)
def test_the_cause_is_among_the_reasons(broken, name):
    reasons = broken[name].reasons
    assert any(re.search(BY_THE_CAUSE[name], reason) for reason in reasons), reasons


def test_what_cannot_be_told_is_green():
    """A scale of all positions is taken up by the probe's defocus: with fewer photons, R is that of noise."""
    verdict = broken_trials(1e5)["positions 1.1 times"].verdict()
    assert verdict.colour == "green"
    assert verdict.figures.times_poisson < 1.03


def test_a_map_of_too_few_photons_is_amber_whatever_it_shows():
    few = 2e3
    faint = started(small_case(photons=few, contrast=0.06).scan, RECIPE).finish().verdict
    shuffled = broken_trials(few)["frames shuffled"].verdict()
    for verdict in faint, shuffled:
        assert verdict.colour == "amber"
    assert "take more photons" in faint.reasons[0]


def test_a_live_map_is_at_most_amber_for_its_r(ordinary):
    """One iteration from the start; what more iterations do not mend is told at once."""
    scan = small_case().scan
    early = started(scan, RECIPE, scan.positions)
    early.iterate()
    verdict = early.result().verdict
    assert verdict.figures.stage == "live"
    assert verdict.figures.times_poisson > 2
    assert verdict.colour == "amber"
    assert "wait for more iterations" in verdict.reasons[0]
    wrong = started(broken_trials()["detector transposed"].scan, RECIPE)
    wrong.iterate()
    assert wrong.result().verdict.colour == "red"


def test_a_growing_map_misses_no_frames(ordinary):
    growing = ordinary.model_copy(update={"stage": "live", "frames": 40})
    assert judged(growing).colour == "green"
    ended = growing.model_copy(update={"stage": "finished"})
    assert judged(ended).reasons == ("60 of 100 planned frames are missing: continue the scan",)
    assert judged(ended).colour == "red"


def test_a_diverged_map_is_red(ordinary):
    verdict = judged(ordinary.model_copy(update={"stage": "diverged"}))
    assert verdict.colour == "red"
    assert "diverged" in verdict.reasons[0]


def test_frames_at_the_tolerance_are_told(ordinary):
    some, many = (judged(ordinary.model_copy(update={"at_tolerance": share})) for share in (0.05, 0.4))
    assert (some.colour, many.colour) == ("amber", "red")
    assert "40% of the frames lie at the tolerance" in many.reasons[0]


def test_the_gravest_reason_comes_first(broken):
    verdict = broken["twice the defocus"]
    alone = [c(verdict.figures) for c in CRITERIA]
    colours = {reason.sentence: reason.colour for reason in alone if reason}
    assert [colours[sentence] for sentence in verdict.reasons] == ["red", "amber"]


def test_it_goes_through_json(broken):
    for verdict in broken.values():
        assert MapVerdict.model_validate(json.loads(json.dumps(verdict.model_dump(mode="json")))) == verdict


def test_it_reads_as_a_sentence(good):
    assert str(good["plain"]).startswith("green: R is 0.016")
