"""Finding results in Tiled: by sample, region, repeat, resolution and date; and those of a run."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

from ptycho_plugin.errors import InputError
from ptycho_plugin.publishing.connection import tiled_errors
from ptycho_plugin.publishing.regions import CONTAINER as REGIONS
from ptycho_plugin.publishing.schema import CONTAINER, with_names

if TYPE_CHECKING:
    from ptycho_plugin.publishing.client import PtychoReconstruction
    from ptycho_plugin.publishing.region_client import PtychoRegion

Day = date | datetime | str
"""A day, or a time, with its zone or in UTC; as text in ISO 8601."""


def find_results(
    client: Any,
    *,
    sample: str | None = None,
    area: str | None = None,
    region: str | None = None,
    repeat: int | None = None,
    purpose: str | None = None,
    finer_than_nm: float | None = None,
    since: Day | None = None,
    until: Day | None = None,
) -> list[PtychoReconstruction]:
    """Return the final reconstructions of which all that is given is true, the earliest first.

    Parameters
    ----------
    client : tiled client
        Of the tree's root.
    sample, area, region : str, optional
        By name, as the runs have them.
    repeat : int, optional
    purpose : {"scan", "probe_calibration"}, optional
    finer_than_nm : float, optional
        Half period that single maps of the region resolve, by their latest comparison: two repeats at least.
    since, until : date, datetime or str, optional
        When the run began: from the first on, before the second.

    Raises
    ------
    InputError
        If a date is none.
    PublishingError
        If Tiled refuses or cannot be reached.
    """
    from tiled.queries import Key

    names = {"sample": sample, "area": area, "region": region, "repeat": repeat}
    facts = {"status": "final"} | ({} if purpose is None else {"purpose": purpose})
    begun = _between(since, until)
    with tiled_errors(client):
        if CONTAINER not in client:
            return []
        hits = client[CONTAINER]
        for query in (*(Key(key) == value for key, value in facts.items()), *begun):
            hits = hits.search(query)
        found = with_names(hits, **{name: value for name, value in names.items() if value is not None})
        if finer_than_nm is not None:
            resolved = _runs_finer_than(client, finer_than_nm)
            found = {uid: node for uid, node in found.items() if uid in resolved}
    return sorted(found.values(), key=lambda node: node.metadata.get("date") or "")


def find_region_results(
    client: Any,
    *,
    sample: str | None = None,
    area: str | None = None,
    region: str | None = None,
    finer_than_nm: float | None = None,
    since: Day | None = None,
    until: Day | None = None,
) -> list[PtychoRegion]:
    """Return what is told of regions, of each after its latest repeat, the earliest first.

    Parameters
    ----------
    client : tiled client
        Of the tree's root.
    sample, area, region : str, optional
        By name.
    finer_than_nm : float, optional
        Half period that averages of the region's repeats resolve.
    since, until : date, datetime or str, optional
        When it was told: from the first on, before the second.

    Raises
    ------
    InputError, PublishingError
        As from `find_results`.
    """
    from tiled.queries import Key

    names = {"sample": sample, "area": area, "region": region}
    queries = [Key(name) == value for name, value in names.items() if value is not None]
    queries += _between(since, until)
    if finer_than_nm is not None:
        queries.append(Key("resolution_nm") < finer_than_nm)
    with tiled_errors(client):
        if REGIONS not in client:
            return []
        hits = client[REGIONS]
        for query in queries:
            hits = hits.search(query)
        told = [node for node in hits.values() if "repeats" in node.metadata]
        told.sort(key=lambda node: node.metadata["date"])
        return [node[str(len(node.metadata["repeats"]))] for node in told]


def reconstructions_of(client: Any, run_uid: str) -> list[PtychoReconstruction]:
    """Return the reconstructions that a raw run has a part in, that of the most frames last.

    A scan that was interrupted has several runs, and its reconstruction is that of the last.

    Parameters
    ----------
    client : tiled client
        Of the tree's root.
    run_uid : str

    Raises
    ------
    PublishingError
        If Tiled refuses or cannot be reached.
    """
    from tiled.queries import Contains, Key

    with tiled_errors(client):
        if CONTAINER not in client:
            return []
        hits = client[CONTAINER]
        found = dict(hits.search(Contains("runs", run_uid)).items())
        found |= dict(hits.search(Key("run_uid") == run_uid).items())  # version 1 has this alone
    return sorted(found.values(), key=lambda node: int(node.metadata["frames"]))


def _runs_finer_than(client: Any, half_period_nm: float) -> set[str]:
    from tiled.queries import Key

    if REGIONS not in client:
        return set()
    hits = client[REGIONS].search(Key("single_resolution_nm") < half_period_nm)
    return {uid for region in hits.values() for uid in region.metadata["runs"]}


def _between(since: Day | None, until: Day | None) -> list[Any]:
    from tiled.queries import Key

    queries = [] if since is None else [Key("date") >= _utc(since)]
    return queries if until is None else [*queries, Key("date") < _utc(until)]


def _utc(day: Day) -> str:
    """Return a time as the metadata have it: these are in order as text."""
    try:
        time = datetime.fromisoformat(day if isinstance(day, str) else day.isoformat())
    except ValueError:
        raise InputError(f"{day!r} is no date: give one like 2025-03-31 or 2025-03-31T14:00+02:00") from None
    aware = time if time.tzinfo else time.replace(tzinfo=UTC)
    return aware.astimezone(UTC).isoformat(timespec="seconds")
