"""What is told of a region, as named arrays and JSON values: what Tiled keeps, and what a report shows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ptycho_plugin.postprocess.pipeline import RegionResult
from ptycho_plugin.postprocess.resolution import Resolution

SCHEMA_VERSION = 1
IMAGE, RING = ("row", "column"), ("ring",)
DIMENSIONS: dict[str, tuple[str, ...]] = {
    "phase": IMAGE,
    "standard_error": IMAGE,
    "restored": IMAGE,
    "phases": ("repeat", *IMAGE),
    "ground": IMAGE,
    "electron_density": IMAGE,
    "mass_per_area": IMAGE,
    "drift": ("repeat", "axis"),
    "frequency": RING,
    "threshold": RING,
    "correlation_single": RING,
    "correlation_averaged": RING,
    "correlation_restored": RING,
}
"""Of each array that there may be."""
ROWS = ("single", "averaged", "restored")
"""Of resolutions: a pair of single maps, averages of disjoint repeats, the same restored."""


def arrays_of(result: RegionResult) -> dict[str, NDArray[Any]]:
    """Return the arrays of a region, by the names in `DIMENSIONS`.

    Phases are in rad (float32), densities in 1/m2 and kg/m2, the drift in m, frequencies in 1/m.
    """
    arrays: dict[str, NDArray[Any]] = {
        "phase": result.average.mean.astype(np.float32),
        "standard_error": result.average.standard_error.astype(np.float32),
        "phases": result.phases.astype(np.float32),
        "ground": result.flat.ground,
        "electron_density": result.electron_density,
        "drift": result.drift,
        "frequency": result.single.rings.frequency / result.maps.pixel,
        "threshold": result.single.rings.threshold(result.options.threshold),
        "correlation_single": result.single.rings.correlation,
        "correlation_averaged": result.averaged.rings.correlation,
    }
    if result.restored is not None and result.restored_halves is not None:
        arrays["restored"] = result.restored.phase.astype(np.float32)
        arrays["correlation_restored"] = result.restored_halves.rings.correlation
    if result.options.material is not None:
        arrays["mass_per_area"] = result.mass_per_area
    return arrays


def facts_of(result: RegionResult) -> dict[str, Any]:
    """Return what else is told of a region, as JSON values; lengths are in metres."""
    resolutions = zip(ROWS, (result.single, result.averaged, result.restored_halves), strict=True)
    return {
        "schema_version": SCHEMA_VERSION,
        "runs": list(result.maps.sources),
        "object_pixel": result.maps.pixel,
        "energy_eV": result.maps.energy_eV,
        "ground_is_seen": result.flat.ground_is_seen,
        "lost_repeats": result.lost,
        "resolution": {name: _told(one) for name, one in resolutions if one is not None},
        "maximum_shift": {
            "rad": result.maximum.value,
            "spread_rad": result.maximum.error,
            "percentile_99_9_rad": result.maximum.percentile,
            "percentile_spread_rad": result.maximum.percentile_error,
        },
        "restoration": _restoration(result),
        "provenance": dict(result.provenance()),
    }


def _told(one: Resolution) -> dict[str, Any]:
    return {
        "half_period": one.half_period,
        "sigma": one.sigma,
        "threshold": one.threshold,
        "crosses": one.crosses,
        "resolved": one.resolved,
        "warning": one.warning,
    }


def _restoration(result: RegionResult) -> dict[str, Any] | None:
    restored = result.restored
    if restored is None:
        return None
    return {
        "lambda1_rad": restored.lambda1,
        "lambda2_rad": restored.lambda2,
        "chosen_by": restored.chosen_by,
        "iterations": restored.iterations,
    }
