"""A position sequencer over Channel Access: loaded, armed and started; what each of its gates captured."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from threading import Event, Lock, Thread
from typing import Any

import numpy as np
from ophyd import Component, Device, EpicsSignal, EpicsSignalRO
from ophyd.status import Status

from ptycho_plugin.devices.beamline import Captured, GatedPoints
from ptycho_plugin.devices.statuses import finished
from ptycho_plugin.errors import DeviceError, InputError

LOADED, ARMED, RUNNING, DONE, ABORTED, FAULT = "Loaded", "Armed", "Running", "Done", "Aborted", "Fault"
LATE_S = 10.0
"""For which a command may take longer than what it commands."""
LOOK_S = 0.2
"""From one look at whether the sequencer is still there to the next."""


class EpicsScanner(Device):
    """A `TrajectoryScanner` by the process variables that `ptycho ioc` documents.

    Parameters
    ----------
    prefix : str
        Such as ``"PTYCHO:TRAJ:"``.
    **kwargs
        As for `ophyd.Device`.
    """

    rows = Component(EpicsSignal, "Y", kind="omitted")
    columns = Component(EpicsSignal, "X", kind="omitted")
    exposure = Component(EpicsSignal, "EXPOSURE", kind="omitted")
    load = Component(EpicsSignal, "LOAD", kind="omitted")
    arm = Component(EpicsSignal, "ARM", kind="omitted")
    start = Component(EpicsSignal, "START", kind="omitted")
    abort = Component(EpicsSignal, "ABORT", kind="omitted")
    state = Component(EpicsSignalRO, "STATE", string=True, kind="omitted")
    message = Component(EpicsSignalRO, "MESSAGE", string=True, kind="omitted")
    gates = Component(EpicsSignalRO, "CAPTURED", kind="omitted")
    gate_rows = Component(EpicsSignalRO, "CAP:Y", kind="omitted")
    gate_columns = Component(EpicsSignalRO, "CAP:X", kind="omitted")
    gate_counts = Component(EpicsSignalRO, "CAP:COUNTS", kind="omitted")
    gate_starts = Component(EpicsSignalRO, "CAP:START", kind="omitted")
    gate_ends = Component(EpicsSignalRO, "CAP:END", kind="omitted")

    def __init__(self, prefix: str, **kwargs: Any) -> None:
        super().__init__(prefix, **kwargs)
        self._points = 0
        self._gate_s = 0.0
        self._ended = finished(self)
        self._lock = Lock()
        self._stopped = self._started = False
        """Whether the trajectory that was armed last was told to stop, and to start before that."""

    @property
    def captured(self) -> Captured:
        """The gates so far of the trajectory that was armed last.

        After a fault, one more may have begun: the sequencer does not say.
        """
        if not self._started:  # what it still has is of another one
            return Captured(np.empty((0, 2)), np.empty(0), np.empty((0, 2)), 0)
        gates = int(_now(self.gates))
        columns = [
            np.atleast_1d(_now(signal)).astype(np.float64)[:gates]
            for signal in (
                self.gate_rows,
                self.gate_columns,
                self.gate_counts,
                self.gate_starts,
                self.gate_ends,
            )
        ]
        y, x, counts, starts, ends = columns
        cut = _now(self.state) in (RUNNING, FAULT) and gates < self._points
        return Captured(np.stack([y, x], axis=1), counts, np.stack([starts, ends], axis=1), gates + cut)

    @property
    def is_running(self) -> bool:
        """Whether a trajectory is under way."""
        return bool(_now(self.state) == RUNNING)

    def prepare(self, value: GatedPoints) -> Status:
        """Load a trajectory; nothing moves. The status fails with the sequencer's own words."""

        def load() -> None:
            for signal, numbers in zip((self.rows, self.columns), value.points_um.T, strict=True):
                signal.put(np.ascontiguousarray(numbers), wait=True, timeout=LATE_S)
            self.exposure.put(value.exposure_s, wait=True, timeout=LATE_S)
            self._obey(self.load, LOADED)

        self._points, self._gate_s = len(value.points_um), value.exposure_s
        return self._when_done(load)

    def set(self, value: str) -> Status:
        """Go to the first point, and wait there for the start; one that is stopped on its way is done.

        Raises
        ------
        InputError
            If the value is not "armed".
        """
        if value != ARMED.lower():
            raise InputError(f"{self.name} cannot be set to {value!r}: say {ARMED.lower()!r}")
        with self._lock:
            self._stopped = self._started = False
        return self._when_done(lambda: self._obey(self.arm, ARMED))

    def kickoff(self) -> Status:
        """Start; where it was stopped since it was armed, it ends at once.

        Its status fails where somebody else has aborted it: to go on would undo that.
        """
        self._ended = self._when_done(self._run)
        return finished(self)

    def complete(self) -> Status:
        """Return the status of the trajectory that was started last."""
        return self._ended

    async def stop(self, success: bool = True) -> None:  # noqa: ARG002
        """End the trajectory before its next gate, and wait until it has."""
        with self._lock:
            self._stopped = True
        _check_there(self.abort)
        await asyncio.to_thread(self.abort.put, 1, wait=True, timeout=self._gate_s + LATE_S)

    def _run(self) -> None:
        """Start, and wait for the end."""
        with self._lock:  # or it might be stopped first, and started then
            if self._stopped:
                return
            self._started = True
            ended = self._send(self.start)
        self._wait_for(self.start, ended, DONE)

    def _obey(self, command: EpicsSignal, state: str) -> None:
        """Give a command, and wait for the state that it leads to."""
        self._wait_for(command, self._send(command), state)

    def _send(self, command: EpicsSignal) -> Event:
        _check_there(command)
        ended = Event()
        command.put(1, wait=False, callback=lambda **_: ended.set())
        return ended

    def _wait_for(self, command: EpicsSignal, ended: Event, state: str) -> None:
        """Wait until a command has been obeyed, as long as the sequencer is there; it tells what is late."""
        while not ended.wait(LOOK_S):
            _check_there(command)
        self._check(state, *([ABORTED] if self._stopped else []))

    def _check(self, *states: str) -> None:
        """Raise what the sequencer says, where it has come to another state."""
        now = _now(self.state)
        if now not in states:
            raise DeviceError(f"{self.prefix.rstrip(':')} is in state {now}: {_now(self.message)}")

    def _when_done(self, action: Callable[[], None]) -> Status:
        """Return the status of something that is done in a thread of its own."""
        status = Status(self)

        def run() -> None:
            try:
                action()
            except Exception as error:  # noqa: BLE001  the status carries it to the plan
                status.set_exception(error)
            else:
                status.set_finished()

        Thread(target=run, name=f"{self.name} command", daemon=True).start()
        return status


def _now(signal: EpicsSignalRO) -> Any:
    """Return a signal's value, asked for: a monitor may be late."""
    _check_there(signal)
    return signal.get(use_monitor=False)


def _check_there(signal: EpicsSignalRO) -> None:
    """Raise `DeviceError` at once where a process variable has gone."""
    if not signal.connected:
        raise DeviceError(f"{signal.pvname} does not answer any more: see that its IOC runs")
