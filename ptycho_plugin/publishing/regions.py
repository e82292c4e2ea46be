"""What is told of a region, in Tiled: made anew whenever one more of its repeats has its map there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ptycho_plugin.errors import PublishingError
from ptycho_plugin.geometry import M_PER_NM
from ptycho_plugin.postprocess.account import DIMENSIONS, arrays_of, facts_of
from ptycho_plugin.postprocess.pipeline import (
    PostprocessingOptions,
    RegionMaps,
    RegionResult,
    postprocess,
)
from ptycho_plugin.publishing.connection import child, tiled_errors
from ptycho_plugin.publishing.keys import key_of
from ptycho_plugin.publishing.schema import CONTAINER as RECONSTRUCTIONS
from ptycho_plugin.publishing.schema import as_current, with_names

CONTAINER = "regions"
SPEC = "PtychoRegion"
BEING_WRITTEN, COMPLETE = "being written", "complete"
"""Status of what is told of a region: the first for ever where a process was killed."""
LEAST_REPEATS = 2


def region_key(sample: str, area: str, region: str) -> str:
    """Return the key of a region's container: its names, readable, and a digest of them."""
    return key_of(sample, area, region)


def postprocess_region(
    client: Any,
    sample: str,
    area: str,
    region: str,
    options: PostprocessingOptions = PostprocessingOptions(),  # noqa: B008  frozen
) -> RegionResult | None:
    """Post-process the repeats of a region whose maps are in Tiled, and publish what comes of it.

    It is written to ``regions/<region's key>/<number of repeats>``. The metadata of the region's own
    container say of the latest what is searched for: names, date, resolutions.

    Parameters
    ----------
    client : tiled client
        Of the tree's root.
    sample, area, region : str
        As the guarded runs name them.
    options : PostprocessingOptions

    Returns
    -------
    RegionResult or None
        None where fewer than two repeats have a final map.

    Raises
    ------
    InputError
        If the maps cannot be used.
    PublishingError
        If Tiled cannot be reached, or refuses.
    """
    with tiled_errors(client):
        found = _repeats(client, sample, area, region)
        if len(found) < LEAST_REPEATS:
            return None
        result = postprocess(_maps(found.values()), options)
        names = {"sample": sample, "area": area, "region": region}
        _write(child(client, CONTAINER, region_key(sample, area, region)), result, names, list(found))
    return result


def _repeats(client: Any, sample: str, area: str, region: str) -> dict[int, Any]:
    """Return the reconstruction of each repeat: of an interrupted one's runs, that of the most frames."""
    from tiled.queries import Key

    if RECONSTRUCTIONS not in client:
        return {}
    final = client[RECONSTRUCTIONS].search(Key("status") == "final")
    found = with_names(final, sample=sample, area=area, region=region)
    best: dict[int, Any] = {}
    for node in sorted(found.values(), key=lambda node: int(node.metadata["frames"])):
        best[int(as_current(node.metadata)["repeat"])] = node
    return dict(sorted(best.items()))


def _maps(nodes: Iterable[Any]) -> RegionMaps:
    """Return the window of each map that the repeats have in common."""
    nodes = list(nodes)
    side = min(int(node.metadata["window"]["side"]) for node in nodes)
    geometry = nodes[0].geometry
    if any(node.geometry != geometry for node in nodes):
        raise PublishingError(
            "the region's repeats were made in different geometries: their pixels are not the same places"
        )
    return RegionMaps(
        transmissions=np.stack([_window(node, side) for node in nodes]),
        photons=np.array([float(node.metadata["photons"]) for node in nodes]),
        sources=tuple(str(node.metadata["run_uid"]) for node in nodes),
        pixel=geometry.object_pixel,
        energy_eV=geometry.energy_eV,
    )


def _window(node: Any, side: int) -> NDArray[np.complex64]:
    window = node.metadata["window"]
    row, column = (int(first) + (int(window["side"]) - side) // 2 for first in window["corner"])
    return np.asarray(node["object"][row : row + side, column : column + side])


def _write(parent: Any, result: RegionResult, names: Mapping[str, str], repeats: list[int]) -> None:
    """Write everything, then say that it is complete; what was made of the same number before goes."""
    key = str(len(repeats))
    if key in parent:
        parent[key].delete(recursive=True, external_only=False)
    metadata = {**names, **facts_of(result), "repeats": repeats, "status": BEING_WRITTEN}
    node = parent.create_container(key, metadata=metadata, specs=[SPEC])
    for name, array in arrays_of(result).items():
        node.write_array(array, key=name, dims=DIMENSIONS[name])
    node.update_metadata({"status": COMPLETE}, drop_revision=True)
    parent.update_metadata({**names, **_searched(metadata)}, drop_revision=True)


def _searched(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return of what is told of a region that by which it is found."""
    return {
        "repeats": facts["repeats"],
        "runs": facts["runs"],
        "date": facts["provenance"]["date"],
        "resolution_nm": _half_period_nm(facts["resolution"]["averaged"]),
        "single_resolution_nm": _half_period_nm(facts["resolution"]["single"]),
    }


def _half_period_nm(told: Mapping[str, Any]) -> float | None:
    return told["half_period"] / M_PER_NM if told["resolved"] else None
