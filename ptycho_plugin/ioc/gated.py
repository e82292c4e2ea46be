"""Counters that measure during exactly one time that the gate is high: the scaler and the encoder."""

from __future__ import annotations

import asyncio
from typing import Any

from caproto.server import PVGroup

from ptycho_plugin.ioc.gate import Gate
from ptycho_plugin.ioc.physics import Reading


class GatedCounter(PVGroup):
    """Armed, it waits for the next gate; the put that arms it completes when that has been read.

    Parameters
    ----------
    *args, **kwargs
        As for `caproto.server.PVGroup`.
    gate : Gate
    """

    def __init__(self, *args: Any, gate: Gate, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._gate = gate
        self._armed: asyncio.Future[Reading] | None = None

    async def arm(self, instance: Any, value: int) -> int:
        """Arm for the next gate, or wait for it no longer; return 0, since by then it is over."""
        if self._armed is not None:
            self._armed.cancel()
        if not value:
            self._armed = None
            return 0
        self._armed = armed = self._gate.next_reading()
        await instance.write(1, verify_value=False)
        await asyncio.wait([armed])
        if armed.cancelled():
            return int(self._armed is not None)  # armed again
        self._armed = None
        try:
            await self.latch(armed.result())
        finally:
            await instance.write(0, verify_value=False)
        return 0

    async def latch(self, reading: Reading) -> None:
        """Keep what was measured."""
        raise NotImplementedError
