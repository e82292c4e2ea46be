"""Bluesky plans: scans, and what a scan needs first."""

from ptycho_plugin.plans.calibration import background_frames, find_beam_centre, probe_calibration
from ptycho_plugin.plans.flux_calibration import calibrate_flux
from ptycho_plugin.plans.sample import Sample
from ptycho_plugin.plans.scan import ptycho_scan
from ptycho_plugin.plans.stubs import expose_point

__all__ = [
    "Sample",
    "background_frames",
    "calibrate_flux",
    "expose_point",
    "find_beam_centre",
    "probe_calibration",
    "ptycho_scan",
]
