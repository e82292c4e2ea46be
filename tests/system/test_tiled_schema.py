"""``docs/schema.md`` says what is in Tiled: each of its tables is compared with real results."""

import re
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pytest

from ptycho_plugin.callbacks.live_reconstruction import LiveReconstruction
from ptycho_plugin.errors import DivergenceError, PublishingError
from ptycho_plugin.live.publisher import Publisher
from ptycho_plugin.publishing.client import PtychoReconstruction
from ptycho_plugin.publishing.results import ResultWriter
from ptycho_plugin.publishing.schema import SCHEMA_VERSION
from ptycho_plugin.reconstruction.result import Result

PAGE = (Path(__file__).parents[2] / "docs" / "schema.md").read_text("utf-8")
WAIT_S = 120


def table(first: str) -> list[dict[str, str]]:
    """Return the rows of the table whose first heading this is, by its headings."""
    lines = iter(PAGE.splitlines())
    heading = next(line for line in lines if line.startswith(f"| {first} |"))
    names, _ = cells(heading), next(lines)
    rows = []
    for line in lines:
        if not line.startswith("|"):
            break
        rows.append(dict(zip(names, cells(line), strict=True)))
    return rows


def cells(line: str) -> list[str]:
    return [cell.replace("`", "").strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def keys(*places: str) -> set[str]:
    """Return the metadata that the page has in these places."""
    return {row["key"] for row in table("key") if row["in"] in places}


@pytest.fixture
def thick_result(small_result: Result) -> Result:
    """One of two slices, which has every array that there is."""
    fields = {name: getattr(small_result, name) for name in small_result.__slots__}
    return Result(**fields | {"slices": np.repeat(small_result.slices, 2, axis=0)})


def test_arrays_are_as_the_page_has_them(tiled: Any, thick_result: Result, data_folder: Path) -> None:
    writer = ResultWriter(tiled, str(uuid4()), folder=data_folder / "results")
    writer.write_live(thick_result)
    rows = table("array")
    live = {row["array"] for row in rows if "from the first live map on" in row["what"]}
    assert set(tiled[writer.path]) == live
    writer.write_final(thick_result)
    node = tiled[writer.path]
    assert {(name, ", ".join(array.dims), str(array.dtype)) for name, array in node.items()} == {
        (row["array"], row["dims"], row["dtype"]) for row in rows
    }


def test_metadata_are_as_the_page_has_them(tiled: Any, small_result: Result, data_folder: Path) -> None:
    writer = ResultWriter(tiled, str(uuid4()), folder=data_folder / "results")
    writer.write_live(small_result)
    assert set(tiled[writer.path].metadata) == keys("all")
    writer.write_final(small_result)
    metadata = tiled[writer.path].metadata
    assert set(metadata) == keys("all", "sealed")
    assert set(metadata["seal"]) == {row["key of seal"] for row in table("key of `seal`")}
    assert [metadata["schema_version"]] == [
        int(row["what"]) for row in table("key") if row["key"] == "schema_version"
    ]
    assert f"- **{SCHEMA_VERSION}**:" in PAGE


def test_a_diverged_one_says_why(tiled: Any, small_result: Result, tmp_path: Path) -> None:
    writer = ResultWriter(tiled, str(uuid4()))
    publisher = Publisher(writer, tmp_path, lambda **_: None, started=0.0)
    publisher.keep(DivergenceError("it diverged", small_result))
    assert set(tiled[writer.path].metadata) == keys("all", "sealed", "diverged")


def test_a_worker_says_of_a_repeat_what_the_page_has(
    tiled: Any, tiled_server: Any, data_folder: Path, tmp_path: Path, make_scan: Any
) -> None:
    live = LiveReconstruction(tiled_server.uri, tmp_path / "spool", data_folder)
    place = {"sample": str(uuid4()), "area": "1", "region": "A", "repeat": 1}
    for name, document in make_scan().documents(start=place):
        live(name, document)
    path = live.wait(timeout=WAIT_S).tiled_path
    assert path is not None
    metadata = tiled[path].metadata
    assert set(metadata) == keys("all", "sealed", "worker", "repeat")
    assert {key: metadata[key] for key in place} == place
    assert metadata["purpose"] == "scan"


def test_no_row_says_that_it_is_in_a_place_that_there_is_not() -> None:
    assert {row["in"] for row in table("key")} == {"all", "sealed", "worker", "repeat", "diverged"}


def test_a_version_that_is_not_known_is_refused_but_can_be_listed(tiled: Any, small_result: Result) -> None:
    writer = ResultWriter(tiled, str(uuid4()))
    writer.write_live(small_result)
    tiled[writer.path].update_metadata({"schema_version": SCHEMA_VERSION + 1})
    node = dict(tiled["reconstructions"].items())[writer.path.rpartition("/")[2]]
    assert isinstance(node, PtychoReconstruction)
    assert node.status == "live"
    for name in ("phase", "r_factor", "geometry", "record"):
        with pytest.raises(PublishingError, match="has schema version 3, this package knows 2: install"):
            getattr(node, name)
