"""Reading a dose series back: what ``from_uri(...)["series"][uid]`` gives."""

from __future__ import annotations

from typing import Any

from tiled.client.container import Container
from tiled.queries import Key

from ptycho_plugin.publishing.client import raw_run


class DoseSeries(Container):
    """The runs of a dose series in Tiled, in the order in which they were begun.

    Tiled makes it of a container with the spec of this name; its keys are the runs' uids, its metadata
    the matrix of regions and what was expected of it before it began.
    """

    def __repr__(self) -> str:
        return f"<DoseSeries of {self.metadata['sample']!r}, {len(self)} runs>"

    def runs(
        self, *, area: str | None = None, region: str | None = None, repeat: int | None = None
    ) -> list[Any]:
        """Return raw runs, ``BlueskyRun`` clients of the same tree.

        Parameters
        ----------
        area, region : str, optional
            Only those of areas, and of regions, of this name.
        repeat : int, optional
            Only those of this repeat; an interrupted one has several runs.

        Raises
        ------
        PublishingError
            If Tiled does not hold one of the runs.
        """
        found: Any = self
        for key, wanted in (("area", area), ("region", region), ("repeat", repeat)):
            if wanted is not None:
                found = found.search(Key(key) == wanted)
        return [raw_run(self, uid) for uid in found]
