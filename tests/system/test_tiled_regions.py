"""Repeats of a region become its average and resolution in a real Tiled server, while the series goes on."""

import json
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pytest

from ptycho_plugin.callbacks.live_reconstruction import LiveReconstruction
from ptycho_plugin.cli import main
from ptycho_plugin.errors import PublishingError
from ptycho_plugin.materials import CDS, PMMA
from ptycho_plugin.postprocess.pipeline import PostprocessingOptions
from ptycho_plugin.publishing.connection import split_key
from ptycho_plugin.publishing.region_client import PtychoRegion
from ptycho_plugin.publishing.regions import RegionOfRun, postprocess_region, region_key
from ptycho_plugin.publishing.reports import sections_of_sample, sections_of_series
from ptycho_plugin.trajectory import ConcentricRings

WAIT_S = 120
AREA, REGION = "area 1", "A/b"
LARGE = ConcentricRings(radial_step_um=0.4, height_um=4.0, width_um=4.0)


@pytest.fixture(scope="module")
def sample() -> str:
    return f"film {uuid4()}"


@pytest.fixture(scope="module")
def live(
    tiled_server: Any, data_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> LiveReconstruction:
    return LiveReconstruction(tiled_server.uri, tmp_path_factory.mktemp("spool"), data_folder)


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
    assert told.report.startswith("<!doctype html>")
    assert f"{sample}, area {AREA}, region {REGION}" in told.report
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


def test_the_sample_has_a_report(
    tiled: Any, tiled_server: Any, sample: str, tmp_path: Path, monkeypatch: Any, capsys: Any
) -> None:
    """Of the one region that the tests above have made."""
    address, key = split_key(tiled_server.uri)
    monkeypatch.setenv("TILED_API_KEY", key)
    page = tmp_path / "sample.html"
    monkeypatch.setattr(
        "sys.argv", ["ptycho", "report", "--tiled", address, "--sample", sample, "-o", str(page)]
    )
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code in (None, 0)
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["regions"] == [
        f"{sample}, area {AREA}, region {REGION}"
    ]
    assert "Errors of the reconstructions" in page.read_text("utf-8")
    assert len(list((tmp_path / "sample").glob("*.png"))) == 5
    with pytest.raises(PublishingError, match="no region of sample 'nothing' has two repeats"):
        sections_of_sample(tiled, "nothing")
    with pytest.raises(PublishingError, match="there is no series 'nothing' in Tiled"):
        sections_of_series(tiled, "nothing")


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
