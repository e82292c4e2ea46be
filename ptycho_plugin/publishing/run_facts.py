"""What a start document says by which a result is found: whose run it is, of what, and when."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Self

from pydantic import ValidationError

from ptycho_plugin.checked_model import CheckedModel
from ptycho_plugin.metadata import START_KEY


class RegionOfRun(CheckedModel):
    """Which repeat of which region a run is, as a `DoseGuard` says in its start document."""

    sample: str
    area: str
    region: str
    repeat: int

    @classmethod
    def of(cls, start: Mapping[str, Any]) -> Self | None:
        """Return it, or None where a start document names no region, or has other things by these names."""
        try:
            return cls.model_validate({name: start.get(name) for name in cls.model_fields})
        except ValidationError:
            return None


def facts_of_run(start: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a result's metadata say of its run, as JSON values; None for what is not known.

    Parameters
    ----------
    start : mapping
        The start document of a scan.

    Returns
    -------
    dict
        ``runs``, all that the scan is made of, its own last; ``purpose``; ``date``, when the run
        began, as ISO 8601 in UTC; ``sample``, a name; ``area``, ``region`` and ``repeat`` of a guarded run.
    """
    scan, sample = start[START_KEY], start.get("sample")
    name = sample.get("name") if isinstance(sample, Mapping) else sample
    region = RegionOfRun.of(start)
    return {
        "runs": [*scan.get("continues", ()), start["uid"]],
        "purpose": scan.get("purpose"),
        "date": datetime.fromtimestamp(start["time"], UTC).isoformat(timespec="seconds"),
        "sample": name if isinstance(name, str) else None,
        **(dict.fromkeys(("area", "region", "repeat")) if region is None else region.model_dump()),
    }
