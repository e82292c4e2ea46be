"""Repeats of a region become its average and resolution in a real Tiled server, while the series goes on."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pytest

from ptycho_plugin.callbacks.live_reconstruction import LiveReconstruction
from ptycho_plugin.cli import main
from ptycho_plugin.errors import PublishingError
from ptycho_plugin.geometry import M_PER_NM
from ptycho_plugin.materials import CDS, PMMA
from ptycho_plugin.postprocess.pipeline import PostprocessingOptions
from ptycho_plugin.publishing.connection import split_key
from ptycho_plugin.publishing.region_client import PtychoRegion
from ptycho_plugin.publishing.regions import postprocess_region, region_key
from ptycho_plugin.publishing.report_client import PtychoReports, Subject
from ptycho_plugin.publishing.reports import (
    publish_region_report,
    publish_report,
    sections_of_sample,
    sections_of_series,
)
from ptycho_plugin.publishing.run_facts import RegionOfRun
from ptycho_plugin.publishing.search import find_region_results, find_results
from ptycho_plugin.publishing.series import SeriesWriter
from ptycho_plugin.trajectory import ConcentricRings

WAIT_S = 120
AREA, REGION = "area 1", "A/b"
LARGE = ConcentricRings(radial_step_um=0.4, height_um=4.0, width_um=4.0)


@pytest.fixture(scope="module")
def sample() -> str:
    return f"film {uuid4()}"


def measure(
    live: LiveReconstruction, make_scan: Any, sample: str, repeat: int, count: int | None = None
) -> Any:
    """Take a repeat, with noise of its own; return its run and how its reconstruction ended."""
    scan = make_scan(trajectory=LARGE)
    rng = np.random.default_rng(repeat)
    scan.frames = np.stack([scan._raw_frame(corner, rng) for corner in scan.corners])
    start = {"sample": sample, "area": AREA, "region": REGION, "repeat": repeat}
    for name, document in scan.documents(count=count, start=start):
        live(name, document)
    return scan, live.wait(timeout=WAIT_S)


def test_the_second_repeat_brings_average_and_resolution(
    live: LiveReconstruction, tiled: Any, make_scan: Any, sample: str
) -> None:
    first, outcome = measure(live, make_scan, sample, 1)
    assert (outcome.error, outcome.region_path) == (None, None)
    assert postprocess_region(tiled, sample, AREA, REGION) is None
    second, outcome = measure(live, make_scan, sample, 2)
    assert outcome.warnings == ()
    assert outcome.region_path == f"regions/{region_key(sample, AREA, REGION)}/2"
    assert 0 < outcome.region_s < WAIT_S
    told = tiled[outcome.region_path]
    assert isinstance(told, PtychoRegion)
    assert told.metadata["status"] == "complete"
    assert told.metadata["runs"] == [first.uid, second.uid]
    assert told.metadata["repeats"] == [1, 2]
    assert told.phase.shape == told.standard_error.shape == told.restored.shape == told.phases.shape[1:]
    assert np.abs(told.drift).max() < told.object_pixel, "the stage was where it was the first time"
    assert told.resolution["single"]["half_period"] < 20 * told.object_pixel
    assert told.resolution["restored"]["warning"].startswith("both maps were restored alike")
    assert "repeats" in repr(told)
    single, averaged = (told.resolution[row]["half_period"] / M_PER_NM for row in ("single", "averaged"))
    searched = tiled["regions", region_key(sample, AREA, REGION)].metadata
    assert (searched["single_resolution_nm"], searched["resolution_nm"]) == (single, averaged)
    assert [node.uri for node in find_region_results(tiled, sample=sample, finer_than_nm=averaged + 1)] == [
        told.uri
    ]
    assert {node.path_parts[-1] for node in find_results(tiled, sample=sample, finer_than_nm=single + 1)} == {
        first.uid,
        second.uid,
    }
    assert told.report.startswith("<!doctype html>")
    assert f"{sample} / {AREA} / {REGION}" in told.report
    with pytest.raises(PublishingError, match="has no 'mass_per_area': run postprocess_region with options"):
        _ = told.mass_per_area


def test_a_third_one_is_told_beside_it_and_an_interrupted_one_by_its_longest_run(
    live: LiveReconstruction, tiled: Any, make_scan: Any, sample: str
) -> None:
    whole, _ = measure(live, make_scan, sample, 3)
    _, outcome = measure(live, make_scan, sample, 3, count=20)
    assert outcome.region_path is not None
    assert outcome.region_path.endswith("/3")
    told = tiled[outcome.region_path]
    assert told.metadata["runs"][2] == whole.uid
    assert list(tiled["regions", region_key(sample, AREA, REGION)]) == ["2", "3"]
    assert len(told.phases) == 3


def test_it_can_be_made_again_with_other_options(tiled: Any, sample: str) -> None:
    """Of the three repeats that the tests above have measured."""
    options = PostprocessingOptions(restoration=None, material=CDS, matrix=PMMA)
    made = postprocess_region(tiled, sample, AREA, REGION, options)
    assert made is not None
    told = tiled["regions", region_key(sample, AREA, REGION), "3"]
    np.testing.assert_allclose(told.mass_per_area, made.mass_per_area)
    np.testing.assert_allclose(told.electron_density, made.electron_density)
    assert told.metadata["provenance"]["options"]["material"]["name"] == "CdS"
    with pytest.raises(PublishingError, match="has no 'restored'"):
        _ = told.restored
    with pytest.raises(PublishingError, match="has no 'report': run publish_region_report"):
        _ = told.report
    for _ in range(2):  # the second in the place of the first
        publish_region_report(tiled, f"regions/{region_key(sample, AREA, REGION)}/3")
    told = tiled["regions", region_key(sample, AREA, REGION), "3"]
    assert told.report.count("<img") == 5


@pytest.fixture
def report(tiled_server: Any, monkeypatch: Any, capsys: Any) -> Callable[..., Any]:
    """``ptycho report`` with these arguments: the object that it ends with, or what it says if it fails."""
    address, key = split_key(tiled_server.uri)

    monkeypatch.setenv("TILED_API_KEY", key)

    def run(*arguments: object) -> Any:
        monkeypatch.setattr("sys.argv", ["ptycho", "report", "--tiled", address, *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        told = capsys.readouterr()
        return told.err if ended.value.code else json.loads(told.out.splitlines()[-1])

    return run


def test_the_sample_has_a_report(tiled: Any, report: Any, sample: str, tmp_path: Path) -> None:
    """Of the one region that the tests above have made."""
    page, name = tmp_path / "sample.html", f"{sample} / {AREA} / {REGION}"
    told = report("--sample", sample, "-o", page, "--no-publish")
    assert told == {"report": str(page), "regions": [name]}
    assert "Errors of the reconstructions" in page.read_text("utf-8")
    assert len(list((tmp_path / "sample").glob("*.png"))) == 5
    assert "nothing would be the page and the folder" in report(
        "--sample", sample, "-o", tmp_path / "nothing"
    )
    with pytest.raises(PublishingError, match="no region of sample 'nothing' has two repeats"):
        sections_of_sample(tiled, "nothing")
    with pytest.raises(PublishingError, match="there is no series 'nothing' in Tiled"):
        sections_of_series(tiled, "nothing")


def test_reports_of_sample_and_series_are_in_tiled_and_the_newest_replaces_the_one_before(
    tiled: Any, report: Any, sample: str, tmp_path: Path
) -> None:
    uid = str(uuid4())
    series = {"uid": uid, "sample": sample, "matrix": {}, "forecast": {}}
    SeriesWriter(tiled)(
        "start", {"uid": "run", "area": AREA, "region": REGION, "repeat": 1, "series": series}
    )
    of_series = report("--series", uid, "-o", tmp_path / "series.html")["tiled_path"]
    of_sample = report("--sample", sample, "-o", tmp_path / "sample.html")["tiled_path"]
    reports = tiled["reports"]
    assert isinstance(reports, PtychoReports)
    assert {of_series, of_sample} == {f"reports/{key}" for key in reports}
    assert f"<title>Sample {sample}</title>" in reports.of_sample(sample)
    assert f"<title>Series {uid}</title>" in reports.of_series(uid)
    assert reports.of_sample(sample).count("<img") == 5
    assert dict(tiled[of_sample].metadata) == {
        "sample": sample,
        "regions": [f"{sample} / {AREA} / {REGION}"],
        "media_type": "text/html",
    }
    (section,) = sections_of_sample(tiled, sample)
    assert publish_report(tiled, Subject("sample", sample), [section, section]) == of_sample
    assert reports.of_sample(sample).count("<img") == 10
    assert len(reports) == 2
    with pytest.raises(
        PublishingError, match="there is no report of sample 'nothing' in Tiled: ptycho report"
    ):
        reports.of_sample("nothing")


def test_who_may_not_write_has_the_page_and_is_told_that_tiled_has_not(
    report: Any, sample: str, tmp_path: Path, monkeypatch: Any
) -> None:
    """A server for one user has no keys that may only read: the refusal is a stand-in's."""

    def refused(*_: Any) -> None:
        raise PublishingError("Tiled refused the API key")

    monkeypatch.setattr("ptycho_plugin.publishing.reports.publish_report", refused)
    page = tmp_path / "page.html"
    said = report("--sample", sample, "-o", page)
    assert f"{page} is written, but not in Tiled: Tiled refused the API key; --no-publish" in said
    assert page.read_text("utf-8").startswith("<!doctype html>")


