"""Simulated stages: axes that take their time, keep their limits and can be stopped."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ophyd import Component, Device
from ophyd.status import DeviceStatus

from ptycho_plugin.devices.signals import MeasuredSignal, UnitSignal
from ptycho_plugin.devices.travel import check_travel

if TYPE_CHECKING:
    from ptycho_plugin.simulation.world import World


@dataclass(frozen=True)
class _Move:
    """A move under way."""

    status: DeviceStatus
    timer: threading.Timer
    start: float
    target: float
    began: float
    travel_s: float

    def position(self) -> float:
        """Return where the axis is now."""
        if self.travel_s == 0:
            return self.target
        done = min(1.0, (time.monotonic() - self.began) / self.travel_s)
        return self.start + done * (self.target - self.start)


class SimulatedAxis(Device):
    """One axis of a stage, in micrometres.

    Parameters
    ----------
    world : World
    axis : str
        The world's name of it, such as ``"stage_row"``.
    limits_um : (float, float)
        Lowest and highest position.
    velocity_um_s : float
        In micrometres a second.
    settle_s : float
        From arrival until the move counts as done.
    time_factor : float
        Duration of a simulated second in seconds; 0 moves at once.
    **kwargs
        As for `ophyd.Device`.
    """

    egu = "um"

    readback = Component(MeasuredSignal, value=0.0, units=egu, kind="hinted")
    setpoint = Component(MeasuredSignal, value=0.0, units=egu, kind="normal")
    velocity = Component(UnitSignal, units="um/s", kind="config")
    settling_time = Component(UnitSignal, units="s", kind="config")

    def __init__(
        self,
        *,
        world: World,
        axis: str,
        limits_um: tuple[float, float],
        velocity_um_s: float,
        settle_s: float,
        time_factor: float = 1.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.limits = limits_um
        self.readback.name = self.name
        self.velocity.put(velocity_um_s)
        self.settling_time.put(settle_s)
        self._world = world
        self._axis = axis
        self._time_factor = time_factor
        self._lock = threading.RLock()
        self._move: _Move | None = None
        self._arrive(0.0)

    @property
    def position(self) -> float:
        """Where the axis is, in micrometres."""
        with self._lock:
            return self._move.position() if self._move else float(self.readback.get())

    def check_value(self, value: float) -> None:
        """Raise `TravelLimitError` if the axis cannot go there."""
        check_travel(self.name, value, self.limits, self.egu)

    def set(self, value: float) -> DeviceStatus:
        """Start to move there; a move under way is given up.

        Raises
        ------
        TravelLimitError
            If the position is outside the limits.
        """
        self.check_value(value)
        with self._lock:
            self.stop()
            status = DeviceStatus(self, call_stop_on_failure=False)
            self.setpoint.put(float(value), internal=True)
            travel_s = abs(value - self.position) / self.velocity.get() * self._time_factor
            wait_s = travel_s + self.settling_time.get() * self._time_factor
            if wait_s == 0:
                self._arrive(value)
                status.set_finished()
                return status
            timer = threading.Timer(wait_s, self._finish, args=(status,))
            timer.daemon = True
            self._move = _Move(status, timer, self.position, value, time.monotonic(), travel_s)
            timer.start()
        return status

    def stop(self, *, success: bool = False) -> None:
        """Stop where the axis is now."""
        with self._lock:
            move, position = self._move, self.position
            if move is None:
                return
            move.timer.cancel()
            self._move = None
            self._arrive(position)
        if success:
            move.status.set_finished()
        else:
            move.status.set_exception(RuntimeError(f"{self.name} was stopped at {position:g} um"))

    def arrive(self, position: float) -> None:
        """Be where a trajectory has brought the axis, in micrometres."""
        with self._lock:
            self.setpoint.put(float(position), internal=True)
            self._arrive(position)

    def _finish(self, status: DeviceStatus) -> None:
        with self._lock:
            if self._move is None or self._move.status is not status:
                return
            target, self._move = self._move.target, None
            self._arrive(target)
        status.set_finished()

    def _arrive(self, position: float) -> None:
        self._world.move(self._axis, position)
        self.readback.put(float(position), internal=True)


@dataclass(frozen=True)
class SimulatedStage:
    """Two axes: y along the object's rows, x along its columns."""

    y: SimulatedAxis
    x: SimulatedAxis
