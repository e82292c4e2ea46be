"""A real beamline in one TOML file: what is where, under which process variables, within which limits."""

from ptycho_plugin.beamline_file.reading import read_beamline_file
from ptycho_plugin.beamline_file.schema import BeamlineFile, Motor, Piezo, ProcessVariable, TiledServer

__all__ = ["BeamlineFile", "Motor", "Piezo", "ProcessVariable", "TiledServer", "read_beamline_file"]
