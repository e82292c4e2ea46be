"""An exposure in the ledger: what is written before the shutter opens, and after it has closed."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np
from bluesky.protocols import Status
from bluesky.utils import MsgGenerator
from numpy.typing import NDArray

from ptycho_plugin.devices import Beamline
from ptycho_plugin.dose import Photons
from ptycho_plugin.flux import FluxCalibration
from ptycho_plugin.ledger import Beam, CalibrationUsed, Delivered, Intent, Region, Scan
from ptycho_plugin.ledger.records import Frame, Kind
from ptycho_plugin.ledger.rigid import Position
from ptycho_plugin.plans.dose_account import DoseAccount
from ptycho_plugin.plans.preflight_checks import Finding
from ptycho_plugin.plans.stubs import reading_of, value_of

MARGIN = 0.1
"""Part of its last known rate by which the flux may differ in an exposure: an upper bound of the photons
has this much more."""
JITTERS = 3
"""Standard deviations of the shutter's jitter in the longest time that it is open."""
CUT_SHORT = 1e-3
"""Part of its time by which an exposure may seem shorter, as clocks are read: more, and the shutter has
closed on it, so that what the monitor counted does not tell what came through."""


@dataclass(eq=False)
class PendingExposure:
    """An exposure whose outcome is not written yet.

    Parameters
    ----------
    key : int
        In the ledger.
    intent : Intent
    calibration : FluxCalibration
    transmission : float
        Of the attenuator.
    photons_per_s : float
        On the sample, as last known.
    exposure_s : float
        Of the detector.
    openings_before : int
        Of the shutter.
    """

    key: int
    intent: Intent
    calibration: FluxCalibration
    transmission: float
    photons_per_s: float
    exposure_s: float
    openings_before: int
    rewindable: bool = False
    """Whether the RunEngine gave messages again before it."""
    opened: datetime = field(default_factory=lambda: datetime.now(UTC))
    closed: datetime | None = None
    """When the shutter was told to close; until then it may be open."""
    triggered: bool = False
    """Whether the detector was told to expose."""
    counters: Mapping[str, Status] = field(default_factory=dict)
    """Of those that were armed before, by their names; done when they have measured."""
    saved: bool = False
    """Whether its event is."""
    statuses: dict[Hashable, list[Status]] = field(default_factory=dict)
    """Of what it waits for, by the groups of its messages."""

    @property
    def is_open(self) -> bool:
        """Whether the shutter may be open."""
        return self.closed is None

    @property
    def is_under_way(self) -> bool:
        """Whether a counter still measures, or waits for the detector to begin."""
        return not all(status.done for status in self.counters.values())

    @property
    def frame(self) -> Frame:
        """What came of it."""
        if not self.triggered:
            return "none"
        return "saved" if self.saved else "lost"

    @property
    def is_frame_due(self) -> bool:
        """Whether it was made and its event is not saved yet."""
        return self.frame == "lost"

    def has_measured(self, counter: str) -> bool:
        """Return whether a counter has measured during the exposure."""
        status = self.counters.get(counter)
        return status is not None and status.done and status.success

    def begin(self, counters: Mapping[str, Status]) -> None:
        """Say that the detector has been triggered, with these counters armed."""
        self.triggered, self.counters = True, counters

    def close(self) -> None:
        """Say that the shutter has been told to close."""
        self.closed = self.closed or datetime.now(UTC)


