"""Progress bars on a terminal's standard error; silent in a pipe."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as RichProgress

    from ptycho_plugin.reconstruction.result import Progress

PACE_S = 1800.0
"""Seconds over which the pace is measured that tells the time left."""

P = ParamSpec("P")

logger = logging.getLogger(__name__)


def progress_bars(console: Console | None = None) -> RichProgress:
    """Return bars, which are shown in a ``with`` block, on a console that is by default standard error."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as RichProgress

    console = console or Console(stderr=True)
    columns = (
        TextColumn("{task.description:<24}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}"),
        TimeRemainingColumn(),
    )
    return RichProgress(
        *columns,
        console=console,
        disable=not console.is_terminal,
        speed_estimate_period=PACE_S,
        redirect_stdout=sys.stdout.isatty(),
    )


class ReconstructionBar:
    """A bar of the iterations of one reconstruction."""

    def __init__(self, bars: RichProgress) -> None:
        self._bars = bars
        self._task = bars.add_task("reconstruction", total=None, note="")

    def __call__(self, now: Progress) -> None:
        """Show where it stands."""
        self._bars.update(
            self._task,
            description=now.engine,
            completed=now.iteration,
            total=now.iterations or None,
            note=f"{now.frames} frames, error {now.error:.4f}",
        )


class ScanBar:
    """A bar of the points of one scan, fed by its documents."""

    def __init__(self, bars: RichProgress) -> None:
        self._bars = bars
        self._task = bars.add_task("scan", total=None, note="")
        self._is_point = _Points()

    def __call__(self, name: str, doc: Mapping[str, Any]) -> None:
        """Take in one document."""
        if name == "start":
            self._bars.update(self._task, total=doc.get("num_points"))
        elif self._is_point(name, doc):
            self._bars.update(self._task, completed=doc["seq_num"], note="points")


def _harmless(method: Callable[P, None]) -> Callable[P, None]:
    """Log what a method raises: a view never ends a scan."""

    @wraps(method)
    def call(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            method(*args, **kwargs)
        except Exception:
            logger.exception("the progress bar could not be drawn")

    return call


class SeriesBar:
    """One bar over all points of a series, with the time left at the pace so far.

    It takes the documents of the series' runs, and is shown in a ``with`` block. Given to the RunEngine as a
    message's object, it makes room while the RunEngine is paused. Whatever fails is logged, never raised.

    Parameters
    ----------
    points : int
        Left of the series.
    repeats : int
        Of each region.
    bars : rich.progress.Progress, optional
    """

    def __init__(self, points: int, repeats: int, bars: RichProgress | None = None) -> None:
        self._bars = progress_bars() if bars is None else bars
        self._left = points
        self._repeats = repeats
        self._task = self._bars.add_task("series", total=points, note="points")
        self._is_point = _Points()

    def __enter__(self) -> SeriesBar:
        self.resume()
        return self

    def __exit__(self, *raised: object) -> None:
        self.pause()

    @_harmless
    def __call__(self, name: str, doc: Mapping[str, Any]) -> None:
        """Take in one document."""
        if name == "start":
            repeat = f"{doc['area']} {doc['region']}, repeat {doc['repeat']}/{self._repeats}"
            self._bars.update(self._task, description=repeat)
        elif self._is_point(name, doc):
            self._bars.update(self._task, advance=1)

    @_harmless
    def forgo(self, points: int) -> None:
        """Say that some points will not be exposed."""
        self._left -= points
        self._bars.update(self._task, total=self._left)

    @_harmless
    def pause(self) -> None:
        """Leave the bar as it is, and the terminal to others."""
        if not self._bars.disable:  # it would print an empty line
            self._bars.stop()

    @_harmless
    def resume(self) -> None:
        """Show it."""
        self._bars.start()


class _Points:
    """Tells events of the primary stream, one for each point, from other documents."""

    def __init__(self) -> None:
        self._primary: set[str] = set()

    def __call__(self, name: str, doc: Mapping[str, Any]) -> bool:
        if name == "descriptor" and doc["name"] == "primary":
            self._primary.add(doc["uid"])
        return name == "event" and doc["descriptor"] in self._primary
