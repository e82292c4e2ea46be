"""Axes over Channel Access: motor records, and piezo axes without one."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from math import isclose
from threading import Event
from typing import Any

from ophyd import Component, EpicsMotor, EpicsSignal, EpicsSignalRO, FormattedComponent, PVPositionerPC
from ophyd.positioner import PositionerBase
from ophyd.status import Status, StatusBase
from ophyd.utils import WaitTimeoutError

from ptycho_plugin.beamline_file import Motor, Piezo
from ptycho_plugin.devices.epics.answers import ANSWER_S, connect
from ptycho_plugin.devices.statuses import finished, following
from ptycho_plugin.devices.travel import check_travel
from ptycho_plugin.errors import DeviceError

NEAR = 1e-6
"""Within which, also as a part of it, a set point is the one that was set: some keep no doubles."""
SLACK = 2.0
"""Times distance over velocity that a move may take, besides `ANSWER_S`: it accelerates, and settles."""


class _Arriving(PositionerBase):
    """An axis whose move is done only where it was to go; it comes before ophyd's class."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._move = finished(self)
        self._excused = Event()

    def set(self, new_position: float) -> Status:
        """Move; the status fails if it takes much longer than its velocity says, or ends elsewhere.

        One that the RunEngine stops in a pause is done as well: when it resumes, it makes the move again.
        """
        self._excused = excused = Event()
        timeout_s = _patience_s(new_position - self.position, self._velocity())
        moved = self.move(new_position, wait=False, timeout=timeout_s)
        self._move = _moved(self, self._moved_by, new_position, moved, excused)
        return self._move

    def stop(self, *, success: bool = False) -> None:
        """Stop where it is now."""
        if success:
            self._excused.set()
        super().stop(success=success)

    async def pause(self) -> None:
        """Come to rest: the end of a move that was stopped must not be taken for that of the next one."""
        with suppress(WaitTimeoutError):  # its own time limit tells of it
            await asyncio.to_thread(self._move.exception, timeout=ANSWER_S)

    async def resume(self) -> None:
        """Wait for what the plan says."""


class MotorAxis(_Arriving, EpicsMotor):
    """A motor record.

    Parameters
    ----------
    prefix : str
        Of the beamline.
    motor : Motor
    units : str
        In which the record must be.
    name : str
    """

    gave_up = Component(EpicsSignalRO, ".MISS", auto_monitor=True, kind="omitted")
    """Whether its last move ended, after all retries, elsewhere."""

    def __init__(self, prefix: str, motor: Motor, units: str, *, name: str) -> None:
        super().__init__(prefix + motor.pv, name=name)
        self._own_limits = motor.limits
        self._units = units
        self._moved_by = self.prefix

    def connect(self) -> None:
        """Wait until it is connected.

        Raises
        ------
        DeviceError
            If it is not, or moves in other units.
        """
        connect(self)
        if self.egu != self._units:
            raise DeviceError(
                f"{self.prefix}.EGU is {self.egu!r}, and {self.name} is set in {self._units}: let it, "
                "or one on top of it, speak in that unit"
            )

    @property
    def limits(self) -> tuple[float, float]:
        """Lowest and highest position, as record and beamline file have it; equal where none are set."""
        return _inner(super().limits, self._own_limits)

    def check_value(self, pos: float) -> None:
        """Raise `TravelLimitError` if it cannot go there."""
        check_travel(self.name, pos, self.limits, self._units)

    @property
    def target(self) -> float:
        """Where it goes; a record that was stopped takes the place where it stands."""
        return float(self.user_setpoint.get(use_monitor=False))

    @property
    def has_given_up(self) -> bool:
        """Whether it stays away from its target."""
        return bool(self.gave_up.get(use_monitor=False))

    def _velocity(self) -> float:
        return float(self.velocity.get())


