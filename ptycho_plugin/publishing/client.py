"""Reading a reconstruction back: what ``from_uri(...)["reconstructions"][uid]`` gives."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from tiled.client.container import Container

from ptycho_plugin.errors import PublishingError
from ptycho_plugin.geometry import Geometry
from ptycho_plugin.publishing.schema import as_current
from ptycho_plugin.reconstruction.map_verdict import MapVerdict

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NOT_FOUND = 404


def raw_run(node: Container, uid: str) -> Any:
    """Return a run of the tree whose root has the folder that a node lies in.

    Raises
    ------
    PublishingError
        If Tiled does not hold it.
    """
    import httpx
    from tiled.client.constructors import from_context

    *root, _, _ = node.path_parts
    try:
        return from_context(node.context, node.structure_clients, node_path_parts=[*root, "raw", uid])
    except httpx.HTTPStatusError as error:
        if error.response.status_code != NOT_FOUND:
            raise
        raise PublishingError(
            f"there is no run {uid} in 'raw' beside {node.uri}, or the API key may not read it"
        ) from None


class PtychoReconstruction(Container):
    """A reconstruction in Tiled; every array is read when it is asked for.

    Tiled makes it of a container with the spec of this name. During a scan there are ``phase``,
    ``amplitude`` and ``trusted`` only, and they change; then there is everything.
    What is not there yet is refused with `PublishingError`, and so is what a newer version wrote.
    ``docs/schema.md`` lists arrays and metadata.
    """

    def __repr__(self) -> str:
        return (
            f"<PtychoReconstruction of run {self.metadata['run_uid']}, {self.status}, "
            f"{self.metadata['frames']} frames, iteration {self.metadata['iteration']}>"
        )

    @property
    def record(self) -> dict[str, Any]:
        """The metadata, in the form of the version that is written now, whatever version wrote them."""
        return as_current(self.metadata)

    @property
    def status(self) -> str:
        """``"live"`` while it grows, ``"final"`` when done, ``"diverged"`` where it could get no farther."""
        return str(self.metadata["status"])

    @property
    def phase(self) -> NDArray[np.float32]:
        """Phase shift (row, column) in radians, negative where there is more matter."""
        return self._array("phase")

    @property
    def amplitude(self) -> NDArray[np.float32]:
        """Modulus of the transmission (row, column)."""
        return self._array("amplitude")

    @property
    def object(self) -> NDArray[np.complex64]:
        """Complex transmission (row, column)."""
        return self._array("object")

    @property
    def slices(self) -> NDArray[np.complex64]:
        """Complex transmissions (slice, row, column), whose product `object` is; one where it is thin."""
        return self._array("slices") if "slices" in self else self.object[None]

    @property
    def probe(self) -> NDArray[np.complex64]:
        """Illumination (mode, row, column); sum |probe|^2 is the photons of one frame."""
        return self._array("probe")

    @property
    def trusted(self) -> NDArray[np.bool_]:
        """Where (row, column) the object was illuminated enough to be judged."""
        return self._array("trusted")

    @property
    def positions(self) -> NDArray[np.float64]:
        """Probe-on-object positions (frame, 2) as used, (row, column) in metres."""
        return self._array("positions")

    @property
    def positions_px(self) -> NDArray[np.float64]:
        """First pixel (frame, 2), with its fraction, of each frame's patch in `object`."""
        return self._array("positions_px")

    @property
    def error(self) -> NDArray[np.float64]:
        """Error of each iteration, as its engine measures it."""
        return self._array("error")

    @property
    def frames_used(self) -> NDArray[np.int64]:
        """How many of the first frames each iteration used: fewer while they were still coming in."""
        return self._array("frames_used")

    @property
    def r_factor(self) -> float:
        """R = sqrt(sum (sqrt(I) - |psi|)^2 / sum I) over the measured pixels."""
        return float(self.record["r_factor"])

    @property
    def verdict(self) -> MapVerdict:
        """Green, amber or red, with its reasons; of a growing map, what can be said so far."""
        return MapVerdict.model_validate(dict(self.metadata["verdict"]))

    @property
    def geometry(self) -> Geometry:
        """Energy, distance and detector of the scan."""
        return Geometry.model_validate(dict(self.record["geometry"]))

    @property
    def object_pixel(self) -> float:
        """Side of one pixel of the maps, in metres."""
        return float(self.record["object_pixel"])

    @property
    def run(self) -> Any:
        """The raw run this was made of, a ``BlueskyRun`` client of the same tree."""
        return raw_run(self, self.metadata["run_uid"])

    def plot(self) -> Figure:
        """Draw phase, amplitude, probe and error curve; during the scan the two maps."""
        from ptycho_plugin.view.plots import figure_of_arrays, figure_of_maps, headline

        live = self.status == "live"
        title = headline(
            frames=int(self.metadata["frames"]),
            pixel=self.object_pixel,
            r_factor=self.r_factor,
            run=f"run {self.metadata['run_uid']}" + " (live)" * live,
            date=datetime.fromisoformat(self.metadata["provenance"]["date"]),
        )
        if live:
            return figure_of_maps(
                phase=self.phase,
                amplitude=self.amplitude,
                trusted=self.trusted,
                pixel=self.object_pixel,
                title=title,
            )
        return figure_of_arrays(
            phase=self.phase,
            amplitude=self.amplitude,
            trusted=self.trusted,
            probe=self.probe,
            errors=self.error,
            likelihood_from=int(self.metadata["likelihood_from"]),
            pixel=self.object_pixel,
            title=title,
        )

    def _array(self, key: str) -> NDArray[Any]:
        as_current(self.metadata)  # refuses what it does not know
        try:
            array: NDArray[Any] = self[key].read()
        except KeyError:
            raise PublishingError(f"{self!r} has no '{key}' yet: it comes with the final result") from None
        return array
