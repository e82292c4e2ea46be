"""Reports of what is in Tiled: of a region, of all regions of a sample, of a series."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ptycho_plugin.dose_map import DoseMap
from ptycho_plugin.errors import PublishingError
from ptycho_plugin.postprocess.account import DIMENSIONS
from ptycho_plugin.publishing.connection import child, tiled_errors
from ptycho_plugin.publishing.regions import COMPLETE
from ptycho_plugin.publishing.regions import CONTAINER as REGIONS
from ptycho_plugin.publishing.report_client import Subject, page_bytes
from ptycho_plugin.publishing.schema import CONTAINER as RECONSTRUCTIONS
from ptycho_plugin.publishing.series import CONTAINER as SERIES
from ptycho_plugin.view.report import RegionSection, report_html

CONTAINER = "reports"
SPEC = "PtychoReports"
REPORT = "report"
"""Key of a region's report, beside its arrays."""


def publish_report(client: Any, subject: Subject, sections: Sequence[RegionSection]) -> str:
    """Write the report of a sample, or of a series, in the place of an earlier one.

    Parameters
    ----------
    client : tiled client
        Of the tree's root.
    subject : Subject
    sections : sequence of RegionSection
        From `sections_of_sample` or `sections_of_series`.

    Returns
    -------
    str
        Where it is, below the root.

    Raises
    ------
    PublishingError
        If Tiled cannot be reached, or refuses.
    """
    page = report_html(sections, subject.title)
    about = {subject.kind: subject.name, "regions": [section.name for section in sections]}
    with tiled_errors(client):
        _write(child(client, CONTAINER, spec=SPEC), subject.key, page, about)
    return f"{CONTAINER}/{subject.key}"


def publish_region_report(client: Any, path: str) -> None:
    """Write the report of a region beside its arrays, in the place of an earlier one.

    Parameters
    ----------
    client : tiled client
        Of the tree's root.
    path : str
        Of what was told of the region, below the root.

    Raises
    ------
    PublishingError
        If Tiled cannot be reached, or refuses.
    """
    with tiled_errors(client):
        node = client[path]
        section = section_of(client, node)
        _write(node, REPORT, report_html([section], section.name), {})


def sections_of_sample(client: Any, sample: str) -> list[RegionSection]:
    """Return what a report shows of each region of a sample, after its last repeat.

    Raises
    ------
    PublishingError
        If there is none, or Tiled cannot be reached.
    """
    with tiled_errors(client):
        return _sections(client, f"sample '{sample}'", lambda facts: facts["sample"] == sample)


def sections_of_series(client: Any, uid: str) -> list[RegionSection]:
    """Return what a report shows of each region of a dose series, after its last repeat.

    Raises
    ------
    PublishingError
        If there is none, or Tiled cannot be reached.
    """
    with tiled_errors(client):
        if SERIES not in client or uid not in client[SERIES]:
            raise PublishingError(f"there is no series '{uid}' in Tiled: see client['{SERIES}']")
        series = client[SERIES, uid]
        sample = series.metadata["sample"]
        places = {(run.metadata["area"], run.metadata["region"]) for run in series.values()}
        return _sections(
            client,
            f"series '{uid}'",
            lambda facts: facts["sample"] == sample and (facts["area"], facts["region"]) in places,
        )


def section_of(client: Any, node: Any) -> RegionSection:
    """Return what a report shows of a region, from what Tiled holds of it."""
    facts = dict(node.metadata)
    runs = dict(zip(facts["repeats"], facts["runs"], strict=True))
    return RegionSection(
        name=f"{facts['sample']} / {facts['area']} / {facts['region']}",
        arrays={name: node[name].read() for name in DIMENSIONS if name in node},
        facts=facts,
        errors=dict(_errors(client, runs)),
        dose=_dose(client, facts["runs"][-1]),
    )


def _write(parent: Any, key: str, page: str, about: Mapping[str, Any]) -> None:
    if key in parent:
        parent[key].delete(external_only=False)
    metadata = {**about, "media_type": "text/html"}
    parent.write_array(page_bytes(page), key=key, dims=("byte",), metadata=metadata)


def _sections(client: Any, what: str, belongs: Callable[[Mapping[str, Any]], bool]) -> list[RegionSection]:
    from tiled.queries import Key

    found = client[REGIONS].values() if REGIONS in client else []
    complete = (region.search(Key("status") == COMPLETE) for region in found)
    last = [region[max(region, key=int)] for region in complete if len(region)]
    nodes = [node for node in last if belongs(node.metadata)]
    if not nodes:
        raise PublishingError(
            f"no region of {what} has two repeats with a final map in Tiled: reconstruct them first"
        )
    nodes.sort(key=lambda node: (node.metadata["area"], node.metadata["region"]))
    return [section_of(client, node) for node in nodes]


def _errors(client: Any, runs: Mapping[int, str]) -> Iterator[tuple[str, tuple[NDArray[np.floating], int]]]:
    for repeat, uid in runs.items():
        node = client[RECONSTRUCTIONS, uid]
        yield f"repeat {repeat}", (node.error, int(node.metadata["likelihood_from"]))


def _dose(client: Any, uid: str) -> DoseMap | None:
    """Return the dose of the region after its last run, if that run keeps it."""
    run = client["raw"][uid] if "raw" in client and uid in client["raw"] else None
    try:
        return getattr(run, "dose_map", None)
    except PublishingError:
        return None
