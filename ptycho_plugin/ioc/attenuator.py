"""Absorbers that weaken the beam."""

from __future__ import annotations

import time
from typing import Any

from caproto.server import PVGroup, pvproperty

from ptycho_plugin.errors import InputError
from ptycho_plugin.ioc.twin import Twin


class Attenuator(PVGroup):
    """Sets the part of the beam that passes, at once.

    Parameters
    ----------
    *args, **kwargs
        As for `caproto.server.PVGroup`.
    twin : Twin
    """

    transmission = pvproperty(name="TRANSMISSION", value=1.0, precision=6)
    readback = pvproperty(name="TRANSMISSION_RBV", value=1.0, precision=6, read_only=True)

    def __init__(self, *args: Any, twin: Twin, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._twin = twin

    @transmission.putter
    async def transmission(self, _instance: Any, value: float) -> None:
        """Let so much of the beam through."""
        if not 0 < value <= 1:
            raise InputError(f"the transmission cannot be {value}: give a number above 0 and up to 1")
        self._twin.set_transmission(value, time.monotonic())
        await self.readback.write(value)
