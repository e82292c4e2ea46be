"""The fast shutter in front of the sample."""

from __future__ import annotations

import asyncio
from threading import RLock
from typing import TYPE_CHECKING, Any

from ophyd import Component, Device
from ophyd.signal import InternalSignal
from ophyd.status import DeviceStatus

from ptycho_plugin.devices.gate import ExposureGate
from ptycho_plugin.dose import ShutterTiming
from ptycho_plugin.errors import InputError

if TYPE_CHECKING:
    from ptycho_plugin.simulation.world import World

LATE_S = 2.0
"""For which an exposure may outlast its time in a pause: after that the shutter closes on it."""
OPEN = "open"
CLOSED = "closed"


class SimulatedShutter(Device):
    """A shutter that opens for a plan, and never stays open when the plan does not run.

    Its status is done when it has opened, or closed, as late as its timing says. Staging and
    unstaging close it. When the RunEngine pauses, an exposure that is under way ends as it should, a
    trajectory makes no other, then the shutter closes; it does not wait for a camera that hangs. When
    the RunEngine resumes, it opens again only if it had been opened for an exposure that has not begun;
    where a second pause or suspension came in the meantime, when the last of them is over.

    Parameters
    ----------
    world : World
    gate : ExposureGate
    timing : ShutterTiming
    time_factor : float
        Duration of a simulated second in seconds.
    **kwargs
        As for `ophyd.Device`.

    Attributes
    ----------
    openings_s : list of float
        Simulated seconds from each command to open to its command to close.
    """

    state = Component(InternalSignal, value=CLOSED, kind="normal")

    def __init__(
        self, *, world: World, gate: ExposureGate, timing: ShutterTiming, time_factor: float, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self._world = world
        self._gate = gate
        self._timing = timing
        self._lock = RLock()
        self._exposed_before_s = gate.passed_s
        self.openings_s: list[float] = []
        self._delay_s = {OPEN: timing.opening_lag_s * time_factor, CLOSED: timing.closing_lag_s * time_factor}
        self._pauses = 0
        self._opens_on_resume = False
        self._move(CLOSED)

    def set(self, value: str) -> DeviceStatus:
        """Move to ``"open"`` or ``"closed"``.

        Raises
        ------
        InputError
            If the value is neither.
        """
        if value not in (OPEN, CLOSED):
            raise InputError(f"{self.name} cannot be set to {value!r}: say 'open' or 'closed'")
        self._pauses, self._opens_on_resume = 0, False  # a plan that says so is running
        self._move(value)
        status = DeviceStatus(self, settle_time=self._delay_s[value])
        status.set_finished()
        return status

    @property
    def position(self) -> str:
        """``"open"`` or ``"closed"``."""
        return str(self.state.get())

    def stage(self) -> list[object]:
        """Close."""
        self._move(CLOSED)
        staged: list[object] = super().stage()
        return staged

    def unstage(self) -> list[object]:
        """Close."""
        self._move(CLOSED)
        unstaged: list[object] = super().unstage()
        return unstaged

    async def pause(self) -> None:
        """Close, but not in the middle of an exposure."""
        self._gate.hold()
        await asyncio.to_thread(self._gate.wait_until_low, LATE_S)
        self._pauses += 1
        has_exposed = self._gate.is_high or self._gate.passed_s != self._exposed_before_s
        self._opens_on_resume |= self.position == OPEN and not has_exposed
        self._move(CLOSED)

    async def resume(self) -> None:
        """Open again for the exposure that the pause held up, which must wait until it is open."""
        self._pauses = max(0, self._pauses - 1)
        if self._opens_on_resume and not self._pauses:
            self._opens_on_resume = False
            self._move(OPEN)
            await asyncio.sleep(self._delay_s[OPEN])

    def _move(self, state: str) -> None:
        with self._lock:
            self._world.set_shutter(state == OPEN)
            if state == OPEN and self.position == CLOSED:
                self._exposed_before_s = self._gate.passed_s
            elif state == CLOSED and self.position == OPEN:
                # Simulated time passes in exposures, and on the way between those of a trajectory.
                exposed_s = self._gate.passed_s - self._exposed_before_s
                self.openings_s.append(self._timing.commanded_s(exposed_s))
            self.state.put(state, internal=True)
