"""Results are found in Tiled by what they are of, and those of a run from the run."""

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from tiled.queries import FullText, Key

from ptycho_plugin import find_region_results, find_results, reconstructions_of
from ptycho_plugin.errors import InputError
from ptycho_plugin.publishing.connection import child
from ptycho_plugin.publishing.results import ResultWriter
from ptycho_plugin.publishing.run_facts import facts_of_run
from ptycho_plugin.reconstruction.result import Result

SAMPLE = f"film{uuid4().hex}"


@pytest.fixture
def found(tiled: Any, small_result: Result) -> dict[str, str]:
    """Names of four results of one sample, of which the last is of schema version 1, by their uids."""
    if f"reconstructions/{SAMPLE}-first" not in tiled:
        for name, region, repeat, hour in (
            ("first", "A", 1, 10),
            ("second", "A", 2, 11),
            ("other region", "B", 1, 12),
        ):
            place = {"sample": SAMPLE, "area": "1", "region": region, "repeat": repeat}
            facts = {**place, "date": f"2025-03-31T{hour}:00:00+00:00", "purpose": "scan"}
            ResultWriter(tiled, f"{SAMPLE}-{name}", facts).write_final(small_result)
        write_old(tiled, small_result)
        write_region(tiled)
    return {f"{SAMPLE}-{name}": name for name in ("first", "second", "other region", "old")}


def write_old(tiled: Any, result: Result) -> None:
    """Write a result as schema version 1 had it."""
    new = tiled["reconstructions", f"{SAMPLE}-first"].metadata
    kept = ("status", "provenance", "frames", "iteration", "r_factor", "object_pixel", "geometry")
    region = {"sample": SAMPLE, "area": "1", "region": "A", "repeat": 3}
    own = {"schema_version": 1, "region": region, "run_uid": f"{SAMPLE}-old"}
    node = tiled["reconstructions"].create_container(
        f"{SAMPLE}-old", metadata={**{key: new[key] for key in kept}, **own}, specs=["PtychoReconstruction"]
    )
    node.write_array(result.phase, key="phase")


def write_region(tiled: Any) -> None:
    """Write what is searched for of a region; `test_tiled_regions` has a real one."""
    searched = {
        "sample": SAMPLE,
        "area": "1",
        "region": "A",
        "repeats": [1, 2],
        "runs": [f"{SAMPLE}-first", f"{SAMPLE}-second"],
        "date": "2025-04-01T00:00:00+00:00",
        "resolution_nm": 21.5,
        "single_resolution_nm": 35.0,
    }
    region = child(tiled, "regions").create_container(f"{SAMPLE}-A", metadata=searched)
    region.create_container("2")


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, {"first", "second", "other region", "old"}),
        ({"region": "A"}, {"first", "second", "old"}),
        ({"area": "1", "region": "A", "repeat": 2}, {"second"}),
        ({"repeat": 3}, {"old"}),
        ({"area": "2"}, set()),
        ({"purpose": "scan"}, {"first", "second", "other region"}),
        ({"purpose": "probe_calibration"}, set()),
        ({"since": "2025-03-31T11:00"}, {"second", "other region"}),
        ({"since": "2025-03-31T13:00+02:00", "until": datetime(2025, 3, 31, 12, tzinfo=UTC)}, {"second"}),
        ({"until": datetime(2025, 3, 31).date()}, set()),
        ({"finer_than_nm": 36}, {"first", "second"}),
        ({"finer_than_nm": 35}, set()),
    ],
)
def test_what_is_asked_for_is_found(
    tiled: Any, found: dict[str, str], asked: dict[str, Any], expected: set[str]
) -> None:
    nodes = find_results(tiled, sample=SAMPLE, **asked)
    assert {found[node.path_parts[-1]] for node in nodes} == expected
    dates = [node.record["date"] for node in nodes if node.record["date"]]
    assert dates == sorted(dates)


def test_regions_are_found_by_what_averages_resolve(tiled: Any, found: dict[str, str]) -> None:
    (told,) = find_region_results(tiled, sample=SAMPLE, area="1", finer_than_nm=22, since="2025-04-01")
    assert told.path_parts[1:] == [f"{SAMPLE}-A", "2"]
    assert find_region_results(tiled, sample=SAMPLE, finer_than_nm=21) == []
    assert find_region_results(tiled, sample=SAMPLE, until="2025-04-01") == []


def test_queries_of_tiled_alone_find_them_too(tiled: Any, found: dict[str, str]) -> None:
    results = tiled["reconstructions"]
    assert list(results.search(Key("sample") == SAMPLE).search(Key("repeat") == 2)) == [f"{SAMPLE}-second"]
    assert set(results.search(FullText(SAMPLE))) == set(found)


def test_version_one_is_read(tiled: Any, found: dict[str, str], small_result: Result) -> None:
    old = tiled["reconstructions", f"{SAMPLE}-old"]
    place = {"sample": SAMPLE, "area": "1", "region": "A", "repeat": 3}
    assert {name: old.record[name] for name in place} == place
    assert (old.record["date"], old.record["runs"]) == (None, [f"{SAMPLE}-old"])
    assert old.record["energy_eV"] == old.geometry.energy_eV == small_result.geometry.energy_eV
    assert old.phase.shape == small_result.phase.shape
    assert [node.path_parts[-1] for node in reconstructions_of(tiled, f"{SAMPLE}-old")] == [f"{SAMPLE}-old"]


def test_a_run_leads_to_what_was_made_of_it(tiled: Any, raw_run: Any, small_result: Result) -> None:
    begun = raw_run(tiled_specs=["GuardedRun"])
    whole = raw_run(tiled_specs=["GuardedRun"])
    facts = facts_of_run(whole) | {"runs": [begun["uid"], whole["uid"]]}
    ResultWriter(tiled, whole["uid"], facts).write_final(small_result)
    for start in (begun, whole):
        (result,) = tiled["raw", start["uid"]].reconstructions
        assert result.path_parts[-1] == whole["uid"]
        assert [node.uri for node in reconstructions_of(tiled, start["uid"])] == [result.uri]
    assert reconstructions_of(tiled, "nothing") == []


def test_what_is_no_date_is_refused(tiled: Any) -> None:
    with pytest.raises(InputError, match="'yesterday' is no date: give one like 2025-03-31"):
        find_results(tiled, since="yesterday")
