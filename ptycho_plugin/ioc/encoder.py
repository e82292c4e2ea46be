"""The encoder capture: where the stage was, averaged over one exposure."""

from __future__ import annotations

from typing import Any

from caproto.server import pvproperty

from ptycho_plugin.ioc.gated import GatedCounter
from ptycho_plugin.ioc.physics import Reading


class EncoderCapture(GatedCounter):
    """Measured positions of the piezo stage."""

    armed = pvproperty(name="ARM", value=0)
    y = pvproperty(name="Y", value=0.0, units="um", precision=4, read_only=True)
    x = pvproperty(name="X", value=0.0, units="um", precision=4, read_only=True)
    count = pvproperty(name="COUNT", value=0, read_only=True)

    @armed.putter
    async def armed(self, instance: Any, value: int) -> int:
        """Arm for the next gate."""
        return await self.arm(instance, value)

    async def latch(self, reading: Reading) -> None:
        """Keep the position."""
        row, column = reading.position_um
        await self.y.write(row)
        await self.x.write(column)
        await self.count.write(self.count.value + 1)
