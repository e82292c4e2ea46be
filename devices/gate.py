"""The gate: a line that is high while the detector exposes, and that the counters listen to."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING

from ophyd.status import DeviceStatus

if TYPE_CHECKING:
    from ptycho_plugin.simulation.world import Exposure, World

    Listener = Callable[[Future[Exposure]], None]


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
        self._exposed_s = 0.0
        self._next: Future[Exposure] = Future()

    @property
    def exposed_s(self) -> float:
        """Simulated seconds that all exposures so far have taken."""
        return self._exposed_s

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
        if self.is_high:
            raise RuntimeError("an exposure is under way: wait until its status is done")
        self._low.clear()
        self._end = time.monotonic() + exposure_s * self._time_factor
        exposure, self._next = self._next, Future()
        if when_done is not None:
            exposure.add_done_callback(when_done)
        threading.Thread(target=self._run, args=(exposure, exposure_s), name="exposure", daemon=True).start()
        return exposure

    def wait_until_low(self, late_s: float | None = None) -> None:
        """Block until no exposure is under way, or one has outlasted its time by so many seconds."""
        self._low.wait(None if late_s is None else max(0.0, self._end - time.monotonic()) + late_s)

    def _run(self, exposure: Future[Exposure], exposure_s: float) -> None:
        try:
            result = self._world.expose(exposure_s)
            self._exposed_s += exposure_s
            threading.Event().wait(max(0.0, self._end - time.monotonic()))
        except Exception as error:  # noqa: BLE001  the waiting devices must hear of it, whatever it is
            self._low.set()
            exposure.set_exception(error)
        else:
            self._low.set()
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
