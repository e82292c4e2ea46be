"""Reading reports back: what ``from_uri(...)["reports"]`` gives."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from tiled.client.container import Container

from ptycho_plugin.errors import PublishingError
from ptycho_plugin.publishing.keys import key_of


class Subject(NamedTuple):
    """What a report of several regions is about: a sample by its name, or a series by its uid."""

    kind: Literal["sample", "series"]
    name: str

    @property
    def title(self) -> str:
        """As it heads the report."""
        return f"{self.kind.capitalize()} {self.name}"

    @property
    def key(self) -> str:
        """Of the report, among the others."""
        return key_of(self.kind, self.name)


def page_bytes(page: str) -> NDArray[np.uint8]:
    """Return a page of HTML as Tiled keeps it: in UTF-8, (byte,), as it takes arrays."""
    return np.frombuffer(page.encode(), np.uint8)


def page_of(node: Any) -> str:
    """Return the page of HTML that an array in Tiled holds."""
    page: str = node.read().tobytes().decode()
    return page


class PtychoReports(Container):
    """The newest report of each sample, and of each dose series, that has been made.

    Tiled makes it of a container with the spec of this name. That of a region is with the region:
    `PtychoRegion.report`.
    """

    def __repr__(self) -> str:
        return f"<PtychoReports of {len(self)} samples and series>"

    def of_sample(self, name: str) -> str:
        """Return the report of a sample, a page of HTML.

        Raises
        ------
        PublishingError
            If none has been published.
        """
        return self._page(Subject("sample", name))

    def of_series(self, uid: str) -> str:
        """Return the report of a dose series; else as `of_sample`."""
        return self._page(Subject("series", uid))

    def _page(self, subject: Subject) -> str:
        if subject.key not in self:
            raise PublishingError(
                f"there is no report of {subject.kind} '{subject.name}' in Tiled: ptycho report makes it"
            )
        return page_of(self[subject.key])
