"""The group of a series' runs in a real Tiled server, and the runs back from it."""

import logging
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from ptycho_plugin.errors import PublishingError
from ptycho_plugin.publishing.raw_run_writer import RawRunWriter
from ptycho_plugin.publishing.series import SeriesWriter
from ptycho_plugin.publishing.series_client import DoseSeries


def of_series(uid: str, area: str, region: str, repeat: int, matrix: Any = None) -> dict[str, Any]:
    series = {"uid": uid, "sample": "film", "matrix": matrix or {"repeats": 2}, "forecast": {"points": 12}}
    return {"area": area, "region": region, "repeat": repeat, "series": series}


def test_the_runs_of_a_series_are_found(tiled: Any, make_scan: Any, tmp_path: Path) -> None:
    uid, uids = str(uuid4()), {}
    for session in range(2):
        writer = RawRunWriter(tiled)
        for area, region, repeat in ((("1", "A", 1), ("1", "A", 2)), (("1", "A", 2), ("2", "A", 1)))[session]:
            scan = make_scan()
            for name, document in scan.documents(count=1, start=of_series(uid, area, region, repeat)):
                writer(name, document)
            uids[scan.uid] = area, region, repeat
    series = tiled["series", uid]
    assert isinstance(series, DoseSeries)
    assert repr(series) == "<DoseSeries of 'film', 4 runs>"
    assert series.metadata["forecast"] == {"points": 12}

    def found(**which: Any) -> list[Any]:
        return [uids[run.start["uid"]] for run in series.runs(**which)]

    assert found() == list(uids.values())
    assert found(area="1", repeat=2) == [("1", "A", 2)] * 2
    assert found(repeat=1) == [("1", "A", 1), ("2", "A", 1)]
    assert found(region="B") == []


def test_a_series_may_grow_and_keeps_what_was_expected_of_it(tiled: Any) -> None:
    uid, writer = str(uuid4()), SeriesWriter(tiled)
    for run, repeats in (("run-1", 2), ("run-1", 2), ("run-2", 5)):
        start = of_series(uid, "1", "A", 1, {"repeats": repeats})
        start["series"]["forecast"] = {"points": repeats}
        writer("start", {"uid": f"{run}-{uid}", **start})
    series = tiled["series", uid]
    assert list(series) == [f"run-1-{uid}", f"run-2-{uid}"]
    assert series.metadata["matrix"] == {"repeats": 5}
    assert series.metadata["forecast"] == {"points": 2}
    with pytest.raises(PublishingError, match=rf"no run run-1-{uid} in 'raw' beside"):
        series.runs()


def test_what_tiled_does_not_take_is_written_later(
    tiled: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(self: Any, start: Any) -> None:
        raise PublishingError("Tiled cannot be reached")

    uid, writer = str(uuid4()), SeriesWriter(tiled)
    with monkeypatch.context() as patch, caplog.at_level(logging.WARNING):
        patch.setattr(SeriesWriter, "_node", refuse)
        writer("start", {"uid": f"run-{uid}", **of_series(uid, "1", "A", 1)})
    assert "not in Tiled yet: Tiled cannot be reached" in caplog.text
    writer("event", {})
    assert "series" not in tiled or uid not in tiled["series"]
    writer("stop", {})
    assert list(tiled["series", uid]) == [f"run-{uid}"]
    writer("start", {"uid": "another"})
    assert list(tiled["series", uid]) == [f"run-{uid}"]