class Bookkeeper:
    """Reads a beamline around its exposures, and keeps the account of them.

    Parameters
    ----------
    beamline : Beamline
    account : DoseAccount
    target : Region or str
    kind : {"scan", "alignment"}
    repeat : int, optional
    """

    def __init__(
        self, beamline: Beamline, account: DoseAccount, target: Region | str, kind: Kind, repeat: int | None
    ) -> None:
        self._beamline = beamline
        self._account = account
        self.on = {"on": target, "kind": kind, "repeat": repeat}
        self.last_per_s: float | None = None
        """Unattenuated, in the last exposure that was counted."""

    def photons_per_s(self, calibration: FluxCalibration) -> tuple[float, float]:
        """Return the unattenuated photons on the sample in a second, as last known and at most."""
        last = self.last_per_s or calibration.photons_per_s
        return last, (1 + MARGIN) * max(last, calibration.photons_per_s)

    def check_scan(
        self, points_um: NDArray[np.float64], exposure_s: float, calibration: FluxCalibration
    ) -> MsgGenerator[Finding]:
        """Return what a scan of the piezo stage takes of the budget, or raise why it may not be begun."""
        coarse_um = yield from self.with_coarse(0.0, 0.0)
        last, _ = self.photons_per_s(calibration)
        photons = yield from photons_expected(self._beamline, last, exposure_s)
        self._account.update()
        return self._account.check_scan(points_um + coarse_um, photons)

    def scan(self, points_um: NDArray[np.float64], exposure_s: float) -> MsgGenerator[Scan]:
        """Return a scan of the piezo stage, where coarse stage and attenuator stand, for the ledger."""
        return Scan(
            points_um=tuple(map(tuple, points_um.tolist())),
            coarse_um=(yield from self.with_coarse(0.0, 0.0)),
            exposure_s=exposure_s,
            energy_eV=self._beamline.geometry.energy_eV,
            transmission=(yield from value_of(self._beamline.attenuator)),
        )

    def intend(
        self, run_uid: str, point: int, calibration: FluxCalibration, *, again: bool = False
    ) -> MsgGenerator[PendingExposure]:
        """Write that an exposure is about to be made where the stages stand, or raise why it may not be."""
        beamline, timing = self._beamline, self._beamline.shutter_timing
        gain = yield from value_of(beamline.flux.gain)
        calibration.check(beamline.geometry.energy_eV, gain)
        exposure_s = yield from value_of(beamline.detector.exposure_time)
        transmission = yield from value_of(beamline.attenuator)
        open_s = timing.open_s(timing.commanded_s(exposure_s)) + JITTERS * timing.jitter_s
        last, at_most = self.photons_per_s(calibration)
        intent = Intent(
            **self.on,
            run_uid=run_uid,
            point=point,
            start_um=(yield from self._set_position_um()),
            open_s=open_s,
            photons_at_most=at_most * transmission * open_s,
            beam=beam_of(beamline, calibration),
        )
        openings = len(beamline.shutter.openings_s)
        return PendingExposure(
            self._account.intend(intent, again=again),
            intent,
            calibration,
            transmission,
            last * transmission,
            exposure_s,
            openings,
        )

    def outcome(self, exposure: PendingExposure) -> MsgGenerator[Delivered | None]:
        """Return what an exposure was, of a shutter that is closed; None where nobody can know it."""
        timing = self._beamline.shutter_timing
        openings_s = self._openings_s(exposure)
        open_s = timing.open_s(*openings_s)
        intent = exposure.intent
        position = intent.start_um
        if exposure.triggered:
            photons = yield from self._counted(exposure)
            if exposure.has_measured(self._beamline.encoder.name):
                position = yield from self._measured_position_um()
        else:  # nothing was counted, but the flux is known well enough for some milliseconds
            number = exposure.photons_per_s * exposure.exposure_s
            photons = timing.on_sample(Photons(number, MARGIN * number), exposure.exposure_s, *openings_s)
        if photons is None and open_s > intent.open_s:  # more came through than its upper bound
            at_most = intent.photons_at_most * open_s / intent.open_s
            photons = Photons(at_most, at_most)
        if photons is None:
            return None
        return Delivered(
            opened=exposure.opened,
            closed=exposure.closed,
            open_s=open_s,
            photons=photons.number,
            photons_uncertainty=photons.sigma,
            start_um=position,
            frame=exposure.frame,
        )

    def settle(self, exposure: PendingExposure, outcome: Delivered | None) -> None:
        """Write what became of an exposure, once; what nobody can know stays as intended."""
        if not self._openings_s(exposure):
            self._account.withdraw(exposure.key, "the shutter was not opened")
        elif outcome is None:
            self._account.leave_uncertain(exposure.intent)
        else:
            if exposure.has_measured(self._beamline.flux.name):
                self.last_per_s = outcome.photons / outcome.open_s / exposure.transmission
            self._account.confirm(exposure.key, outcome)

    def _counted(self, exposure: PendingExposure) -> MsgGenerator[Photons | None]:
        """Return the photons that the monitor tells, with those that came while the shutter moved."""
        timing = self._beamline.shutter_timing
        openings_s = self._openings_s(exposure)
        is_whole = sum(openings_s) >= (1 - CUT_SHORT) * timing.commanded_s(exposure.exposure_s)
        if not (is_whole and exposure.has_measured(self._beamline.flux.name)):
            return None
        counts = yield from value_of(self._beamline.flux)
        return timing.on_sample(exposure.calibration.photons(counts), exposure.exposure_s, *openings_s)

    def _openings_s(self, exposure: PendingExposure) -> tuple[float, ...]:
        return tuple(self._beamline.shutter.openings_s[exposure.openings_before :])

    def _set_position_um(self) -> MsgGenerator[Position]:
        y = yield from value_of(self._beamline.stage.y)
        x = yield from value_of(self._beamline.stage.x)
        return (yield from self.with_coarse(y, x))

    def _measured_position_um(self) -> MsgGenerator[Position]:
        encoder = self._beamline.encoder
        reading = yield from reading_of(encoder)
        y, x = (float(reading[axis.name]["value"]) for axis in (encoder.y, encoder.x))
        return (yield from self.with_coarse(y, x))

    def with_coarse(self, y: float, x: float) -> MsgGenerator[Position]:
        """Return where the probe is in the ledger's coordinates: coarse and piezo stage added."""
        coarse_y = yield from value_of(self._beamline.coarse.y)
        coarse_x = yield from value_of(self._beamline.coarse.x)
        return y + coarse_y, x + coarse_x


def photons_expected(beamline: Beamline, photons_per_s: float, exposure_s: float) -> MsgGenerator[float]:
    """Return the photons that an exposure brings to the sample, at an unattenuated flux, as things stand."""
    timing = beamline.shutter_timing
    transmission = yield from value_of(beamline.attenuator)
    return photons_per_s * transmission * timing.open_s(timing.commanded_s(exposure_s))


def beam_of(beamline: Beamline, calibration: FluxCalibration) -> Beam:
    """Return the beam as the ledger keeps it; the calibration has been found fit for it."""
    monitor, gain = beamline.flux.name, calibration.gain
    used = CalibrationUsed(
        key=calibration.run_uid,
        date=calibration.date,
        monitor=monitor,
        energy_eV=calibration.energy_eV,
        gain=gain,
        relative_sigma=calibration.relative_sigma,
    )
    return Beam(energy_eV=beamline.geometry.energy_eV, monitor=monitor, gain=gain, calibration=used)
