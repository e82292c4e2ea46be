"""The form of a reconstruction in Tiled: its arrays, its metadata, their version.

``docs/schema.md`` describes every key; a test compares it with what is written.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from ptycho_plugin.errors import PublishingError
from ptycho_plugin.reconstruction.result import Result

CONTAINER = "reconstructions"
SPEC = "PtychoReconstruction"
SCHEMA_VERSION = 2
"""Of what is written. Version 1, which is read as well, had the names of its region in ``region`` and
neither date nor purpose, runs, checksums and seal."""
SEAL = "seal"
"""Key of the metadata under which is what all others, and the arrays, are checked by."""

IMAGE = ("row", "column")
DIMENSIONS: dict[str, tuple[str, ...]] = {
    "object": IMAGE,
    "slices": ("slice", *IMAGE),
    "probe": ("mode", *IMAGE),
    "positions": ("frame", "axis"),
    "positions_px": ("frame", "axis"),
    "positions_measured": ("frame", "axis"),
    "intensities": ("frame",),
    "error": ("iteration",),
    "frames_used": ("iteration",),
    "phase": IMAGE,
    "amplitude": IMAGE,
    "trusted": IMAGE,
}
"""Of each array that there may be."""


def maps_of(result: Result) -> dict[str, NDArray[Any]]:
    """Return the arrays that are there from the first map on, by their names."""
    return {"phase": result.phase, "amplitude": result.amplitude, "trusted": result.trusted}


def arrays_of(result: Result) -> dict[str, NDArray[Any]]:
    """Return the arrays of a final result; slices only where there are several, what is looked at last."""
    arrays: dict[str, NDArray[Any]] = {
        "object": result.object,
        "slices": result.slices,
        "probe": result.probe,
        "positions": result.positions,
        "positions_px": result.positions_px,
        "positions_measured": result.positions_measured,
        "intensities": result.intensities,
        "error": result.errors,
        "frames_used": result.frames_used,
        **maps_of(result),
    }
    if len(result.slices) == 1:
        del arrays["slices"]
    return arrays


def facts_of(result: Result) -> dict[str, Any]:
    """Return what the metadata say of a reconstruction itself, as JSON values."""
    return {
        "schema_version": SCHEMA_VERSION,
        "energy_eV": result.geometry.energy_eV,
        "resolution_nm": None,  # one map does not tell: its region does, once there is another
        "frames": len(result.positions),
        "iteration": len(result.errors),
        "likelihood_from": result.likelihood_from,
        "r_factor": result.residual,
        "background": result.background,
        "object_pixel": result.object_pixel,
        "mode_powers": result.mode_powers.tolist(),
        "geometry": result.geometry.model_dump(mode="json"),
        "verdict": result.verdict.model_dump(mode="json"),
        "seconds": result.seconds,
        "device": result.device,
    }


def with_names(container: Any, **names: Any) -> dict[str, Any]:
    """Return those in the container of reconstructions whose metadata have these values, of any version.

    Parameters
    ----------
    container : tiled client
        Of the reconstructions, or what a search of it gave.
    **names
        ``sample``, ``area``, ``region`` and ``repeat``.
    """
    from tiled.queries import Key

    found: dict[str, Any] = {}
    for prefix in ("", "region."):  # the second of version 1
        hits = container
        for name, value in names.items():
            hits = hits.search(Key(prefix + name) == value)
        found |= dict(hits.items())
    return found


def as_current(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metadata of a reconstruction of any known version as this one has them.

    Raises
    ------
    PublishingError
        If a newer version wrote them: their keys may mean something else.
    """
    version = metadata["schema_version"]
    if version > SCHEMA_VERSION:
        raise PublishingError(
            f"the reconstruction of run {metadata['run_uid']} has schema version {version}, this package "
            f"knows {SCHEMA_VERSION}: install a newer ptycho-plugin to read it"
        )
    if version == SCHEMA_VERSION:
        return dict(metadata)
    names = dict.fromkeys(("sample", "area", "region", "repeat")) | dict(metadata.get("region") or {})
    unknown = dict.fromkeys(("purpose", "date", "resolution_nm"))
    new = {"runs": [metadata["run_uid"]], "energy_eV": metadata["geometry"]["energy_eV"]}
    return {**metadata, **names, **unknown, **new, "schema_version": SCHEMA_VERSION}
