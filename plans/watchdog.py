"""A watchdog: it closes the shutter when the plan stops making progress."""

from __future__ import annotations

import threading
from collections.abc import Callable
from time import monotonic


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
                    self._act()
