"""The gate: a line that is high while the detector exposes, and that the counters listen to."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from math import ceil
from typing import TYPE_CHECKING

from ophyd.status import DeviceStatus

if TYPE_CHECKING:
    from ptycho_plugin.simulation.world import Exposure, World

    Position = tuple[float, float]

    Listener = Callable[[Future[Exposure]], None]


SLICE_S = 5e-3
"""A shutter that closes while no exposure is made ends the light this exactly."""
LEAST_SLICES = 4
"""Of the way between two exposures: so finely its light is laid on the sample."""


class ExposureGate:
    """One exposure after another, shared by everything that takes part in them.

    Parameters
    ----------
    world : World
        What is exposed.
    time_factor : float
        Duration of a simulated second in seconds: 1 is real time, 0 as fast as it goes.
    """

    def __init__(self, world: World, time_factor: float = 1.0) -> None:
        self._world = world
        self._time_factor = time_factor
        self._low = threading.Event()
        self._low.set()
        self._end = 0.0
        """When the last exposure should have ended, on the monotonic clock."""
        self._passed_s = 0.0
        self._held = False
        self._lock = threading.Lock()
        self._next: Future[Exposure] = Future()

    @property
    def passed_s(self) -> float:
        """Simulated seconds that exposures so far have taken, and trajectories between theirs."""
        return self._passed_s

    @property
    def time_factor(self) -> float:
        """Duration of a simulated second in seconds."""
        return self._time_factor

    @property
    def is_high(self) -> bool:
        """Whether an exposure is under way."""
        return not self._low.is_set()

    def next_exposure(self) -> Future[Exposure]:
        """Return the exposure that `expose` will start next."""
        return self._next

    def expose(self, exposure_s: float, when_done: Listener | None = None) -> Future[Exposure]:
        """Raise the gate for a time and return the exposure, done when the gate is low again.

        Parameters
        ----------
        exposure_s : float
        when_done : callable, optional
            Called with the exposure in the gate's own thread, never in the caller's.

        Raises
        ------
        RuntimeError
            If an exposure is under way.
        """
        exposure = self._raise(exposure_s)
        if when_done is not None:
            exposure.add_done_callback(when_done)
        threading.Thread(target=self._run, args=(exposure, exposure_s), name="exposure", daemon=True).start()
        return exposure

    def expose_next(self, exposure_s: float, capture: Callable[[Exposure], None]) -> bool:
        """Raise the gate of a trajectory, and return whether it was not held; then the exposure is over.

        Parameters
        ----------
        exposure_s : float
        capture : callable
            Called with the exposure as it ends, before any other who listens to it.

        Raises
        ------
        RuntimeError
            If an exposure is under way.
        Exception
            As from the world, where the exposure failed.
        """
        with self._lock:
            if self._held:
                return False
            exposure = self._raise(exposure_s)
        self._run(exposure, exposure_s, capture)
        exposure.result()
        return True

    def hold(self, held: bool = True) -> None:
        """Let a trajectory raise the gate no more, until that is taken back."""
        with self._lock:
            self._held = held

    def shine(self, seconds: float, start_um: Position, end_um: Position, stopping: threading.Event) -> None:
        """Let time pass with the gate low, while a trajectory brings the stage from place to place.

        As long as the shutter is open, it is light.

        Parameters
        ----------
        seconds : float
        start_um, end_um : (float, float)
            Stage positions (row, column).
        stopping : threading.Event
            Ends it early.
        """
        slices = max(LEAST_SLICES, ceil(seconds * self._time_factor / SLICE_S))
        began = time.monotonic()
        for number in range(slices):
            until = began + seconds * self._time_factor * (number + 1) / slices
            if stopping.wait(max(0.0, until - time.monotonic())):
                return
            row, column = (
                start + (number + 0.5) / slices * (end - start)
                for start, end in zip(start_um, end_um, strict=True)
            )
            self._world.shine((row, column), seconds / slices, self._world.beam)
            self._passed_s += seconds / slices

    def wait_until_low(self, late_s: float | None = None) -> None:
        """Block until no exposure is under way, or one has outlasted its time by so many seconds."""
        self._low.wait(None if late_s is None else max(0.0, self._end - time.monotonic()) + late_s)

    def _raise(self, exposure_s: float) -> Future[Exposure]:
        if self.is_high:
            raise RuntimeError("an exposure is under way: wait until its status is done")
        self._low.clear()
        self._end = time.monotonic() + exposure_s * self._time_factor
        exposure, self._next = self._next, Future()
        return exposure

    def _run(
        self,
        exposure: Future[Exposure],
        exposure_s: float,
        capture: Callable[[Exposure], None] | None = None,
    ) -> None:
        try:
            result = self._world.expose(exposure_s)
            self._passed_s += exposure_s
            threading.Event().wait(max(0.0, self._end - time.monotonic()))
        except Exception as error:  # noqa: BLE001  the waiting devices must hear of it, whatever it is
            self._low.set()
            exposure.set_exception(error)
        else:
            self._low.set()
            if capture is not None:
                capture(result)
            exposure.set_result(result)


def settle(status: DeviceStatus, action: Callable[[Exposure], object]) -> Listener:
    """Return a callback of an exposure that acts on it, then ends the status, well or badly."""

    def when_done(exposure: Future[Exposure]) -> None:
        try:
            action(exposure.result())
        except Exception as error:  # noqa: BLE001  the status carries it to the plan
            status.set_exception(error)
        else:
            status.set_finished()

    return when_done
