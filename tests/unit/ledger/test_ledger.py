"""Exposures as intended, done and withdrawn, and what the ledger answers about them."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import numpy as np
import pytest

from ptycho_plugin.errors import InputError, LedgerError
from ptycho_plugin.ledger import Ledger


def test_an_intended_exposure_counts_at_its_upper_bound_until_it_is_confirmed(
    ledger, region, intent, delivered
):
    key = ledger.intend(intent())
    assert ledger.exposures(region).photons_by_status() == {
        "done": 0,
        "under way": 1000,
        "uncertain": 0,
        "withdrawn": 0,
    }
    ledger.confirm(key, delivered())
    exposures = ledger.exposures(region)
    assert exposures.status.tolist() == ["done"]
    assert exposures.photons.tolist() == [900]
    assert exposures.photons_uncertainty.tolist() == [30]


def test_a_row_says_what_was_exposed(ledger, region, intent, delivered):
    moving = intent(7, kind="alignment", repeat=3, start_um=(99, 200), end_um=(101, 202), run_uid="stxm")
    ledger.confirm(ledger.intend(moving), delivered(open_s=0.19))
    exposures = ledger.exposures(region)
    assert (exposures.run_uid[0], exposures.point[0], exposures.attempt[0]) == ("stxm", 7, 1)
    assert (exposures.kind[0], exposures.repeat[0], exposures.region[0]) == ("alignment", 3, region.key)
    assert (exposures.energy_eV[0], exposures.calibration[0]) == (6200, "flux-1")
    assert exposures.open_s.tolist() == [0.19]
    assert exposures.opened[0] == np.datetime64("2026-03-01T12:00:00")
    assert exposures.closed[0] == np.datetime64("2026-03-01T12:00:00.210000")
    np.testing.assert_allclose(exposures.start_um, [[-1, 0]])
    np.testing.assert_allclose(exposures.end_um, [[1, 2]])
    np.testing.assert_allclose(exposures.positions_um, [[0, 1]])


def test_measured_positions_take_the_place_of_intended_ones(ledger, region, intent, delivered):
    ledger.confirm(ledger.intend(intent()), delivered(start_um=(100.5, 200)))
    exposures = ledger.exposures(region)
    np.testing.assert_allclose(exposures.start_um, [[0.5, 0]])
    np.testing.assert_allclose(exposures.end_um, [[0.5, 0]])


def test_a_withdrawn_exposure_stays_as_a_row_without_photons(ledger, region, intent):
    key = ledger.intend(intent())
    with pytest.raises(LedgerError, match="for no reason"):
        ledger.withdraw(key, "")
    ledger.withdraw(key, "the detector was not armed")
    exposures = ledger.exposures(region)
    assert exposures.status.tolist() == ["withdrawn"]
    assert exposures.reason.tolist() == ["the detector was not armed"]
    assert exposures.photons.sum() == exposures.photons_uncertainty.sum() == 0
    assert np.isnat(exposures.opened).all()


def test_a_point_is_exposed_again_only_when_asked_for_or_never_exposed(ledger, intent, delivered):
    ledger.withdraw(ledger.intend(intent()), "paused before the shutter opened")
    ledger.confirm(ledger.intend(intent()), delivered())
    with pytest.raises(LedgerError, match=r"point 0, attempt 2\) is done: .* must be asked for"):
        ledger.intend(intent())
    ledger.confirm(ledger.intend(intent(), again=True), delivered())
    assert ledger.exposures_of_run("run").attempt.tolist() == [1, 2, 3]


def test_the_next_exposure_of_a_run_waits_for_the_last_one_to_be_settled(ledger, intent, delivered):
    key = ledger.intend(intent(4))
    with pytest.raises(LedgerError, match="point 4, attempt 1\\) is under way: confirm or withdraw it"):
        ledger.intend(intent(5))
    ledger.confirm(key, delivered())
    ledger.intend(intent(5))


def test_what_an_aborted_run_left_is_uncertain_when_the_next_run_begins(ledger, region, intent, delivered):
    left = ledger.intend(intent(run_uid="halted"))
    ledger.confirm(ledger.intend(intent(run_uid="next")), delivered())
    assert ledger.uncertain("halted").key.tolist() == ledger.uncertain(region).key.tolist() == [left]
    assert ledger.exposures(region).photons.sum() == 1900
    with pytest.raises(LedgerError, match="is uncertain: exposing the point again"):
        ledger.intend(intent(run_uid="halted"))


@pytest.mark.parametrize("settle", ["confirm", "withdraw"])
def test_what_was_settled_stays(ledger, intent, delivered, settle):
    key = ledger.intend(intent())
    ledger.confirm(key, delivered())
    with pytest.raises(LedgerError, match="is done already"):
        getattr(ledger, settle)(key, delivered() if settle == "confirm" else "no")
    assert ledger.exposures_of_run("run").photons.tolist() == [900]


def test_an_exposure_that_is_not_there_cannot_be_settled(ledger, delivered):
    with pytest.raises(LedgerError, match="no exposure 5"):
        ledger.confirm(5, delivered())


def test_another_session_sees_what_is_under_way_and_leaves_it_alone(ledger, region, intent, delivered, path):
    key = ledger.intend(intent())
    with Ledger(path) as other:
        assert other.exposures(region).status.tolist() == ["under way"]
        with pytest.raises(LedgerError, match="under way in another session"):
            other.confirm(key, delivered())
        with pytest.raises(LedgerError, match="under way: confirm"):
            other.intend(intent(), again=True)
        ledger.close()
        assert other.uncertain(region).key.tolist() == [key]
        other.confirm(key, delivered())
        assert other.exposures(region).photons_by_status()["done"] == 900


def test_alignment_before_regions_were_placed_counts_in_them(ledger, region, intent, delivered):
    for point, row in enumerate((130.0, 138.0)):
        ledger.confirm(ledger.intend(intent(point, on="film", start_um=(row, 200))), delivered())
    late = ledger.samples.place_region("film", "1", "B", stage_um=(133, 200), reach_um=5)
    np.testing.assert_allclose(ledger.exposures(late).start_um, [[-3, 0], [5, 0]])
    assert len(ledger.exposures(region)) == 0


def test_a_path_counts_where_it_only_passes(ledger, region, intent, delivered):
    passing = intent(on="film", start_um=(100, 150), end_um=(100, 250))
    beside = intent(1, on="film", start_um=(106, 150), end_um=(106, 250))
    for each in (passing, beside):
        ledger.confirm(ledger.intend(each), delivered())
    assert ledger.exposures(region).point.tolist() == [0]


def test_an_intent_outside_its_region_is_refused(ledger, intent, region):
    with pytest.raises(
        LedgerError, match=r"point 0 at \(0, 0\) um lies 200.0 um from the centre of region 'A'"
    ):
        ledger.intend(intent(start_um=(0, 0)))
    with pytest.raises(LedgerError, match=r"lies 6\.0 um"):
        ledger.intend(intent(end_um=(106, 200)))
    with pytest.raises(LedgerError, match="is of another ledger"):
        ledger.intend(intent(on=region.model_copy(update={"reach_um": 1e4})))
    assert len(ledger.exposures_of_run("run")) == 0


def test_an_unknown_sample_is_refused_with_those_that_are_known(ledger, intent):
    with pytest.raises(LedgerError, match="no sample 'flim', it knows: film"):
        ledger.intend(intent(on="flim"))


def test_two_threads_share_a_session(ledger, region, intent, delivered):
    def expose(run: str) -> None:
        for point in range(10):
            key = ledger.intend(intent(point, run_uid=run))
            # Settled a moment later by the same thread, though the other may have begun its own.
            ledger.confirm(key, delivered())

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(expose, ("one", "other")))
    assert ledger.exposures(region).photons_by_status()["done"] == 20 * 900


@pytest.mark.parametrize(
    ("field", "value"), [("photons", -1.0), ("photons", np.nan), ("closed", "before"), ("open_s", -0.1)]
)
def test_a_delivery_that_cannot_be_is_refused(delivered, field, value):
    value = delivered().opened - timedelta(seconds=1) if value == "before" else value
    with pytest.raises(InputError):
        delivered(**{field: value})


@pytest.mark.parametrize(("field", "value"), [("photons_at_most", 0), ("open_s", 0), ("point", -1)])
def test_an_intent_that_cannot_be_is_refused(intent, field, value):
    with pytest.raises(InputError, match=field):
        intent(**{field: value})


def test_a_closed_ledger_takes_nothing(path):
    ledger = Ledger(path, new=True)
    ledger.close()
    ledger.close()
    with pytest.raises(LedgerError, match="closed"):
        ledger.samples.mount("film")


def test_a_trajectory_is_intended_as_a_whole_and_its_ways_are_no_exposures(ledger, intent, delivered):
    way = intent(1).model_copy(update={"kind": "transit"})
    keys = ledger.intend_all([intent(0), way, intent(1)])
    assert set(ledger.exposures_of_run("run").status) == {"under way"}
    with pytest.raises(LedgerError, match="under way"):
        ledger.intend(intent(2))
    ledger.settle({keys[0]: delivered(), keys[1]: delivered(frame="none"), keys[2]: "it was stopped before"})
    assert ledger.exposures_of_run("run").status.tolist() == ["done", "done", "withdrawn"]
    ledger.confirm(ledger.intend(intent(1)), delivered())
    with pytest.raises(LedgerError, match="must be asked for"):
        ledger.intend_all([way, intent(1)])
    assert len(ledger.exposures_of_run("run")) == 4  # none of the two
    ledger.intend_all([way, intent(1)], again=[1])


def test_what_of_a_trajectory_is_not_settled_when_the_next_begins_is_uncertain(ledger, intent, delivered):
    first, _ = ledger.intend_all([intent(0), intent(1)])
    ledger.confirm(first, delivered())
    assert ledger.exposures_of_run("run").status.tolist() == ["done", "under way"]
    ledger.intend(intent(0, run_uid="next"))
    assert ledger.exposures_of_run("run").status.tolist() == ["done", "uncertain"]


def test_outcomes_are_written_together_or_not_at_all(ledger, intent, delivered):
    (key,) = ledger.intend_all([intent(0)])
    with pytest.raises(LedgerError, match="no exposure 99"):
        ledger.settle({key: delivered(), 99: delivered()})
    assert ledger.exposures_of_run("run").status.tolist() == ["under way"]
