"""Progress bars on a terminal's standard error; silent in a pipe."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress

    from ptycho_plugin.reconstruction.result import Progress


@contextmanager
def progress_bars() -> Iterator[RichProgress]:
    """Show bars until the block ends."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as RichProgress

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description:<24}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}"),
        TimeRemainingColumn(),
    )
    with RichProgress(*columns, console=console, disable=not console.is_terminal) as bars:
        yield bars


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

    def __call__(self, name: str, doc: Mapping[str, Any]) -> None:
        """Take in one document."""
        if name == "start":
            self._bars.update(self._task, total=doc.get("num_points"))
        elif name == "event":
            self._bars.update(self._task, completed=doc["seq_num"], note="points")
