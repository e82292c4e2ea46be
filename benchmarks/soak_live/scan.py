"""The scan of the soak: the same frames and positions each time, so that any two runs can be compared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ptycho_plugin.geometry import Geometry
from ptycho_plugin.optics import ZonePlate
from ptycho_plugin.reconstruction.options import ReconstructionOptions
from ptycho_plugin.simulation.options import SimulationOptions
from ptycho_plugin.trajectory import ConcentricRings

GEOMETRY = Geometry.from_wavelength(0.2e-9, distance=2.236, detector_pixel=172e-6, frame_side=48)
OPTIC = ZonePlate(diameter=80e-6, outermost_zone=100e-9, central_stop=0.0)
NO_NOISE = SimulationOptions(poisson=False, flux_drift=0.0)
TRAJECTORY = ConcentricRings(height_um=1.2, width_um=1.2)
RECIPE = ReconstructionOptions(
    difference_map_iterations=30, maximum_likelihood_iterations=10, frames_to_start=6
)
EXPOSURE_S = 0.05


def soak_beamline(frames: Path) -> Any:
    """Return a simulated beamline at its sample, whose frames have no noise."""
    from ptycho_plugin.devices import simulated_beamline

    return simulated_beamline(frames, time_factor=1.0, geometry=GEOMETRY, optic=OPTIC, options=NO_NOISE)
