"""What an exposure's rows say, and when they may not be made."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from ptycho_plugin.errors import LedgerError
from ptycho_plugin.ledger.clock import utc
from ptycho_plugin.ledger.records import Delivered, Intent, Position, Region
from ptycho_plugin.ledger.samples import Mounting, regions_of

Entry = dict[str, object]


def intended(intent: Intent, mounting: Mounting) -> Entry:
    """Return what is written of an exposure before it is made.

    Raises
    ------
    LedgerError
        If the beam's monitor is not calibrated for it.
    """
    beam, calibration = intent.beam, intent.beam.calibrated()
    return {
        "mounting": mounting.key,
        "region": intent.on.key if isinstance(intent.on, Region) else None,
        "run_uid": intent.run_uid,
        "point": intent.point,
        "kind": intent.kind,
        "repeat": intent.repeat,
        **_path(intent.start_um, intent.end_um),
        "open_s": intent.open_s,
        "photons_at_most": intent.photons_at_most,
        "energy_eV": beam.energy_eV,
        "monitor": beam.monitor,
        "gain": beam.gain,
        "calibration": calibration.key,
        "calibrated_utc": utc(calibration.date),
        "calibration_sigma": calibration.relative_sigma,
    }


def done(delivered: Delivered) -> Entry:
    """Return what is written of an exposure when it was made."""
    return {
        "status": "done",
        "opened_utc": utc(delivered.opened),
        "closed_utc": utc(delivered.closed),
        **_path(delivered.start_um, delivered.end_um),
        "open_s": delivered.open_s,
        "photons": delivered.photons,
        "photons_uncertainty": delivered.photons_uncertainty,
        "frame": delivered.frame,
    }


def withdrawn(reason: str) -> Entry:
    """Return what is written of an exposure that was never made."""
    return {"status": "withdrawn", "reason": reason, "photons": 0.0, "photons_uncertainty": 0.0}


def _path(start_um: Position | None, end_um: Position | None) -> Entry:
    """Return the columns of a path, which ends where it starts if nothing else is said."""
    start = start_um or (None, None)
    end = end_um or start
    return {
        "start_row_um": start[0],
        "start_column_um": start[1],
        "end_row_um": end[0],
        "end_column_um": end[1],
    }


def check_inside(connection: sqlite3.Connection, region: Region, mounting: Mounting, intent: Intent) -> None:
    """Refuse an intent for a region that begins or ends outside it."""
    if region not in regions_of(connection, region.sample):
        raise LedgerError(f"{region} is of another ledger: place it in this one")
    for stage_um in filter(None, (intent.start_um, intent.end_um)):
        away = region.distance_um(mounting.located().to_sample(stage_um))
        if away > region.reach_um:
            raise LedgerError(
                f"point {intent.point} at ({stage_um[0]:g}, {stage_um[1]:g}) um lies {away:.1f} um from the "
                f"centre of {region}, which reaches {region.reach_um:g} um: give stage positions in "
                "micrometres, coarse and piezo stage added"
            )


def check_settled(row: sqlite3.Row) -> None:
    """Refuse to go on while an exposure is under way."""
    if row["status"] == "under way":
        raise LedgerError(f"{named(row)} is under way: confirm or withdraw it before the next")


class Attempts:
    """The attempts at each point of a repeat so far.

    Parameters
    ----------
    earlier : iterable of row
        Of the repeat's runs, in their order.
    """

    def __init__(self, earlier: Iterable[sqlite3.Row]) -> None:
        self._last: dict[int, int] = {}
        self._exposed: dict[int, sqlite3.Row] = {}
        for row in earlier:
            point = row["point"]
            self._last[point] = max(row["attempt"], self._last.get(point, 0))
            if row["status"] != "withdrawn" and row["frame"] != "none" and row["kind"] != "transit":
                self._exposed[point] = row

    def next(self, intent: Intent, again: bool) -> int:
        """Return the number of the next attempt, or refuse a second exposure; a transit is none."""
        exposed = self._exposed.get(intent.point)
        if exposed is not None and not again and intent.kind != "transit":
            raise LedgerError(
                f"{named(exposed)} is {exposed['status']}: exposing the point again must be asked for"
            )
        self._last[intent.point] = 1 + self._last.get(intent.point, 0)
        return self._last[intent.point]


def named(row: sqlite3.Row) -> str:
    """Return how sentences call an exposure."""
    return f"exposure {row['id']} (run {row['run_uid']}, point {row['point']}, attempt {row['attempt']})"
