"""What of a trajectory came where, once it has ended: at its points, and between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from math import hypot

import numpy as np

from ptycho_plugin.devices.beamline import Captured
from ptycho_plugin.dose import Photons
from ptycho_plugin.flux import FluxCalibration
from ptycho_plugin.ledger import Delivered, Intent
from ptycho_plugin.ledger.records import Frame
from ptycho_plugin.ledger.rigid import Position
from ptycho_plugin.plans.bookkeeping import MARGIN

NOT_REACHED = "the trajectory ended before it"
EARLY_S = 1e-6
"""By which a gate may seem to outlast the light, as clocks are read."""

Outcome = Delivered | str


@dataclass(frozen=True, slots=True)
class Rate:
    """What makes photons of counts and seconds, and places of the piezo stage's positions.

    Parameters
    ----------
    calibration : FluxCalibration
    last_per_s : float
        Photons on the sample in a second, as last known before the trajectory.
    coarse_um : (float, float)
        Where the coarse stage stands.
    """

    calibration: FluxCalibration
    last_per_s: float
    coarse_um: Position


@dataclass(frozen=True, slots=True, eq=False)
class Landing:
    """How its gates, and the time that its shutter was open, tell what a trajectory was.

    In a gate came what the monitor counted. Between two gates came what comes in that time at the rate of
    these two. The shutter opens as the trajectory starts: if it was open for longer than until the end of
    the last gate, the rest came on the way to the next point, or at the last.

    Parameters
    ----------
    intents : sequence of Intent
        Its rows, points and ways in turn, as in `TrajectoryLight`.
    captured : Captured
    told : int
        Points whose frames are in the documents.
    rate : Rate
    span : (datetime, datetime)
        When the shutter was told to open, and to close.
    lit_s : float
        For which it was really open.
    jitter_s : float
        Standard deviation of that.
    """

    intents: Sequence[Intent]
    captured: Captured
    told: int
    rate: Rate
    span: tuple[datetime, datetime]
    lit_s: float = 0.0
    jitter_s: float = 0.0

    @property
    def photons_per_s(self) -> float | None:
        """Mean rate in the gates that were lit from beginning to end; None without any."""
        lit = self._lit(range(len(self.captured)))
        return self._rate(lit).number if lit else None

    def exposure(self, gate: int, rest: Photons = Photons(0.0), rest_s: float = 0.0) -> Delivered:  # noqa: B008
        """Return the exposure that a gate was, and what more came at its point."""
        counted = self.rate.calibration.photons(float(self.captured.counts[gate]))
        place, frame = self._place(gate), _frame(gate < self.told)
        return self._delivered(_sum(counted, rest), self._gate_s(gate) + rest_s, place, place, frame)

    def outcomes(self) -> dict[int, Outcome]:
        """Return what the rows were, or why they were never made; what nobody can know is left out."""
        gates, last = len(self.captured), len(self.intents) - 1
        rows: dict[int, Outcome] = {2 * gate: self.exposure(gate) for gate in range(gates)}
        rows |= {2 * gate - 1: self._between(gate) for gate in range(1, gates)}
        next_way = max(0, 2 * gates - 1)
        rows |= dict.fromkeys(range(next_way, last + 1), NOT_REACHED)
        rest_s = max(0.0, self.lit_s - (float(self.captured.gates_s[-1, 1]) if gates else 0.0))
        if next_way > last:
            rest = self._light(rest_s, [gates - 1], self.jitter_s)
            rows[last] = self.exposure(gates - 1, rest, rest_s)
        elif self.captured.begun > gates:
            self._cut(rows, gates, rest_s)
        elif rest_s:
            rows[next_way] = self._way(gates, rest_s)
        return rows

    def _cut(self, rows: dict[int, Outcome], gate: int, rest_s: float) -> None:
        """Tell of a gate that began, and of whose end nobody knows: what came in it is uncertain."""
        if gate:
            way_s = min(rest_s, self.intents[2 * gate - 1].open_s)
            rows[2 * gate - 1] = self._way(gate, way_s)
            rest_s -= way_s
        intent = self.intents[2 * gate]
        del rows[2 * gate]
        if rest_s > intent.open_s:  # more came than its upper bound
            at_most = intent.photons_at_most * rest_s / intent.open_s
            place = intent.start_um
            rows[2 * gate] = self._delivered(Photons(at_most, at_most), rest_s, place, place, "lost")

    def _between(self, gate: int) -> Delivered:
        """Return what came on the way from the gate before."""
        left, arrived = self.captured.gates_s[gate - 1, 1], self.captured.gates_s[gate, 0]
        seconds = float(max(0.0, min(arrived, self.lit_s) - left))
        photons = self._light(seconds, [gate - 1, gate])
        return self._delivered(photons, seconds, self._place(gate - 1), self._place(gate), "none")

    def _way(self, gate: int, seconds: float) -> Delivered:
        """Return what came on the way to a gate that was not begun: the first is begun where it is."""
        intent = self.intents[max(0, 2 * gate - 1)]
        photons = self._light(seconds, [gate - 1] if gate else [], self.jitter_s)
        start = self._place(gate - 1) if gate else intent.start_um
        return self._delivered(photons, seconds, start, intent.end_um or start, "none")

    def _light(self, seconds: float, gates: Sequence[int], jitter_s: float = 0.0) -> Photons:
        """Return the photons of some time at the rate of some gates."""
        rate = self._rate(self._lit(gates))
        return Photons(rate.number * seconds, hypot(rate.sigma * seconds, rate.number * jitter_s))

    def _rate(self, gates: Sequence[int]) -> Photons:
        """Return the photons of a second in some gates, or as last known."""
        if not gates:
            return Photons(self.rate.last_per_s, MARGIN * self.rate.last_per_s)
        counted = [self.rate.calibration.photons(float(self.captured.counts[gate])) for gate in gates]
        seconds = sum(map(self._gate_s, gates))
        return Photons(
            sum(one.number for one in counted) / seconds, sum(one.sigma for one in counted) / seconds
        )

    def _lit(self, gates: Sequence[int]) -> list[int]:
        """Return those of some gates that ended before the shutter had closed."""
        return [gate for gate in gates if self.captured.gates_s[gate, 1] <= self.lit_s + EARLY_S]

    def _gate_s(self, gate: int) -> float:
        return float(np.diff(self.captured.gates_s[gate])[0])

    def _place(self, gate: int) -> Position:
        row, column = (self.captured.positions_um[gate] + self.rate.coarse_um).tolist()
        return row, column

    def _delivered(
        self, photons: Photons, seconds: float, start_um: Position, end_um: Position, frame: Frame
    ) -> Delivered:
        return Delivered(
            opened=self.span[0],
            closed=self.span[1],
            open_s=seconds,
            photons=photons.number,
            photons_uncertainty=photons.sigma,
            start_um=start_um,
            end_um=end_um,
            frame=frame,
        )


def _sum(one: Photons, other: Photons) -> Photons:
    """Return photons of one calibration together."""
    return Photons(one.number + other.number, one.sigma + other.sigma)


def _frame(told: bool) -> Frame:
    return "saved" if told else "lost"
