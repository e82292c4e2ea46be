"""Counters that the detector's gate starts and stops: the encoder and the flux monitor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ophyd import Component, Device, Signal
from ophyd.status import DeviceStatus

from ptycho_plugin.devices.gate import ExposureGate, settle
from ptycho_plugin.devices.signals import MeasuredSignal

if TYPE_CHECKING:
    from ptycho_plugin.simulation.world import Exposure


class GatedCounter(Device):
    """What is measured during exactly one exposure.

    ``trigger()`` arms it; its status is done when the next exposure has ended. Arm it before
    the detector is triggered.

    Parameters
    ----------
    gate : ExposureGate
    **kwargs
        As for `ophyd.Device`.
    """

    def __init__(self, *, gate: ExposureGate, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._gate = gate

    def trigger(self) -> DeviceStatus:
        """Arm for the next exposure."""
        status = DeviceStatus(self)
        self._gate.next_exposure().add_done_callback(settle(status, self._latch))
        return status

    def _latch(self, exposure: Exposure) -> None:
        raise NotImplementedError


class Encoder(GatedCounter):
    """The stage position that was measured, averaged over the exposure."""

    y = Component(MeasuredSignal, value=0.0, units="um", kind="normal")
    x = Component(MeasuredSignal, value=0.0, units="um", kind="normal")

    def _latch(self, exposure: Exposure) -> None:
        row, column = exposure.position_um
        self.y.put(float(row), internal=True)
        self.x.put(float(column), internal=True)


class FluxMonitor(GatedCounter):
    """What a monitor beside the beam counted during the exposure, in units of its own."""

    counts = Component(MeasuredSignal, value=0.0, units="counts", kind="hinted")
    gain = Component(Signal, value=1.0, kind="config")
    """Times what it counts."""
    calibration = Component(Signal, value="", kind="config")
    """Calibration in force, a `ptycho_plugin.flux.FluxCalibration` as JSON; empty where there is none."""

    def _latch(self, exposure: Exposure) -> None:
        self.counts.put(float(exposure.monitor_counts * self.gain.get()), internal=True)
