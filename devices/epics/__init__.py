"""Ophyd devices over Channel Access, and the beamline that a file makes of them."""

from ptycho_plugin.devices.epics.beamline import epics_beamline

__all__ = ["epics_beamline"]
