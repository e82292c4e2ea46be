"""Exposures read from the ledger, as arrays."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ptycho_plugin.ledger.clock import UTC_SUFFIX
from ptycho_plugin.ledger.rigid import Position

Status = Literal["done", "under way", "uncertain", "withdrawn"]
NO_NUMBER = -1
"""Region or repeat of an exposure that has none."""


@dataclass(frozen=True, eq=False, slots=True)
class Exposures:
    """Exposures in the order of their intents, one row each.

    An exposure is *done* when it was confirmed, and *withdrawn* when its shutter never opened. One
    that was intended only is *under way* while the session that intended it lives and has begun no
    other, with all of its trajectory; after that it is *uncertain*. Both count as exposed, at their
    upper bound. What came on the way between two points of a trajectory is a row of its own, of kind
    "transit".

    Parameters
    ----------
    key : ndarray, (exposure,), int64
        In the ledger.
    run_uid, kind, status, reason, monitor, calibration : ndarray, (exposure,), str
        `reason` is why it was withdrawn, `calibration` the key of the flux calibration.
    point, attempt, region, repeat : ndarray, (exposure,), int64
        `region` is the key of the one that it was meant for, which need not be the one asked about;
        -1 where there is none, as for `repeat`.
    frame : ndarray, (exposure,), str
        What came of one that is done: "saved", "lost" or "none", as in `Delivered`; else empty.
    start_um, end_um : ndarray, (exposure, 2), float64
        (row, column) where the shutter opened and closed, along the sample's axes, from the origin
        that was asked about; nan where the sample is not located.
    open_s : ndarray, (exposure,), float64
    photons, photons_uncertainty : ndarray, (exposure,), float64
        On the sample, with their standard deviation; of a withdrawn exposure 0, of one that nobody
        confirmed the upper bound, and as uncertainty all of it. Exposures of one calibration share
        its error.
    energy_eV : ndarray, (exposure,), float64
    calibration_sigma : ndarray, (exposure,), float64
        Relative standard uncertainty of the flux calibration; nan where it is not known.
    calibrated : ndarray, (exposure,), datetime64[us]
        When, UTC.
    intended, opened, closed : ndarray, (exposure,), datetime64[us]
        UTC; not a time where nobody confirmed it.
    unplaced : int
        Other exposures of the sample that may lie here too: made since it was mounted again, while
        its marks were not found.
    """

    key: NDArray[np.int64]
    run_uid: NDArray[np.str_]
    point: NDArray[np.int64]
    attempt: NDArray[np.int64]
    kind: NDArray[np.str_]
    region: NDArray[np.int64]
    repeat: NDArray[np.int64]
    status: NDArray[np.str_]
    reason: NDArray[np.str_]
    frame: NDArray[np.str_]
    start_um: NDArray[np.float64]
    end_um: NDArray[np.float64]
    open_s: NDArray[np.float64]
    photons: NDArray[np.float64]
    photons_uncertainty: NDArray[np.float64]
    energy_eV: NDArray[np.float64]
    monitor: NDArray[np.str_]
    calibration: NDArray[np.str_]
    calibration_sigma: NDArray[np.float64]
    calibrated: NDArray[np.datetime64]
    intended: NDArray[np.datetime64]
    opened: NDArray[np.datetime64]
    closed: NDArray[np.datetime64]
    unplaced: int = 0

    def __len__(self) -> int:
        return len(self.key)

    @property
    def positions_um(self) -> NDArray[np.float64]:
        """Middles of the paths, (exposure, 2), as (row, column)."""
        middles: NDArray[np.float64] = (self.start_um + self.end_um) / 2
        return middles

    def photons_by_status(self) -> dict[Status, float]:
        """Return the photons of each status; their sum is what the sample may have received."""
        return {status: float(self.photons[self.status == status].sum()) for status in get_args(Status)}

    def where(self, chosen: NDArray[np.bool_]) -> Exposures:
        """Return the chosen ones, e.g. ``exposures.where(exposures.status == "uncertain")``."""
        arrays: dict[str, Any] = {
            field.name: getattr(self, field.name)[chosen]
            for field in fields(self)
            if field.name != "unplaced"
        }
        return replace(self, **arrays)


def from_rows(rows: Iterable[sqlite3.Row], origin_um: Position, unplaced: int = 0) -> Exposures:
    """Return rows of the view ``counted`` as arrays, positions from an origin in sample coordinates."""
    listed = list(rows)

    def column(name: str, dtype: Any) -> NDArray[Any]:
        return np.array([row[name] for row in listed], dtype)

    def number(name: str) -> NDArray[np.int64]:
        return np.array([NO_NUMBER if row[name] is None else row[name] for row in listed], np.int64)

    def times(event: str) -> NDArray[np.datetime64]:
        written = [row[f"{event}_utc"] or "NaT" for row in listed]
        return np.array([time.removesuffix(UTC_SUFFIX) for time in written], "M8[us]")

    def positions(end: str) -> NDArray[np.float64]:
        pairs = [column(f"{end}_{axis}_um", np.float64) for axis in ("row", "column")]
        placed: NDArray[np.float64] = np.stack(pairs, axis=1) - origin_um
        return placed

    return Exposures(
        key=column("id", np.int64),
        run_uid=column("run_uid", np.str_),
        point=column("point", np.int64),
        attempt=column("attempt", np.int64),
        kind=column("kind", np.str_),
        region=number("region"),
        repeat=number("repeat"),
        status=column("status", np.str_),
        reason=np.array([row["reason"] or "" for row in listed], np.str_),
        frame=column("frame", np.str_),
        start_um=positions("start"),
        end_um=positions("end"),
        open_s=column("open_s", np.float64),
        photons=column("photons", np.float64),
        photons_uncertainty=column("photons_uncertainty", np.float64),
        energy_eV=column("energy_eV", np.float64),
        monitor=column("monitor", np.str_),
        calibration=column("calibration", np.str_),
        calibration_sigma=column("calibration_sigma", np.float64),
        calibrated=times("calibrated"),
        intended=times("intended"),
        opened=times("opened"),
        closed=times("closed"),
        unplaced=unplaced,
    )
