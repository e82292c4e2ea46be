"""Reading a region back: what ``from_uri(...)["regions"][key][number of repeats]`` gives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tiled.client.container import Container

from ptycho_plugin.errors import PublishingError
from ptycho_plugin.geometry import M_PER_NM
from ptycho_plugin.publishing.report_client import page_of


class PtychoRegion(Container):
    """What is told of a region after so many repeats; every array is read when it is asked for.

    Tiled makes it of a container with the spec of this name. What it does not hold is refused with
    `PublishingError`.
    """

    def __repr__(self) -> str:
        metadata = self.metadata
        finest = metadata["resolution"]["averaged"]
        half_period = f"{finest['half_period'] / M_PER_NM:.1f} nm"
        told = half_period if finest.get("resolved", True) else "nothing resolved"
        return (
            f"<PtychoRegion '{metadata['region']}' in area '{metadata['area']}' of '{metadata['sample']}', "
            f"{len(metadata['repeats'])} repeats, {told}>"
        )

    @property
    def phase(self) -> NDArray[np.float32]:
        """Average of the repeats (row, column) in rad, zero on the ground, negative where there is matter."""
        return self._array("phase")

    @property
    def standard_error(self) -> NDArray[np.float32]:
        """Of the average, (row, column), in rad."""
        return self._array("standard_error")

    @property
    def restored(self) -> NDArray[np.float32]:
        """The average, restored, (row, column), in rad."""
        return self._array("restored")

    @property
    def phases(self) -> NDArray[np.float32]:
        """Single maps (repeat, row, column) in rad, registered."""
        return self._array("phases")

    @property
    def drift(self) -> NDArray[np.float64]:
        """By which each repeat lies away from the first, (repeat, 2), in metres."""
        return self._array("drift")

    @property
    def electron_density(self) -> NDArray[np.float64]:
        """Projected, (row, column), in 1/m2, in excess of the ground."""
        return self._array("electron_density")

    @property
    def mass_per_area(self) -> NDArray[np.float64]:
        """Of the material that the options named, (row, column), in kg/m2."""
        return self._array("mass_per_area")

    @property
    def object_pixel(self) -> float:
        """Side of one pixel of the maps, in metres."""
        return float(self.metadata["object_pixel"])

    @property
    def resolution(self) -> Mapping[str, Any]:
        """Of "single" maps, "averaged" and "restored" halves: half period and sigma in metres, warning.

        Of two repeats the halves are single maps. Where it is not "resolved" there is none; where the curve
        never "crosses" its threshold it is one pixel or better.
        """
        told: Mapping[str, Any] = self.metadata["resolution"]
        return told

    @property
    def report(self) -> str:
        """The region's report, a page of HTML: maps, resolutions, dose, errors, provenance."""
        return page_of(self._node("report", "publish_region_report"))

    def _array(self, key: str) -> NDArray[Any]:
        array: NDArray[Any] = self._node(key, "postprocess_region with options that make it").read()
        return array

    def _node(self, key: str, maker: str) -> Any:
        try:
            return self[key]
        except KeyError:
            raise PublishingError(f"{self!r} has no '{key}': run {maker}") from None
