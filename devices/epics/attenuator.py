"""Absorbers over Channel Access."""

from __future__ import annotations

from typing import Any

from ophyd import Device, EpicsSignal, EpicsSignalRO, FormattedComponent
from ophyd.status import Status

from ptycho_plugin import beamline_file
from ptycho_plugin.devices.attenuator import check_transmission
from ptycho_plugin.devices.epics.answers import ANSWER_S, told


class EpicsAttenuator(Device):
    """Sets the part of the beam that passes.

    Parameters
    ----------
    prefix : str
        Of the beamline.
    said : Attenuator
        As the beamline file has it.
    **kwargs
        As for `ophyd.Device`.
    """

    setpoint = FormattedComponent(EpicsSignal, "{prefix}{_said.setpoint}", put_complete=True, kind="omitted")
    transmission = FormattedComponent(EpicsSignalRO, "{prefix}{_said.readback}", kind="hinted")

    def __init__(self, prefix: str, said: beamline_file.schema.Attenuator, **kwargs: Any) -> None:
        self._said = said
        super().__init__(prefix, **kwargs)

    def set(self, value: float) -> Status:
        """Set the transmission, above 0 and up to 1.

        Raises
        ------
        InputError
            If the value is out of that range.
        """
        check_transmission(self.name, value)
        return told(self.setpoint, float(value), ANSWER_S, "see what holds the absorbers")

    @property
    def position(self) -> float:
        """The transmission."""
        return float(self.transmission.get())
