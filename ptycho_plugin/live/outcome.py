"""What came of a run and its live reconstruction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

OUTCOME_NAME = "outcome.json"
"""In a run's folder of the spool, once there is nothing left to do."""


@dataclass(frozen=True, slots=True, repr=False)
class LiveOutcome:
    """What came of one run; it prints what is not as by default.

    Parameters
    ----------
    uid : str
        Of the run.
    raw_path : str or None
        Where the raw run is, below the tree's root, once Tiled was asked and has all of it.
    tiled_path : str or None
        Where the final result is, below the tree's root.
    first_map_s : float or None
        From the run's start to the first map in Tiled, in seconds.
    final_map_s : float or None
        From the last event to the final map in Tiled, in seconds.
    frames : int
        Frames that were used.
    missing, repeated, unusable, malformed, outside : int
        Sequence numbers without frame or position, or whose frame could not be read; second
        frames or events of a number; positions that are not numbers; lines that are no usable document;
        frames outside the planned scan.
    r_factor : float or None
        R of the final result.
    verdict : str or None
        Colour and reasons of the final map: see `MapVerdict`.
    probe_uid : str or None
        The stored probe, of a probe calibration.
    region_path : str or None
        Where the region's repeats so far are compared, below the tree's root; from its second repeat on.
    region_s : float or None
        From the final map in Tiled to that, in seconds.
    warnings : tuple of str
    error : str or None
        Why there is no final result in Tiled, or no raw run.
    """

    uid: str
    raw_path: str | None = None
    tiled_path: str | None = None
    first_map_s: float | None = None
    final_map_s: float | None = None
    frames: int = 0
    missing: int = 0
    repeated: int = 0
    unusable: int = 0
    malformed: int = 0
    outside: int = 0
    r_factor: float | None = None
    verdict: str | None = None
    probe_uid: str | None = None
    region_path: str | None = None
    region_s: float | None = None
    warnings: tuple[str, ...] = ()
    error: str | None = None

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """Return what was written as JSON."""
        return cls(**{**values, "warnings": tuple(values["warnings"])})

    def __repr__(self) -> str:
        told = {
            field.name: getattr(self, field.name)
            for field in fields(self)
            if getattr(self, field.name) != field.default
        }
        shown = [
            f"{name}={value:.4g}" if isinstance(value, float) else f"{name}={value!r}"
            for name, value in told.items()
        ]
        return f"<LiveOutcome {', '.join(shown)}>"
