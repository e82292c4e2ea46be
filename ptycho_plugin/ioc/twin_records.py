"""What only a digital twin has: the photons that the sample received, and faults on command."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from caproto import ChannelType
from caproto.server import PVGroup, pvproperty

from ptycho_plugin.ioc.faults import Faults
from ptycho_plugin.ioc.gate import Gate
from ptycho_plugin.ioc.physics import Physics
from ptycho_plugin.ioc.twin import Twin

PERIOD_S = 0.2


class TwinRecords(PVGroup):
    """Tells the truth.

    Parameters
    ----------
    *args, **kwargs
        As for `caproto.server.PVGroup`.
    twin : Twin
    physics : Physics
    gate : Gate
    faults : Faults
    """

    photons = pvproperty(name="PHOTONS", value=0.0, read_only=True)
    frames = pvproperty(name="FRAMES", value=0, read_only=True)
    fault = pvproperty(name="FAULT", value="none", dtype=ChannelType.STRING)

    def __init__(
        self, *args: Any, twin: Twin, physics: Physics, gate: Gate, faults: Faults, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self._twin = twin
        self._physics = physics
        self._gate = gate
        self._faults = faults

    @photons.startup
    async def photons(self, instance: Any, _library: Any) -> None:
        """Tell of every change."""
        while True:
            if (photons := await self._received()) != instance.value:
                await instance.write(photons)
            if self.frames.value != self._gate.pulses:
                await self.frames.write(self._gate.pulses)
            await asyncio.sleep(PERIOD_S)

    @photons.getter
    async def photons(self, _instance: Any) -> float:
        """Return what has come until now."""
        return await self._received()

    @frames.getter
    async def frames(self, _instance: Any) -> int:
        """Return how often the gate has been high."""
        return self._gate.pulses

    @fault.putter
    async def fault(self, _instance: Any, value: str) -> None:
        """Let something go wrong, or everything go right again."""
        self._faults.command(value, time.monotonic())

    async def _received(self) -> float:
        self._twin.advance(time.monotonic())
        return await asyncio.wrap_future(self._physics.photons())
