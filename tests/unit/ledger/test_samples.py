"""Regions keep their identity when their sample is mounted again."""

import numpy as np
import pytest

from ptycho_plugin.errors import InputError, LedgerError
from ptycho_plugin.ledger import Budget
from ptycho_plugin.ledger.rigid import RigidTransform

MARKS = {"corner": (0.0, 0.0), "cross": (0.0, 7000.0), "hole": (3000.0, 0.0)}
TURNED = RigidTransform(complex(np.exp(0.05j)), 120 - 340j)
"""How the sample lies when it is mounted again."""
TURNED_MARKS = {name: TURNED.to_stage(mark) for name, mark in MARKS.items()}


@pytest.fixture
def samples(ledger, region):
    ledger.samples.find_marks("film", MARKS)
    return ledger.samples


def test_a_region_is_found_again_where_it_lies_now(samples, region):
    samples.mount("film", again=True)
    mounting = samples.find_marks("film", {name: TURNED_MARKS[name] for name in ("corner", "cross")})
    assert mounting.transform.angle == pytest.approx(0.05)
    assert mounting.residual_um < 1e-6
    there = samples.stage_position(region)
    np.testing.assert_allclose(there, TURNED.to_stage((100, 200)), atol=1e-6)
    assert samples.region_at("film", there) == samples.region("film", "1", "A") == region


def test_exposures_before_and_after_are_on_the_same_axes(ledger, samples, region, intent, delivered):
    ledger.confirm(ledger.intend(intent(0, start_um=(101, 202))), delivered())
    samples.mount("film", again=True)
    samples.find_marks("film", TURNED_MARKS)
    now = TURNED.to_stage((101, 202))
    ledger.confirm(ledger.intend(intent(1, start_um=now)), delivered())
    np.testing.assert_allclose(ledger.exposures(region).start_um, [[1, 2], [1, 2]], atol=1e-6)


def test_until_its_marks_are_found_nothing_is_meant_for_a_region_and_nothing_is_forgotten(
    ledger, samples, region, intent, delivered
):
    samples.mount("film", again=True)
    for refused in (
        lambda: ledger.intend(intent()),
        lambda: samples.stage_position(region),
        lambda: samples.region_at("film", (100, 200)),
        lambda: samples.place_region("film", "1", "B", stage_um=(0, 0), reach_um=5),
    ):
        with pytest.raises(LedgerError, match="where it lies is not known: find two of its marks"):
            refused()
    search = intent(on="film", start_um=TURNED.to_stage((100, 200)), kind="alignment")
    ledger.confirm(ledger.intend(search), delivered())
    assert ledger.exposures(region).unplaced == 1
    assert np.isnan(ledger.exposures_of_run("run").start_um).all()
    samples.find_marks("film", TURNED_MARKS)
    exposures = ledger.exposures(region)
    assert (len(exposures), exposures.unplaced) == (1, 0)
    np.testing.assert_allclose(exposures.start_um, [[0, 0]], atol=1e-6)


def test_marks_that_do_not_fit_are_refused_and_change_nothing(samples):
    samples.mount("film", again=True)
    swapped = {"corner": TURNED_MARKS["cross"], "cross": TURNED_MARKS["hole"]}
    mirrored = {name: (-row, column) for name, (row, column) in TURNED_MARKS.items()}
    for wrong in (swapped, mirrored):
        with pytest.raises(LedgerError, match="1 um is the limit"):
            samples.find_marks("film", wrong)
    with pytest.raises(LedgerError, match=r"two marks or more.* it has: corner, cross, hole"):
        samples.find_marks("film", {"corner": (0, 0), "unknown": (5, 5)})
    assert samples.mounting("film").transform is None


def test_a_mark_found_later_locates_the_sample_the_next_time(samples):
    samples.mount("film", again=True)
    samples.find_marks("film", {**TURNED_MARKS, "edge": TURNED.to_stage((50, 50))})
    samples.mount("film", again=True)
    again = samples.find_marks("film", {"corner": (0, 0), "edge": (50, 50)})
    assert again.transform.angle == pytest.approx(0, abs=1e-9)


def test_a_mark_keeps_its_place(samples):
    with pytest.raises(LedgerError, match="has marks corner already"):
        samples.find_marks("film", {"corner": (1, 1)})


def test_a_region_keeps_its_place(samples, region):
    with pytest.raises(LedgerError, match="there is a region 'A' in area '1' of 'film' already"):
        samples.place_region("film", "1", "A", stage_um=(0, 0), reach_um=5)
    samples.place_region("film", "2", "A", stage_um=(0, 7000), reach_um=5)
    assert [str(each) for each in samples.regions("film")] == [
        "region 'A' in area '1' of 'film'",
        "region 'A' in area '2' of 'film'",
    ]


def test_a_region_without_a_size_is_refused(samples):
    with pytest.raises(InputError, match="reach_um"):
        samples.place_region("film", "1", "B", stage_um=(0, 0), reach_um=0)
    assert len(samples.regions("film")) == 1


def test_of_overlapping_regions_the_nearest_is_found(samples, region):
    other = samples.place_region("film", "1", "B", stage_um=(106, 200), reach_um=5)
    assert samples.region_at("film", (102, 200)) == region
    assert samples.region_at("film", (104, 200)) == other


@pytest.mark.parametrize(
    ("look", "sentence"),
    [
        (lambda s: s.region("film", "1", "F"), "area '1' of 'film' has no region 'F', it has: A"),
        (lambda s: s.region("film", "3", "A"), "no regions in an area '3', it has some in: 1"),
        (lambda s: s.region("wafer", "1", "A"), "no sample 'wafer', it knows: film"),
        (lambda s: s.region_at("film", (110, 203)), r"the nearest is region 'A' .*, 10\.0 um away"),
        (lambda s: s.find_marks("wafer", MARKS), "no sample 'wafer'"),
    ],
)
def test_what_is_not_there_is_answered_with_what_is(samples, look, sentence):
    with pytest.raises(LedgerError, match=sentence):
        look(samples)


def test_the_latest_budget_holds(samples, region):
    with pytest.raises(LedgerError, match=r"region 'A' .* has no budget"):
        samples.budget(region)
    for dose in (1e6, 2e6):
        samples.set_budget(region, Budget(dose=dose, material="PMMA", formula="C5H8O2"))
    assert samples.budget(region) == Budget(dose=2e6, material="PMMA", formula="C5H8O2")


def test_a_budget_that_holds_already_is_not_set_again(samples, region):
    budget = Budget(dose=1e6, material="PMMA", formula="C5H8O2")
    for _ in range(2):
        samples.set_budget(region, budget)
    with samples._database.snapshot() as connection:
        assert len(connection.execute("SELECT * FROM budgets").fetchall()) == 1


def test_what_is_mounted_is_not_mounted_by_mistake(samples, region):
    with pytest.raises(LedgerError, match=r"'film' is mounted since .* UTC: .*again=True"):
        samples.mount("film")
    assert samples.region_at("film", (100, 200)) == region


def test_a_number_is_no_budget(samples, region):
    with pytest.raises(LedgerError, match=r"50000.0 is no budget: give Budget\("):
        samples.set_budget(region, 50e3)
