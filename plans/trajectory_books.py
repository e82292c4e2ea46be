"""A trajectory in the ledger: reserved as a whole before it is armed, told as it was when it has ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from math import sqrt

import numpy as np
from bluesky.utils import MsgGenerator
from numpy.typing import NDArray

from ptycho_plugin.devices import Beamline
from ptycho_plugin.devices.beamline import Captured, GatedPoints
from ptycho_plugin.flux import FluxCalibration
from ptycho_plugin.ledger import Delivered, Intent
from ptycho_plugin.plans.bookkeeping import JITTERS, Bookkeeper, beam_of
from ptycho_plugin.plans.dose_account import DoseAccount
from ptycho_plugin.plans.landing import Landing, Rate
from ptycho_plugin.plans.preflight_checks import Finding
from ptycho_plugin.plans.stubs import value_of
from ptycho_plugin.plans.trajectory_light import TrajectoryLight

HEARD_S = 0.05
"""For a plan to hear that the last gate has ended, and to close the shutter."""
NOT_OPENED = "the shutter was not opened"


@dataclass(eq=False)
class PendingTrajectory:
    """A trajectory whose outcome is not written yet; rows alternate as in `TrajectoryLight`.

    Parameters
    ----------
    keys : list of int
        In the ledger.
    intents : sequence of Intent
    light : TrajectoryLight
        As it is expected, in positions of both stages together.
    rate : Rate
    transmission : float
        Of the attenuator.
    openings_before : int
        Of the shutter.
    rewindable : bool
        Whether the RunEngine gave messages again before it.
    """

    keys: list[int]
    intents: Sequence[Intent]
    light: TrajectoryLight
    rate: Rate
    transmission: float
    openings_before: int
    rewindable: bool = False
    opened: datetime | None = None
    closed: datetime | None = None
    told: int = 0
    """Points whose frames are in the documents."""
    is_refused: bool = False
    """Whether somebody did not take documents of it."""
    settled: set[int] = field(default_factory=set)
    """Rows that the ledger has as they were."""

    @property
    def is_open(self) -> bool:
        """Whether the shutter may be open."""
        return self.opened is not None and self.closed is None

    @property
    def points(self) -> int:
        """How many there are."""
        return (len(self.keys) + 1) // 2

    @property
    def span(self) -> tuple[datetime, datetime]:
        """When the shutter was told to open and to close: what is not over has lasted until now."""
        now = datetime.now(UTC)
        return self.opened or now, self.closed or now

    @property
    def left(self) -> list[int]:
        """The rows that are not settled, in their order."""
        return [row for row in range(len(self.keys)) if row not in self.settled]

    def open(self) -> None:
        """Say that the shutter is told to open."""
        self.opened = datetime.now(UTC)

    def close(self) -> None:
        """Say that the shutter has been told to close."""
        self.closed = self.closed or datetime.now(UTC)


class TrajectoryBooks:
    """Reserves trajectories of a beamline, and keeps the account of them.

    Parameters
    ----------
    beamline : Beamline
    account : DoseAccount
    books : Bookkeeper
        That of single exposures, which knows the flux.
    """

    def __init__(self, beamline: Beamline, account: DoseAccount, books: Bookkeeper) -> None:
        self._beamline = beamline
        self._account = account
        self._books = books

    def check(
        self, points_um: NDArray[np.float64], exposure_s: float, calibration: FluxCalibration
    ) -> MsgGenerator[Finding]:
        """Return what a trajectory takes of the budget, or raise why it may not be begun."""
        light = yield from self._light(points_um, exposure_s)
        transmission = yield from value_of(self._beamline.attenuator)
        last, most = (transmission * per_s for per_s in self._books.photons_per_s(calibration))
        self._account.update()
        return self._account.check_light(light, last, most)

    def reserve(
        self,
        run_uid: str,
        numbers: Sequence[int],
        trajectory: GatedPoints,
        calibration: FluxCalibration,
        again: frozenset[int],
    ) -> MsgGenerator[PendingTrajectory]:
        """Write that a trajectory is about to be made, or raise why it may not be.

        Parameters
        ----------
        run_uid : str
        numbers : sequence of int
            Of its points, in their order.
        trajectory : GatedPoints
        calibration : FluxCalibration
        again : frozenset of int
            Points that may have been exposed before.
        """
        beamline = self._beamline
        gain = yield from value_of(beamline.flux.gain)
        calibration.check(beamline.geometry.energy_eV, gain)
        transmission = yield from value_of(beamline.attenuator)
        light = yield from self._light(trajectory.points_um, trajectory.exposure_s)
        last, most = (transmission * per_s for per_s in self._books.photons_per_s(calibration))
        rate = Rate(calibration, last, (yield from self._books.with_coarse(0.0, 0.0)))
        beam = beam_of(beamline, calibration)
        intents = [
            Intent(
                **self._books.on | ({"kind": "transit"} if row % 2 else {}),
                run_uid=run_uid,
                point=numbers[(row + 1) // 2],
                start_um=start,
                end_um=end,
                open_s=seconds,
                photons_at_most=most * seconds,
                beam=beam,
            )
            for row, ((start, end), seconds) in enumerate(
                zip(light.paths_um.tolist(), light.seconds.tolist(), strict=True)
            )
        ]
        return PendingTrajectory(
            self._account.intend_all(intents, light, most, again),
            intents,
            light,
            rate,
            transmission,
            len(beamline.shutter.openings_s),
        )

    def confirm(self, pending: PendingTrajectory, told: int, captured: Captured) -> None:
        """Write that so many points are in the documents, each as its gate was.

        The last one is left until the shutter has closed, for what comes until then falls on it.
        """
        pending.told = told
        landing = Landing(pending.intents, captured, told, pending.rate, pending.span)
        rows = {2 * point for point in range(min(told, pending.points - 1))} - pending.settled
        self._write(pending, {row: landing.exposure(row // 2) for row in sorted(rows)})

    def settle(self, pending: PendingTrajectory, captured: Captured | None) -> None:
        """Write what became of all the rest; what nobody can know stays as it was intended.

        Parameters
        ----------
        pending : PendingTrajectory
            Its shutter is closed.
        captured : Captured or None
            None where the scanner does not say, or has not ended.
        """
        openings_s = self._beamline.shutter.openings_s[pending.openings_before :]
        if not openings_s:
            self._write(pending, dict.fromkeys(pending.left, NOT_OPENED))
        elif captured is not None:
            timing = self._beamline.shutter_timing
            landing = Landing(
                pending.intents,
                captured,
                pending.told,
                pending.rate,
                pending.span,
                lit_s=timing.open_s(*openings_s),
                jitter_s=timing.jitter_s * sqrt(len(openings_s)),
            )
            outcomes = landing.outcomes()
            self._write(pending, {row: outcomes[row] for row in pending.left if row in outcomes})
            if (per_s := landing.photons_per_s) is not None:
                self._books.last_per_s = per_s / pending.transmission
        self._account.update()

    def _write(self, pending: PendingTrajectory, outcomes: dict[int, Delivered | str]) -> None:
        self._account.settle_all({pending.keys[row]: outcome for row, outcome in outcomes.items()})
        pending.settled |= outcomes.keys()

    def _light(self, points_um: NDArray[np.float64], exposure_s: float) -> MsgGenerator[TrajectoryLight]:
        """Return the light of a trajectory of the piezo stage, as long as it may be, in the ledger."""
        timing = self._beamline.shutter_timing
        light = TrajectoryLight.along(
            points_um,
            exposure_s,
            self._beamline.transits_s(points_um),
            HEARD_S + timing.closing_lag_s + JITTERS * timing.jitter_s,
        )
        return light.shifted((yield from self._books.with_coarse(0.0, 0.0)))
