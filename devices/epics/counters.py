"""What counts and measures while the detector exposes, over Channel Access."""

from __future__ import annotations

import logging
from threading import Lock, Timer
from typing import Any

from ophyd import Component, Device, EpicsSignal, EpicsSignalRO, FormattedComponent, Signal
from ophyd.status import Status

from ptycho_plugin import beamline_file
from ptycho_plugin.devices.epics.answers import ANSWER_S, send, told
from ptycho_plugin.devices.epics.settings import Settings
from ptycho_plugin.errors import DeviceError

logger = logging.getLogger(__name__)

NO_GATE = "see that the detector exposes, and that its gate is wired here"
WITHIN_GATE = 0.999
"""Part of an exposure that a scaler counts: its gated clock might miss the end of all of it by a tick."""


class _GatedCounter(Device):
    """Armed by a put that completes when the next gate has ended.

    Parameters
    ----------
    *args, **kwargs
        As for `ophyd.Device`.
    exposure_time : EpicsSignal
        Of the detector: how long to wait for the gate's end.
    """

    def __init__(self, *args: Any, exposure_time: EpicsSignal, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._exposure_time = exposure_time
        self._lock = Lock()
        self._waiting: Any = None
        self._within_s = 0.0
        self._clock = Timer(0.0, lambda: None)

    def trigger(self) -> Status:
        """Arm for the next exposure; the status fails if none ends in time, in which pauses do not count.

        Raises
        ------
        DeviceError
            If it is not connected.
        """
        exposure_s = float(self._exposure_time.get())
        self._within_s = exposure_s + ANSWER_S
        self._prepare(exposure_s)
        status = self._waiting = Status(self)
        armed = told(self.arm, 1, None, NO_GATE)
        armed.add_callback(lambda ended: self._end(status, ended.exception(timeout=0)))
        self._start_clock(status)
        return status

    async def pause(self) -> None:
        """Wait for the gate as long as the pause takes."""
        self._clock.cancel()

    async def resume(self) -> None:
        """Wait for it as long as if it were armed now."""
        with self._lock:
            waiting = self._waiting
        if waiting is not None:
            self._start_clock(waiting)

    def unstage(self) -> list[object]:
        """Wait for no gate any more."""
        with self._lock:
            is_armed = self._waiting is not None
        if is_armed:
            self._disarm()
        unstaged: list[object] = super().unstage()
        return unstaged

    def _prepare(self, exposure_s: float) -> None:
        """Set up what depends on the exposure time."""

    def _start_clock(self, status: Status) -> None:
        self._clock.cancel()
        self._clock = Timer(self._within_s, self._give_up, args=(status,))
        self._clock.daemon = True
        self._clock.start()

    def _give_up(self, status: Status) -> None:
        error = DeviceError(
            f"{self.arm.setpoint_pvname} = 1 was not completed within {self._within_s:g} s: {NO_GATE}"
        )
        if self._end(status, error):
            self._disarm()

    def _end(self, status: Any, error: Exception | None) -> bool:
        """End what is waited for, and return whether it was."""
        with self._lock:
            if status is not self._waiting:
                return False
            self._waiting = None
        self._clock.cancel()
        if error is None:
            status.set_finished()
        else:
            status.set_exception(error)
        return True

    def _disarm(self) -> None:
        try:
            send(self.arm, 0, "disarm it by hand")
        except DeviceError:
            logger.exception("%s stays armed", self.name)


class EpicsEncoder(_GatedCounter):
    """A position capture: the stage's place, averaged over the exposure."""

    arm = FormattedComponent(EpicsSignal, "{prefix}{_said.arm}", put_complete=True, kind="omitted")
    y = FormattedComponent(EpicsSignalRO, "{prefix}{_said.y}", kind="normal")
    x = FormattedComponent(EpicsSignalRO, "{prefix}{_said.x}", kind="normal")

    def __init__(self, prefix: str, said: beamline_file.schema.Encoder, **kwargs: Any) -> None:
        self._said = said
        super().__init__(prefix, **kwargs)


class EpicsFluxMonitor(_GatedCounter):
    """A channel of a scaler record, behind an amplifier."""

    arm = FormattedComponent(EpicsSignal, "{prefix}{_said.scaler}.CNT", put_complete=True, kind="omitted")
    preset = FormattedComponent(EpicsSignal, "{prefix}{_said.scaler}.TP", put_complete=True, kind="omitted")
    """Seconds of its gated clock after which it has counted."""
    counts = FormattedComponent(EpicsSignalRO, "{prefix}{_said.scaler}.S{_said.channel}", kind="hinted")
    gain = FormattedComponent(
        EpicsSignal, "{prefix}{_said.gain}", put_complete=True, write_timeout=ANSWER_S, kind="config"
    )
    calibration = Component(Signal, value="", kind="config")
    """Calibration in force, a `ptycho_plugin.flux.FluxCalibration` as JSON; empty where there is none."""

    def __init__(self, prefix: str, said: beamline_file.schema.Flux, **kwargs: Any) -> None:
        self._said = said
        super().__init__(prefix, **kwargs)
        self._settings = Settings()

    def unstage(self) -> list[object]:
        """Wait for no gate any more, and count as long as it was found to."""
        try:
            self._settings.restore()
        finally:
            unstaged = super().unstage()
        return unstaged

    def _prepare(self, exposure_s: float) -> None:
        if self.preset.get() != WITHIN_GATE * exposure_s:
            self._settings.change(self.preset, WITHIN_GATE * exposure_s)
