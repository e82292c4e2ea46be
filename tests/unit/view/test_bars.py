"""What a progress bar shows, and that it never does harm."""

import io
import logging
from typing import Any

import pytest
from rich.console import Console

from ptycho_plugin.view.bars import ScanBar, SeriesBar, progress_bars

PRIMARY = {"uid": "p", "name": "primary"}
DOSE = {"uid": "d", "name": "dose"}


def run(bar: Any, area: str, region: str, repeat: int, points: int) -> None:
    bar("start", {"num_points": points, "area": area, "region": region, "repeat": repeat})
    bar("descriptor", PRIMARY)
    bar("descriptor", DOSE)
    for number in range(points):
        bar("event", {"descriptor": "p", "seq_num": number + 1})
    bar("event", {"descriptor": "d", "seq_num": 1})
    bar("stop", {})


@pytest.fixture
def terminal() -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=100)


def test_a_series_bar_goes_over_all_its_runs(terminal: Console) -> None:
    bars = progress_bars(terminal)
    with SeriesBar(12, 2, bars) as bar:
        run(bar, "1", "A", 1, 4)
        run(bar, "1", "A", 2, 3)
        (task,) = bars.tasks
        assert (task.completed, task.total) == (7, 12)
        assert task.description == "1 A, repeat 2/2"
        assert task.time_remaining is not None
        bar.forgo(3)
        assert task.total == 9
        bar.pause()
        assert not bars.live.is_started
        bar.resume()
        assert bars.live.is_started
    assert not bars.live.is_started
    shown = terminal.file.getvalue()
    assert "1 A, repeat 2/2" in shown
    assert "7/9" in shown


def test_a_scan_bar_counts_points_and_no_other_events(terminal: Console) -> None:
    bars = progress_bars(terminal)
    run(ScanBar(bars), "1", "A", 1, 5)
    (task,) = bars.tasks
    assert (task.completed, task.total) == (5, 5)


def test_without_a_terminal_nothing_is_shown() -> None:
    pipe = Console(file=io.StringIO(), force_terminal=False)
    with SeriesBar(4, 1, progress_bars(pipe)) as bar:
        run(bar, "1", "A", 1, 4)
    assert not pipe.file.getvalue()


@pytest.mark.parametrize("fails", ["update", "start", "stop"])
def test_a_bar_that_fails_is_logged_and_nothing_more(
    fails: str, terminal: Console, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise OSError("the terminal is gone")

    bars = progress_bars(terminal)
    monkeypatch.setattr(bars, fails, fail)
    with caplog.at_level(logging.ERROR), SeriesBar(4, 1, bars) as bar:
        run(bar, "1", "A", 1, 4)
        bar.forgo(1)
        bar("start", {"of": "another run"})
    assert "could not be drawn" in caplog.text
    bars.live.stop()