class PiezoAxis(_Arriving, PVPositionerPC):
    """An axis whose set point completes its put when it has settled.

    Parameters
    ----------
    prefix : str
        Of the beamline.
    piezo : Piezo
    velocity_um_s : float
    name : str
    """

    setpoint = FormattedComponent(EpicsSignal, "{_pvs[setpoint]}", kind="normal")
    readback = FormattedComponent(EpicsSignalRO, "{_pvs[readback]}", kind="hinted", auto_monitor=True)
    stop_signal = FormattedComponent(EpicsSignal, "{_pvs[stop]}", kind="omitted")
    low = FormattedComponent(EpicsSignalRO, "{_pvs[low]}", kind="omitted", auto_monitor=True)
    high = FormattedComponent(EpicsSignalRO, "{_pvs[high]}", kind="omitted", auto_monitor=True)
    stop_value = 1
    has_given_up = False

    def __init__(self, prefix: str, piezo: Piezo, velocity_um_s: float, *, name: str) -> None:
        named_pvs = piezo.model_dump(include={"setpoint", "readback", "stop", "low", "high"})
        self._pvs = {what: prefix + pv for what, pv in named_pvs.items()}
        self._own_limits = piezo.limits
        self._velocity_um_s = velocity_um_s
        self._moved_by = self._pvs["setpoint"]
        super().__init__(name=name, egu="um")
        self.readback.name = self.name

    def connect(self) -> None:
        """Wait until it is connected.

        Raises
        ------
        DeviceError
            If it is not.
        """
        connect(self)

    @property
    def limits(self) -> tuple[float, float]:
        """Lowest and highest position, as controller and beamline file have it; equal where none are set."""
        return _inner((float(self.low.get()), float(self.high.get())), self._own_limits)

    def check_value(self, pos: float) -> None:
        """Raise `TravelLimitError` if it cannot go there."""
        check_travel(self.name, pos, self.limits, self.egu)

    @property
    def target(self) -> float:
        """Where it goes."""
        return float(self.setpoint.get())

    def _velocity(self) -> float:
        return self._velocity_um_s


Axis = MotorAxis | PiezoAxis


def axis(prefix: str, said: Motor | Piezo, velocity_um_s: float, *, name: str) -> Axis:
    """Return an axis in micrometres, as a beamline file has it."""
    if isinstance(said, Piezo):
        return PiezoAxis(prefix, said, velocity_um_s, name=name)
    return MotorAxis(prefix, said, "um", name=name)


def _inner(one: tuple[float, float], other: tuple[float, float] | None) -> tuple[float, float]:
    """Return the limits that keep both, as `check_travel` takes them."""
    pairs = [pair for pair in (one, other) if pair is not None and pair[0] != pair[1]]
    return (max(low for low, _ in pairs), min(high for _, high in pairs)) if pairs else (0.0, 0.0)


def _patience_s(distance: float, velocity: float) -> float:
    return ANSWER_S + (SLACK * abs(distance) / velocity if velocity > 0 else 0.0)


def _moved(axis: Any, pv: str, target: float, status: StatusBase, excused: Event) -> Status:
    """Return when an axis has arrived: ophyd calls a move that was stopped one that is done.

    So is a move that was excused; where the axis is, is then left to who stopped it.
    """
    missed = f"{axis.name} did not arrive at {target:g} {axis.egu}: {pv}"

    def judge(error: Exception | None) -> None:
        if excused.is_set():
            return
        try:
            at, goes_to, gave_up = axis.position, axis.target, axis.has_given_up
        except Exception as gone:
            raise DeviceError(f"{missed} does not answer ({gone}); see that its IOC runs") from gone
        is_elsewhere = not isclose(goes_to, target, rel_tol=NEAR, abs_tol=NEAR)
        if error is not None:
            why = f"{type(error).__name__} {error}"
        elif is_elsewhere or gave_up:
            why = "it was stopped" if is_elsewhere else "its record gave up"
        else:
            return
        raise DeviceError(f"{missed} is at {at:g} ({why}); see what holds it")

    return following(axis, status, judge)
