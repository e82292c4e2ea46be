"""Bluesky plans: scans, and what a scan needs first."""

from ptycho_plugin.plans.adaptive_stop import AdaptiveStop
from ptycho_plugin.plans.calibration import background_frames, find_beam_centre, probe_calibration
from ptycho_plugin.plans.energy import change_energy
from ptycho_plugin.plans.flux_calibration import calibrate_flux
from ptycho_plugin.plans.fly_scan import ptycho_fly_scan
from ptycho_plugin.plans.guard import DoseGuard
from ptycho_plugin.plans.sample import Sample
from ptycho_plugin.plans.scan import ptycho_scan
from ptycho_plugin.plans.series import dose_series
from ptycho_plugin.plans.stop_rule import RepeatDone, StopRule
from ptycho_plugin.plans.stubs import expose_point
from ptycho_plugin.plans.stxm import stxm_map
from ptycho_plugin.plans.suspenders import (
    front_end_suspender,
    ring_current_suspender,
    top_up_suspender,
)

__all__ = [
    "AdaptiveStop",
    "DoseGuard",
    "RepeatDone",
    "Sample",
    "StopRule",
    "background_frames",
    "calibrate_flux",
    "change_energy",
    "dose_series",
    "expose_point",
    "find_beam_centre",
    "front_end_suspender",
    "probe_calibration",
    "ptycho_fly_scan",
    "ptycho_scan",
    "ring_current_suspender",
    "stxm_map",
    "top_up_suspender",
]
