"""The figures of a reproduction, beside the published ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ptycho_plugin.reproduction.options import Conditions
from ptycho_plugin.reproduction.run import RegionMaps

FOCUS = 450e-9
"""Published size of the focus, in metres, of which the paper tells its oversampling."""
NM_PER_M = 1e9


def figures(conditions: Conditions, regions: Sequence[RegionMaps]) -> dict[str, Any]:
    """Return what is known of the scan and, by sample, of its regions, as JSON values.

    Parameters
    ----------
    conditions : Conditions
    regions : sequence of RegionMaps
    """
    geometry = conditions.geometry
    samples: dict[str, Any] = {}
    for maps in regions:
        samples.setdefault(maps.region.sample, []).append(
            {
                "area": maps.region.area,
                "region": maps.region.region,
                "repeats": len(maps.repeats),
                "residual": [round(repeat.residual, 4) for repeat in maps.repeats],
                "max_phase_true_rad": round(true_max_phase_rad(maps), 4),
            }
        )
    return {
        "object_pixel_nm": round(geometry.object_pixel * NM_PER_M, 3),
        "oversampling": round(geometry.oversampling(FOCUS), 2),
        "points": len(conditions.trajectory.offsets_um()),
        "samples": samples,
    }


def true_max_phase_rad(maps: RegionMaps) -> float:
    """Return the largest phase shift of the truth within the scanned rectangle, as a positive number.

    Matter shifts the phase down from 0, which it is where there is no octapod.
    """
    places_px = np.concatenate(
        [(repeat.positions + repeat.drift - maps.truth.origin) / maps.truth.pixel for repeat in maps.repeats]
    )
    top, left = np.floor(places_px.min(axis=0)).astype(int)
    bottom, right = np.ceil(places_px.max(axis=0)).astype(int) + 1
    return -float(np.angle(maps.truth.transmission[top:bottom, left:right]).min())
