"""The fast shutter."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import numpy as np
from caproto import ChannelType
from caproto.server import PVGroup, pvproperty

from ptycho_plugin.dose import ShutterTiming
from ptycho_plugin.ioc.gate import until
from ptycho_plugin.ioc.twin import Twin

CLOSED_OPEN = ("Closed", "Open")
CLOSE_OPEN = ("Close", "Open")


class Shutter(PVGroup):
    """Blades that follow a command late; the put completes when they have moved.

    Parameters
    ----------
    *args, **kwargs
        As for `caproto.server.PVGroup`.
    twin : Twin
    timing : ShutterTiming
    rng : Generator
        Makes the closing early or late.
    """

    command = pvproperty(name="OPEN", value="Close", enum_strings=CLOSE_OPEN, dtype=ChannelType.ENUM)
    status = pvproperty(
        name="STATUS", value="Closed", enum_strings=CLOSED_OPEN, dtype=ChannelType.ENUM, read_only=True
    )

    def __init__(
        self, *args: Any, twin: Twin, timing: ShutterTiming, rng: np.random.Generator, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self._twin = twin
        self._timing = timing
        self._rng = rng
        self._moving = asyncio.Lock()

    @command.putter
    async def command(self, _instance: Any, value: str) -> str:
        """Move the blades; one command after the other."""
        opens = value == "Open"
        async with self._moving:
            moved = time.monotonic() + self._lag_s(opens)
            if self._twin.is_open != opens:
                self._twin.set_shutter(opens, moved)
            await until(moved)
            self._twin.advance(moved)
            await self.status.write(CLOSED_OPEN[opens])
        return value

    def _lag_s(self, opens: bool) -> float:
        if opens:
            return self._timing.opening_lag_s
        return max(0.0, float(self._rng.normal(self._timing.closing_lag_s, self._timing.jitter_s)))
