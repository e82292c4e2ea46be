"""Absorbers that weaken the beam."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ophyd import Component, Device
from ophyd.signal import InternalSignal
from ophyd.status import Status

from ptycho_plugin.devices.statuses import finished
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

    def set(self, value: float) -> Status:
        """Set the transmission, above 0 and up to 1.

        Raises
        ------
        InputError
            If the value is out of that range.
        """
        check_transmission(self.name, value)
        self._world.set_transmission(value)
        self.transmission.put(float(value), internal=True)
        return finished(self)

    @property
    def position(self) -> float:
        """The transmission."""
        return float(self.transmission.get())


def check_transmission(name: str, value: float) -> None:
    """Raise `InputError` if an attenuator cannot be set to a value."""
    if not 0 < value <= 1:
        raise InputError(f"{name} cannot be set to {value}: a transmission is above 0 and up to 1")
