"""Motor records, on axes of the twin."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from caproto import SkipWrite
from caproto.server import PVGroup, pvproperty

from ptycho_plugin.errors import InputError
from ptycho_plugin.ioc.twin import Twin

POLL_S = 0.05
"""Between two readbacks of a motor that moves."""
DIRECTION, DONE, SLIP_STALL, MOVING, HOMED = 1 << 0, 1 << 1, 1 << 6, 1 << 10, 1 << 14
"""Bits of MSTA."""


class Motor(PVGroup):
    """A motor record: VAL completes when the axis has settled, wherever that is.

    Parameters
    ----------
    *args, **kwargs
        As for `caproto.server.PVGroup`.
    twin : Twin
    axis : str
        Its name in the twin.
    """

    motor = pvproperty(value=0.0, name="", record="motor", precision=4)

    def __init__(self, *args: Any, twin: Twin, axis: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._twin = twin
        self._axis = twin.axes[axis]
        self._moves = 0

    @motor.startup
    async def motor(self, instance: Any, _library: Any) -> None:
        """Say what the axis can do, and where it is."""
        axis, fields = self._axis, instance.field_inst
        await fields.engineering_units.write(axis.egu)
        for channel in (instance, fields.user_readback_value):
            await channel.write_metadata(units=axis.egu, precision=4)
        await fields.velocity.write(axis.velocity)
        await fields.max_velocity.write(axis.velocity)
        await fields.readback_settle_time.write(axis.settle_s)
        await fields.user_low_limit.write(axis.low)
        await fields.user_high_limit.write(axis.high)
        await fields.motor_status.write(DONE | HOMED)
        await instance.write(axis.target, verify_value=False)
        await self._read_back(fields)

    @motor.putter
    async def motor(self, instance: Any, value: float) -> None:
        """Move there; a limit refuses, and a new target takes the place of one under way."""
        fields = instance.field_inst
        if fields.set_use_switch.value == "Set":
            raise InputError(f"{self._axis.name} cannot be recalibrated: its SET must be Use")
        try:
            self._twin.move(self._axis.name, value, time.monotonic())
        except InputError:
            await fields.limit_violation.write(1)
            raise
        await fields.limit_violation.write(0)
        await instance.write(value, verify_value=False)
        await self._follow(instance, fields)
        raise SkipWrite

    @motor.fields.stop.putter
    async def motor(fields: Any, _instance: Any, value: int) -> int:  # noqa: N805  caproto binds the record's fields
        """Stop where it is."""
        if value:
            fields.parent.group.halt()
        return 0

    @motor.fields.velocity.putter
    async def motor(fields: Any, _instance: Any, value: float) -> None:  # noqa: N805
        """Take another velocity, from the next move on."""
        if not value > 0:
            raise InputError(f"{fields.parent.pvname}.VELO cannot be {value}: give a number above 0")
        fields.parent.group.set_velocity(value)

    @motor.fields.user_low_limit.putter
    async def motor(fields: Any, _instance: Any, value: float) -> None:  # noqa: N805
        """Take another low limit."""
        await fields.parent.group.set_limits(value, None)

    @motor.fields.user_high_limit.putter
    async def motor(fields: Any, _instance: Any, value: float) -> None:  # noqa: N805
        """Take another high limit."""
        await fields.parent.group.set_limits(None, value)

    def halt(self) -> None:
        """Stop where it is."""
        self._twin.stop(self._axis.name, time.monotonic())

    def set_velocity(self, value: float) -> None:
        """Take another velocity, from the next move on."""
        self._axis.velocity = value

    async def set_limits(self, low: float | None, high: float | None) -> None:
        """Take another limit, and tell clients."""
        self._axis.low = self._axis.low if low is None else low
        self._axis.high = self._axis.high if high is None else high
        await self.motor.write_metadata(lower_ctrl_limit=self._axis.low, upper_ctrl_limit=self._axis.high)

    async def _follow(self, instance: Any, fields: Any) -> None:
        """Read back until the axis has settled; the last move to be told says that it is done."""
        self._moves += 1
        this_move = self._moves
        await self._say_moving(fields)
        while (left := self._axis.done_at - time.monotonic()) > 0:
            await asyncio.sleep(min(left, POLL_S))
            await self._read_back(fields)
            if self._axis.stalls:
                await fields.motor_status.write(MOVING | SLIP_STALL | HOMED)
        if this_move == self._moves:
            await self._read_back(fields)
            if instance.value != self._axis.target:  # it was stopped
                await instance.write(self._axis.target, verify_value=False)
            await self._say_done(fields)

    async def _say_moving(self, fields: Any) -> None:
        goes_up = self._axis.target >= self._axis.position(time.monotonic())
        await fields.direction_of_travel.write(int(goes_up))
        await fields.motor_status.write(MOVING | HOMED | (DIRECTION if goes_up else 0))
        await fields.motor_is_moving.write(1)
        await fields.done_moving_to_value.write(0)

    async def _say_done(self, fields: Any) -> None:
        await fields.motor_status.write(DONE | HOMED)
        await fields.motor_is_moving.write(0)
        await fields.done_moving_to_value.write(1)

    async def _read_back(self, fields: Any) -> None:
        position = self._axis.position(time.monotonic())
        await fields.user_readback_value.write(position)
        await fields.dial_readback_value.write(position)
