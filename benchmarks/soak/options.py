"""What the beam, the scanning process and the audit agree on."""

from __future__ import annotations

from ptycho_plugin.geometry import Geometry
from ptycho_plugin.ledger import Budget
from ptycho_plugin.optics import ZonePlate
from ptycho_plugin.trajectory import ConcentricRings

EXPOSURE_S = 0.2
TIME_FACTOR = 0.2
"""Real seconds in a simulated one: an exposure takes 40 ms."""
OPENING_LAG_S, CLOSING_LAG_S = 3e-3, 4e-3
PHOTONS_PER_SECOND = 1e5
FLUX_DRIFT = 0.02
"""Largest relative difference from its mean, which no exposure tells of another."""
COUNTS_PER_PHOTON = 0.01
FRAME_SHAPE = (60, 52)
GEOMETRY = Geometry.from_wavelength(0.2e-9, distance=2.236, detector_pixel=172e-6, frame_side=48)
OPTIC = ZonePlate(diameter=80e-6, outermost_zone=100e-9, central_stop=0.0)
BUDGET = Budget(dose=1e9, material="PMMA", formula="C5H8O2")
SAMPLE = "film"
REACH_UM = 1.5
TRAJECTORIES = tuple(
    ConcentricRings(height_um=height, width_um=width)
    for height, width in ((0.7, 0.8), (0.8, 0.8), (0.9, 1.0), (1.1, 1.2))
)
"""Of some 12 to 25 points."""
QUICK = (ConcentricRings(height_um=0.5, width_um=0.6),)
"""Of six."""
