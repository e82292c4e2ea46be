"""Dose-aware X-ray ptychography run by Bluesky, reconstructed live, kept in Tiled.

The public names below are imported when they are first used, so that a control machine pays
for what it uses only.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ptycho_plugin.callbacks import LiveReconstruction, RunSpool
    from ptycho_plugin.dataset import PtychoDataset
    from ptycho_plugin.devices import replayed_beamline, simulated_beamline
    from ptycho_plugin.dose_query import dose_so_far
    from ptycho_plugin.geometry import Geometry
    from ptycho_plugin.io import read_dataset
    from ptycho_plugin.ledger import Budget, Ledger
    from ptycho_plugin.optics import ZonePlate
    from ptycho_plugin.plans import (
        AdaptiveStop,
        DoseGuard,
        Sample,
        background_frames,
        calibrate_flux,
        change_energy,
        dose_series,
        find_beam_centre,
        probe_calibration,
        ptycho_fly_scan,
        ptycho_scan,
        stxm_map,
    )
    from ptycho_plugin.postprocess.pipeline import PostprocessingOptions, RegionMaps
    from ptycho_plugin.postprocess.restoration import restore
    from ptycho_plugin.postprocess.restoration_options import RestorationOptions
    from ptycho_plugin.postprocess.stopping import DamageWatch, ResolutionReached, StopCriteria
    from ptycho_plugin.postprocess.stxm import find_regions
    from ptycho_plugin.publishing.calibrations import CalibrationStore
    from ptycho_plugin.publishing.raw import dataset_from_tiled
    from ptycho_plugin.publishing.regions import postprocess_region
    from ptycho_plugin.publishing.search import find_region_results, find_results, reconstructions_of
    from ptycho_plugin.publishing.server import LocalTiledServer
    from ptycho_plugin.reconstruction.options import ReconstructionOptions
    from ptycho_plugin.reconstruction.orientation_search import find_orientation
    from ptycho_plugin.reconstruction.whole_scan import reconstruct
    from ptycho_plugin.region_dose import Illumination
    from ptycho_plugin.region_matrix import RegionMatrix
    from ptycho_plugin.trajectory import ConcentricRings, Raster

_HOME = {
    "AdaptiveStop": "plans",
    "Budget": "ledger",
    "CalibrationStore": "publishing.calibrations",
    "ConcentricRings": "trajectory",
    "DamageWatch": "postprocess.stopping",
    "DoseGuard": "plans",
    "Geometry": "geometry",
    "Illumination": "region_dose",
    "Ledger": "ledger",
    "LiveReconstruction": "callbacks",
    "LocalTiledServer": "publishing.server",
    "PostprocessingOptions": "postprocess.pipeline",
    "PtychoDataset": "dataset",
    "Raster": "trajectory",
    "ReconstructionOptions": "reconstruction.options",
    "RegionMaps": "postprocess.pipeline",
    "RegionMatrix": "region_matrix",
    "ResolutionReached": "postprocess.stopping",
    "RestorationOptions": "postprocess.restoration_options",
    "RunSpool": "callbacks",
    "Sample": "plans",
    "StopCriteria": "postprocess.stopping",
    "ZonePlate": "optics",
    "background_frames": "plans",
    "calibrate_flux": "plans",
    "change_energy": "plans",
    "dataset_from_tiled": "publishing.raw",
    "dose_series": "plans",
    "dose_so_far": "dose_query",
    "find_beam_centre": "plans",
    "find_orientation": "reconstruction.orientation_search",
    "find_region_results": "publishing.search",
    "find_regions": "postprocess.stxm",
    "find_results": "publishing.search",
    "postprocess_region": "publishing.regions",
    "probe_calibration": "plans",
    "ptycho_fly_scan": "plans",
    "ptycho_scan": "plans",
    "read_dataset": "io",
    "reconstruct": "reconstruction.whole_scan",
    "reconstructions_of": "publishing.search",
    "replayed_beamline": "devices",
    "restore": "postprocess.restoration",
    "simulated_beamline": "devices",
    "stxm_map": "plans",
}

__all__ = [
    "AdaptiveStop",
    "Budget",
    "CalibrationStore",
    "ConcentricRings",
    "DamageWatch",
    "DoseGuard",
    "Geometry",
    "Illumination",
    "Ledger",
    "LiveReconstruction",
    "LocalTiledServer",
    "PostprocessingOptions",
    "PtychoDataset",
    "Raster",
    "ReconstructionOptions",
    "RegionMaps",
    "RegionMatrix",
    "ResolutionReached",
    "RestorationOptions",
    "RunSpool",
    "Sample",
    "StopCriteria",
    "ZonePlate",
    "background_frames",
    "calibrate_flux",
    "change_energy",
    "dataset_from_tiled",
    "dose_series",
    "dose_so_far",
    "find_beam_centre",
    "find_orientation",
    "find_region_results",
    "find_regions",
    "find_results",
    "postprocess_region",
    "probe_calibration",
    "ptycho_fly_scan",
    "ptycho_scan",
    "read_dataset",
    "reconstruct",
    "reconstructions_of",
    "replayed_beamline",
    "restore",
    "simulated_beamline",
    "stxm_map",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
