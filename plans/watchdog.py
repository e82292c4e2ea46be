"""Watchdogs: one closes the shutter when the plan stops making progress."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from time import monotonic

from ptycho_plugin.devices.beamline import Shutter
from ptycho_plugin.devices.statuses import settled
from ptycho_plugin.errors import StalledPlanError

logger = logging.getLogger(__name__)


class Watchdog:
    """A thread that acts when it is not fed in time, and again each time that it goes hungry.

    It is let off while the RunEngine is paused, if a message has named it.

    Parameters
    ----------
    act : callable
        Called in the watchdog's own thread; it needs no RunEngine.
    """

    def __init__(self, act: Callable[[], object]) -> None:
        self._act = act
        self._patience_s = 0.0
        self._deadline = 0.0
        self._paused = False
        self._resting = threading.Event()
        self._resting.set()

    def watch(self, patience_s: float) -> None:
        """Begin to watch: act whenever it is not fed for this long."""
        self.rest()
        self._patience_s = patience_s
        self.resume()
        self._resting = threading.Event()
        threading.Thread(target=self._run, args=(self._resting,), name="watchdog", daemon=True).start()

    def feed(self) -> None:
        """Say that there is progress."""
        self._deadline = monotonic() + self._patience_s

    def pause(self) -> None:
        """Need no food: the plan does not run, and a shutter closes by itself."""
        self._paused = True

    def resume(self) -> None:
        """Need food again."""
        self.feed()
        self._paused = False

    def rest(self) -> None:
        """Stop watching."""
        self._resting.set()

    def _run(self, resting: threading.Event) -> None:
        while not resting.wait(max(0.0, self._deadline - monotonic())):
            if monotonic() >= self._deadline:
                self.feed()
                if not self._paused:
                    self._try()

    def _try(self) -> None:
        """Act; what fails is told, and tried again."""
        try:
            self._act()
        except Exception:  # whatever a device raises, the next time may be the one that helps
            logger.critical(
                "the shutter could not be closed on a plan that stands still: close it by hand", exc_info=True
            )


class ShutterWatch(Watchdog):
    """Closes a shutter that is open for too long without progress; the plan is told when it goes on.

    Parameters
    ----------
    shutter : Shutter
    patience_s : float
        For which progress may be late.
    """

    def __init__(self, shutter: Shutter, patience_s: float) -> None:
        super().__init__(self._close)
        self._shutter = shutter
        self._late_s = patience_s
        self._feeds = True
        self._closed = False

    def watch_exposure(self, exposure_s: float) -> None:
        """Begin to watch: progress is whatever the plan does."""
        self._feeds, self._closed = True, False
        self.watch(exposure_s + self._late_s)

    def watch_trajectory(self, seconds: float) -> None:
        """Begin to watch: a trajectory runs without the plan, and progress is its end alone."""
        self._feeds, self._closed = False, False
        self.watch(seconds + self._late_s)

    def check(self) -> None:
        """Say that the plan goes on.

        Raises
        ------
        StalledPlanError
            If the shutter has been closed.
        """
        if self._feeds:
            self.feed()
        if self._closed:
            self._closed = False
            late = f"after {self._late_s:g} s without any progress of the plan"
            if not self._feeds:
                late = f"on a trajectory that was {self._late_s:g} s late"
            raise StalledPlanError(
                f"the shutter was closed {late}: find what it waited for, or give the guard more patience"
            )

    def _close(self) -> None:
        """Close the shutter, in the watchdog's thread."""
        openings_s = self._shutter.openings_s
        before = len(openings_s)
        closing = self._shutter.set("closed")
        self._closed |= len(self._shutter.openings_s) > before
        settled(closing)  # blades that are stuck raise here
