"""Ophyd devices, and beamlines put together from them behind one call each."""

from ptycho_plugin.devices.beamline import Beamline, DetectorLimits, MoveTiming
from ptycho_plugin.devices.replayed import replayed_beamline
from ptycho_plugin.devices.simulated import simulated_beamline

__all__ = ["Beamline", "DetectorLimits", "MoveTiming", "replayed_beamline", "simulated_beamline"]
