"""Writing a reconstruction to Tiled: a growing map during the scan, everything at its end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from numpy.typing import NDArray

from ptycho_plugin.errors import PublishingError
from ptycho_plugin.provenance import NUMERICAL_PACKAGES, provenance
from ptycho_plugin.publishing.connection import child, tiled_errors
from ptycho_plugin.reconstruction.result import Result

CONTAINER = "reconstructions"
SPEC = "PtychoReconstruction"
SCHEMA_VERSION = 1
Status = Literal["live", "final", "diverged"]
PACKAGES = (*NUMERICAL_PACKAGES, "bluesky", "tiled")


class ResultWriter:
    """Writes one run's reconstruction under ``reconstructions/<run uid>``.

    The container appears with the first map. ``phase``, ``amplitude`` and ``trusted`` keep their
    shape and are overwritten in place; the rest follows with the final result. Both methods raise
    `PublishingError` when Tiled refuses or cannot be reached, and can be called again.

    Parameters
    ----------
    client : tiled client
        Of the tree's root.
    run_uid : str
        The raw run, and the key of the result.
    """

    def __init__(self, client: Any, run_uid: str) -> None:
        self._client = client
        self._run_uid = run_uid
        self._node: Any = None
        self._arrays: dict[str, Any] = {}

    @property
    def path(self) -> str:
        """Where the result is, below the tree's root."""
        return f"{CONTAINER}/{self._run_uid}"

    def provenance(self, result: Result) -> dict[str, Any]:
        """Return what made a result, and of which run, as JSON values."""
        return provenance(
            options=result.options.model_dump(mode="json"),
            frames=(0, len(result.positions)),
            source={"run_uid": self._run_uid},
            packages=PACKAGES,
        )

    def write_live(self, result: Result) -> None:
        """Show the map so far."""
        with tiled_errors(self._client):
            self._describe(result, "live", {})
            self._write_maps(result)

    def write_final(
        self, result: Result, md: Mapping[str, Any] | None = None, status: Status = "final"
    ) -> None:
        """Write everything, then mark the result final, or the last good one before a divergence.

        Parameters
        ----------
        result : Result
        md : mapping, optional
            What else should be known of it, such as how the run ended.
        status : "final" or "diverged"
            What is final is never overwritten; what diverged is replaced.
        """
        with tiled_errors(self._client):
            self._describe(result, "live", md or {})
            self._write_maps(result)
            self._put("object", result.object, ("row", "column"))
            if len(result.slices) > 1:
                self._put("slices", result.slices, ("slice", "row", "column"))
            self._put("probe", result.probe, ("mode", "row", "column"))
            self._put("positions", result.positions, ("frame", "axis"))
            self._put("positions_px", result.positions_px, ("frame", "axis"))
            self._put("positions_measured", result.positions_measured, ("frame", "axis"))
            self._put("intensities", result.intensities, ("frame",))
            self._put("error", result.errors, ("iteration",))
            self._put("frames_used", result.frames_used, ("iteration",))
            self._describe(result, status, md or {})

    def _write_maps(self, result: Result) -> None:
        self._put("phase", result.phase, ("row", "column"))
        self._put("amplitude", result.amplitude, ("row", "column"))
        self._put("trusted", result.trusted, ("row", "column"))

    def _put(self, key: str, array: NDArray[Any], dims: tuple[str, ...]) -> None:
        if key in self._arrays:
            self._arrays[key].write(array)
        else:
            self._arrays[key] = self._node.write_array(array, key=key, dims=dims)

    def _describe(self, result: Result, status: Status, md: Mapping[str, Any]) -> None:
        own = {"run_uid": self._run_uid, "status": status, "provenance": self.provenance(result)}
        metadata = {**own, **_metadata(result), **md}
        if self._node is None:
            self._node = self._own_node(metadata)
        self._node.update_metadata(metadata, drop_revision=True)

    def _own_node(self, metadata: dict[str, Any]) -> Any:
        parent = child(self._client, CONTAINER)
        if self._run_uid in parent:
            node = parent[self._run_uid]
            if node.metadata["status"] == "final":
                raise PublishingError(f"{node.uri} is final: remove it there to reconstruct the run again")
            if node.metadata["status"] == "live":
                self._arrays = dict(node.items())  # of a worker that did not come to its end
                return node
            node.delete(recursive=True, external_only=False)  # its arrays have other lengths
        return parent.create_container(self._run_uid, metadata=metadata, specs=[SPEC])


def _metadata(result: Result) -> dict[str, Any]:
    return {
        "schema_version": SCHEMA_VERSION,
        "frames": len(result.positions),
        "iteration": len(result.errors),
        "likelihood_from": result.likelihood_from,
        "r_factor": result.residual,
        "verdict": result.verdict.model_dump(mode="json"),
        "background": result.background,
        "object_pixel": result.object_pixel,
        "mode_powers": result.mode_powers.tolist(),
        "geometry": result.geometry.model_dump(mode="json"),
        "seconds": result.seconds,
        "device": result.device,
    }
