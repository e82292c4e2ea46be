"""Axes of the piezo controller, which has no motor record."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from caproto import SkipWrite
from caproto.server import PVGroup, pvproperty

from ptycho_plugin.errors import InputError
from ptycho_plugin.ioc.twin import Twin

POLL_S = 0.02
"""Between two readbacks of an axis that moves."""
IDLE_S = 0.2
"""Between two readbacks of one that a trajectory may be moving."""


class Piezo(PVGroup):
    """One axis, in micrometres: SET completes when it has settled, wherever that is.

    Parameters
    ----------
    *args, **kwargs
        As for `caproto.server.PVGroup`.
    twin : Twin
    axis : str
        Its name in the twin.
    """

    setpoint = pvproperty(name=":SET", value=0.0, units="um", precision=4)
    readback = pvproperty(name=":RBV", value=0.0, units="um", precision=4, read_only=True)
    done = pvproperty(name=":DMOV", value=1, read_only=True)
    halt = pvproperty(name=":STOP", value=0)
    low = pvproperty(name=":LOW", value=0.0, units="um", precision=4, read_only=True)
    high = pvproperty(name=":HIGH", value=0.0, units="um", precision=4, read_only=True)
    velocity = pvproperty(name=":VELO", value=1.0, units="um/s", precision=4)

    def __init__(self, *args: Any, twin: Twin, axis: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._twin = twin
        self._axis = twin.axes[axis]
        self._moves = 0

    @setpoint.startup
    async def setpoint(self, instance: Any, _library: Any) -> None:
        """Say what the axis can do, then where it is, whoever moves it."""
        await self.low.write(self._axis.low)
        await self.high.write(self._axis.high)
        await self.velocity.write(self._axis.velocity)
        await instance.write_metadata(lower_ctrl_limit=self._axis.low, upper_ctrl_limit=self._axis.high)
        while True:
            if self.readback.value != self._position():
                await self._read_back()
            await asyncio.sleep(IDLE_S)

    @setpoint.putter
    async def setpoint(self, instance: Any, value: float) -> None:
        """Move there; a new target takes the place of one under way."""
        self._twin.move(self._axis.name, value, time.monotonic())
        await instance.write(value, verify_value=False)
        self._moves += 1
        this_move = self._moves
        await self.done.write(0)
        while (left := self._axis.done_at - time.monotonic()) > 0:
            await asyncio.sleep(min(left, POLL_S))
            await self._read_back()
        if this_move == self._moves:
            await self._read_back()
            await self.done.write(1)
        raise SkipWrite

    @readback.getter
    async def readback(self, _instance: Any) -> float:
        """Return where the axis is now."""
        return self._position()

    @halt.putter
    async def halt(self, _instance: Any, value: int) -> int:
        """Stop where it is."""
        if value:
            self._twin.stop(self._axis.name, time.monotonic())
        return 0

    @velocity.putter
    async def velocity(self, _instance: Any, value: float) -> None:
        """Take another velocity, from the next move on."""
        if not value > 0:
            raise InputError(f"{self._axis.name} cannot move at {value} um/s: give a number above 0")
        self._axis.velocity = value

    def _position(self) -> float:
        return self._axis.position(time.monotonic())

    async def _read_back(self) -> None:
        await self.readback.write(self._position())
