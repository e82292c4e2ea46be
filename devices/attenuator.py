"""Absorbers that weaken the beam."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ophyd import Component, Device
from ophyd.signal import InternalSignal
from ophyd.status import DeviceStatus

from ptycho_plugin.errors import InputError

if TYPE_CHECKING:
    from ptycho_plugin.simulation.world import World


class SimulatedAttenuator(Device):
    """Sets the part of the beam that passes.

    Parameters
    ----------
    world : World
    **kwargs
        As for `ophyd.Device`.
    """

    transmission = Component(InternalSignal, value=1.0, kind="hinted")

    def __init__(self, *, world: World, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._world = world

    def set(self, value: float) -> DeviceStatus:
        """Set the transmission, above 0 and up to 1.

        Raises
        ------
        InputError
            If the value is out of that range.
        """
        if not 0 < value <= 1:
            raise InputError(f"{self.name} cannot be set to {value}: a transmission is above 0 and up to 1")
        self._world.set_transmission(value)
        self.transmission.put(float(value), internal=True)
        status = DeviceStatus(self)
        status.set_finished()
        return status

    @property
    def position(self) -> float:
        """The transmission."""
        return float(self.transmission.get())
