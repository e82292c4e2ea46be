"""Runs a trajectory as a position sequencer does: no software between its points, only a time line.

The stage goes to a point and settles, the gate is high, the camera reads out, and so on. Each step
begins when the one before was to end, however late this process wakes up.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from ptycho_plugin.errors import InputError
from ptycho_plugin.ioc.axes import PIEZO_AXES
from ptycho_plugin.ioc.camera import READOUT_S, Camera
from ptycho_plugin.ioc.gate import Pulse, until
from ptycho_plugin.ioc.twin import Twin

MOST_POINTS = 10_000
LATE_S = 1.0
"""For which an axis may be on its way longer than it should be."""
POLL_S = 0.02


class SequencerFault(Exception):
    """Why a trajectory did not come to its end."""


@dataclass(frozen=True, slots=True)
class Route:
    """The points of a trajectory.

    Parameters
    ----------
    points_um : ndarray, (point, 2)
        Stage positions (row, column).
    exposure_s : float
        For which the gate is high at each of them.
    """

    points_um: NDArray[np.float64]
    exposure_s: float


class Sequencer:
    """Moves the piezo stage and raises the gate.

    Parameters
    ----------
    twin : Twin
    camera : Camera
        Takes a frame at each point, if it is armed.
    """

    def __init__(self, twin: Twin, camera: Camera) -> None:
        self._twin = twin
        self._camera = camera
        self._axes = [twin.axes[name] for name in PIEZO_AXES]
        self.is_aborted = False

    def check(self, route: Route) -> None:
        """Raise `InputError` if a trajectory cannot be run."""
        if not 0 < route.exposure_s < np.inf:
            raise InputError(f"EXPOSURE cannot be {route.exposure_s} s: give a positive time")
        for axis, places in zip(self._axes, route.points_um.T, strict=True):
            for place in places:
                axis.check(float(place))

    def duration_s(self, route: Route) -> float:
        """Return the time from the first gate's rise to the last one's fall."""
        speeds = [axis.velocity for axis in self._axes]
        steps = np.abs(np.diff(route.points_um, axis=0))
        settle_s = max(axis.settle_s for axis in self._axes)
        moves_s = (steps / speeds).max(axis=1, initial=0.0) + settle_s * steps.any(axis=1)
        return float(len(route.points_um) * route.exposure_s + np.sum(moves_s + READOUT_S))

    def check_camera(self, route: Route) -> None:
        """Raise `InputError` if the camera does not wait for a frame from each point."""
        if self._camera.missing < len(route.points_um):
            raise InputError(
                f"the camera waits for {self._camera.missing} external triggers, the trajectory gives "
                f"{len(route.points_um)}: set its TriggerMode and NumImages, and let it acquire"
            )

    async def go_to_start(self, route: Route) -> None:
        """Move to the first point.

        Raises
        ------
        SequencerFault
            If the stage does not arrive.
        """
        self.is_aborted = False
        await self._go(route, 0, time.monotonic())

    async def run(self, route: Route, began: float, when_gated: Callable[[Pulse], object]) -> None:
        """Expose at each point.

        Parameters
        ----------
        route : Route
        began : float
            When it was told to, on the monotonic clock.
        when_gated : callable
            Called whenever the gate has risen.

        Raises
        ------
        SequencerFault
            If the stage does not arrive at a point, or the trajectory is aborted.
        """
        when = began
        for number in range(len(route.points_um)):
            pulse = self._camera.trigger(route.exposure_s, await self._go(route, number, when))
            when_gated(pulse)
            when = pulse.end + READOUT_S
            await until(pulse.end)

    def abort(self) -> None:
        """Give up after the exposure that is under way."""
        self.is_aborted = True

    async def _go(self, route: Route, number: int, when: float) -> float:
        """Move to a point from a time on, and return when the stage has settled there."""
        targets = [float(place) for place in route.points_um[number]]
        expected = when
        for axis, target in zip(self._axes, targets, strict=True):
            if axis.target != target or axis.done_at > when:
                expected = max(expected, when + abs(target - axis.position(when)) / axis.velocity)
                self._twin.move(axis.name, target, when)
        while (done := max(when, *(axis.done_at for axis in self._axes))) > (now := time.monotonic()):
            if self.is_aborted or now > expected + LATE_S:
                self._give_up(number, now)
            await asyncio.sleep(min(done - now, POLL_S))
        if self.is_aborted:
            self._give_up(number, done)
        return done

    def _give_up(self, number: int, now: float) -> NoReturn:
        """Stop, and say why."""
        late = max(self._axes, key=lambda axis: axis.done_at)
        for axis in self._axes:
            self._twin.stop(axis.name, now)
        if self.is_aborted:
            raise SequencerFault(f"aborted before point {number}")
        raise SequencerFault(f"{late.name} did not arrive at point {number}: it is {LATE_S:g} s late")
