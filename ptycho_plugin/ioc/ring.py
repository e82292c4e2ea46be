"""The storage ring."""

from __future__ import annotations

import asyncio
from typing import Any

from caproto.server import PVGroup, pvproperty

from ptycho_plugin.ioc.twin import RING_CURRENT_MA, Twin

PERIOD_S = 0.2


class Ring(PVGroup):
    """The current that the twin's beam comes from, in top-up.

    Parameters
    ----------
    *args, **kwargs
        As for `caproto.server.PVGroup`.
    twin : Twin
    """

    current = pvproperty(name="CURRENT", value=RING_CURRENT_MA, units="mA", precision=3, read_only=True)

    def __init__(self, *args: Any, twin: Twin, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._twin = twin

    @current.startup
    async def current(self, instance: Any, _library: Any) -> None:
        """Tell of every change."""
        while True:
            if instance.value != self._twin.ring_current_mA:
                await instance.write(self._twin.ring_current_mA)
            await asyncio.sleep(PERIOD_S)

    @current.getter
    async def current(self, _instance: Any) -> float:
        """Return the current now."""
        return self._twin.ring_current_mA
