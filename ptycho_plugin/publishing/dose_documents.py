"""A region's dose map in the documents of a run, and read back from what Tiled made of them."""

from __future__ import annotations

from collections.abc import Mapping
from math import floor, log10
from typing import Any

import numpy as np

from ptycho_plugin.dose import Grid
from ptycho_plugin.dose_map import DoseMap

DOSE_STREAM = "dose"
"""Where a run keeps what its exposures have done, from the ledger."""
GUARDED_RUN = "GuardedRun"
"""Spec in Tiled of a run that keeps a dose map."""
MAP_KEY = "dose_map"
POINT_KEYS = ("dose_points_y", "dose_points_x")
PEAK_KEY = "dose_peak_Gy"
MOST_PX = 256
"""Of a map in a document, along a side: pixels stay much smaller than electrons travel."""
DIGITS = 4
"""Of the largest dose."""

Reading = tuple[dict[str, Any], dict[str, Any]]


def map_reading(dose: DoseMap) -> Reading:
    """Return the values of a document, as plain lists, and their data keys, which say what the map is.

    The map is binned to at most 256 x 256 pixels and rounded to four digits of its largest dose: some
    hundred kilobytes. Where there were no exposures, there are no points either.
    """
    small = dose.binned(MOST_PX)
    rows, columns = small.grid.shape
    # The writer names dimensions by their lengths, and readers want different names for two.
    image = np.pad(small.dose, ((0, int(rows == columns)), (0, 0)))
    decimals = DIGITS - 1 - floor(log10(dose.peak)) if dose.peak > 0 else 0
    values: dict[str, Any] = {MAP_KEY: np.round(image, decimals).tolist()}
    source = {"source": "ledger:exposures", "dtype": "array", "dtype_numpy": "<f8"}
    facts = {
        "pixel_m": small.grid.pixel,
        "corner_m": list(small.grid.corner),
        "material": dose.material,
        "electron_range_m": dose.electron_range,
        "budget_Gy": dose.budget,
    }
    keys: dict[str, Any] = {MAP_KEY: {**source, "shape": list(image.shape), "units": "Gy", **facts}}
    if len(dose.points):
        values |= {key: along.tolist() for key, along in zip(POINT_KEYS, dose.points.T, strict=True)}
        keys |= {key: {**source, "shape": [len(dose.points)], "units": "m"} for key in POINT_KEYS}
    return values, keys


def read_map(stream: Mapping[str, Any]) -> DoseMap:
    """Return the map that a run's stream "dose" holds.

    Parameters
    ----------
    stream : client of the stream in Tiled

    Raises
    ------
    KeyError
        If it holds none.
    """
    array = stream[MAP_KEY]
    facts = array.metadata
    dose = np.asarray(array.read()[-1], np.float64)
    row, column = facts["corner_m"]
    along = [stream[key].read()[-1] for key in POINT_KEYS if key in stream] or np.zeros((2, 0))
    return DoseMap(
        dose=dose,
        grid=Grid((dose.shape[0], dose.shape[1]), facts["pixel_m"], (row, column)),
        points=np.transpose(along),
        peak=float(stream[PEAK_KEY].read()[-1]),
        material=facts["material"],
        electron_range=facts["electron_range_m"],
        budget=facts["budget_Gy"],
    )
