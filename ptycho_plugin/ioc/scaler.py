"""The scaler record: a clock and the flux monitor, counted while the gate is high."""

from __future__ import annotations

from typing import Any

from caproto import ChannelType
from caproto.server import PVGroup, pvproperty
from ophyd import EpicsScaler

from ptycho_plugin.errors import InputError
from ptycho_plugin.ioc.gated import GatedCounter
from ptycho_plugin.ioc.physics import Reading
from ptycho_plugin.ioc.records import passive_group

CLOCK_HZ = 1e7

_Passive: Any = passive_group(
    EpicsScaler,
    values={
        ".CONT": "OneShot",
        ".FREQ": CLOCK_HZ,
        ".T": 0.0,
        ".TP": 1.0,
        ".DLY": 0.0,
        ".NM1": "clock",
        ".NM2": "flux",
    },
    choices={".CONT": ("OneShot", "AutoCount")},
)


class Amplifier(PVGroup):
    """The flux monitor's amplifier."""

    gain = pvproperty(name="GAIN", value=1.0, precision=3)

    @gain.putter
    async def gain(self, _instance: Any, value: float) -> None:
        """Set the times of what is counted."""
        if not value > 0:
            raise InputError(f"the gain cannot be {value}: give a number above 0")


class Scaler(_Passive, GatedCounter):
    """Counts during one gate for each time that CNT is set.

    Parameters
    ----------
    *args, **kwargs
        As for `GatedCounter`.
    amplifier : Amplifier
    """

    val = pvproperty(name="", value=0, dtype=ChannelType.LONG)
    count = pvproperty(name=".CNT", value=0)

    def __init__(self, *args: Any, amplifier: Amplifier, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._amplifier = amplifier

    @count.putter
    async def count(self, instance: Any, value: int) -> int:
        """Arm for the next gate."""
        return await self.arm(instance, value)

    async def latch(self, reading: Reading) -> None:
        """Keep the clock's ticks and the monitor's counts."""
        await self.time.write(reading.seconds)
        await self.channels_chan1.write(round(reading.seconds * CLOCK_HZ))
        await self.channels_chan2.write(round(reading.monitor_counts * self._amplifier.gain.value))