def test_what_a_killed_process_left_half_written_is_not_reported(tiled: Any, sample: str) -> None:
    region = tiled["regions", region_key(sample, AREA, REGION)]
    metadata = {**region["3"].metadata, "status": "being written"}
    region.create_container("4", metadata=metadata, specs=["PtychoRegion"])
    (section,) = sections_of_sample(tiled, sample)
    assert section.facts["repeats"] == [1, 2, 3]


@pytest.mark.parametrize(
    "start",
    [
        {},
        {"sample": {"name": "film"}, "area": "1", "region": "A", "repeat": 1},
        {"sample": "film", "repeat": 1},
    ],
)
def test_a_run_that_names_no_region_as_a_guard_does_is_of_none(start: dict[str, Any]) -> None:
    """Names in a start document are anybody's: the run is reconstructed all the same."""
    assert RegionOfRun.of(start) is None


def test_a_guarded_run_is_of_its_region() -> None:
    start = {"sample": "film", "area": "1", "region": "A", "repeat": 2, "uid": "other"}
    assert RegionOfRun.of(start) == RegionOfRun(sample="film", area="1", region="A", repeat=2)


def test_names_that_look_alike_are_other_regions() -> None:
    assert region_key("a b", "1", "A") != region_key("a-b", "1", "A")
    assert region_key("film 1", "1", "A/B").replace("-", "").isalnum()
