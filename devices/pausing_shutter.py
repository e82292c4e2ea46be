"""A shutter that never stays open when the plan does not run, whatever moves its blades."""

from __future__ import annotations

import asyncio
from threading import RLock
from typing import Any

from ophyd import Component, Device
from ophyd.signal import InternalSignal
from ophyd.status import StatusBase

from ptycho_plugin.devices.statuses import settled
from ptycho_plugin.errors import InputError

LATE_S = 2.0
"""For which an exposure may outlast its time in a pause: after that the shutter closes on it."""
OPEN = "open"
CLOSED = "closed"


class PausingShutter(Device):
    """A shutter that opens for a plan, and never stays open when the plan does not run.

    Staging and unstaging close it. When the RunEngine pauses, an exposure that is under way ends as it
    should, then the shutter closes; it does not wait for a camera that hangs. When the RunEngine resumes,
    it opens again only if it had been opened for an exposure that has not begun; where a second pause or
    suspension came in the meantime, when the last of them is over.

    Attributes
    ----------
    openings_s : list of float
        Seconds from each command to open to its command to close.
    """

    state = Component(InternalSignal, value=CLOSED, kind="normal")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.openings_s: list[float] = []
        self._lock = RLock()
        self._progress_before = 0.0
        self._pauses = 0
        self._opens_on_resume = False

    def set(self, value: str) -> StatusBase:
        """Move to ``"open"`` or ``"closed"``; the status is done when it has moved.

        Raises
        ------
        InputError
            If the value is neither.
        """
        if value not in (OPEN, CLOSED):
            raise InputError(f"{self.name} cannot be set to {value!r}: say 'open' or 'closed'")
        self._pauses, self._opens_on_resume = 0, False  # a plan that says so is running
        return self._move(value)

    @property
    def position(self) -> str:
        """``"open"`` or ``"closed"``."""
        return str(self.state.get())

    def stage(self) -> list[object]:
        """Close, also where a run whose devices did not answer has left it staged."""
        self.unstage()
        staged: list[object] = super().stage()
        return staged

    def unstage(self) -> list[object]:
        """Close."""
        try:
            self._move(CLOSED)
        finally:
            unstaged: list[object] = super().unstage()
        return unstaged

    async def pause(self) -> None:
        """Close, but not in the middle of an exposure."""
        await asyncio.to_thread(self._let_end, LATE_S)
        self._pauses += 1
        has_exposed = self._is_exposing() or self._progress() != self._progress_before
        self._opens_on_resume |= self.position == OPEN and not has_exposed
        await asyncio.to_thread(settled, self._move(CLOSED))

    async def resume(self) -> None:
        """Open again for the exposure that the pause held up, which must wait until it is open."""
        self._pauses = max(0, self._pauses - 1)
        if self._opens_on_resume and not self._pauses:
            self._opens_on_resume = False
            await asyncio.to_thread(settled, self._move(OPEN))

    def _move(self, state: str) -> StatusBase:
        with self._lock:
            status = self._drive(state)
            if state == OPEN and self.position == CLOSED:
                self._progress_before = self._progress()
                self._begin_opening()
            elif state == CLOSED and self.position == OPEN:
                self.openings_s.append(self._opening_s())
            self.state.put(state, internal=True)
        return status

    def _drive(self, state: str) -> StatusBase:
        """Command the blades, from any thread, and return when they have moved."""
        raise NotImplementedError

    def _begin_opening(self) -> None:
        """Hear that it was commanded to open."""
        raise NotImplementedError

    def _opening_s(self) -> float:
        """Return the seconds since then."""
        raise NotImplementedError

    def _let_end(self, late_s: float) -> None:
        """Block until no exposure is under way, or one is so many seconds late."""
        raise NotImplementedError

    def _is_exposing(self) -> bool:
        """Return whether an exposure is under way."""
        raise NotImplementedError

    def _progress(self) -> float:
        """Return what grows with each exposure."""
        raise NotImplementedError
