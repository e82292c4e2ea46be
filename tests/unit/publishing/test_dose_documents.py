"""A dose map survives its documents: plain lists within some hundred kilobytes."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from ptycho_plugin.dose import Grid
from ptycho_plugin.dose_map import DoseMap
from ptycho_plugin.publishing.dose_documents import MAP_KEY, map_reading, read_map


def dose_map(side, points=3, scale=3e4):
    rng = np.random.default_rng(3)
    dose = scale * rng.random((side, side - 7))
    return DoseMap(
        dose=dose,
        grid=Grid(dose.shape, 13e-9, (-4e-6, -5e-6)),
        points=rng.normal(0, 1e-6, (points, 2)),
        peak=float(dose.max()),
        material="PMMA",
        electron_range=0.5e-6,
        budget=5e4,
    )


def through_documents(dose):
    values, keys = map_reading(dose)
    assert values.keys() == keys.keys()
    for key, value in values.items():
        assert list(np.shape(value)) == keys[key]["shape"]
    text = json.dumps([values, keys])
    assert len(text) < 1e6
    values, keys = json.loads(text)
    values["dose_peak_Gy"], keys["dose_peak_Gy"] = dose.peak, {}
    return {
        key: SimpleNamespace(metadata=keys[key], read=lambda value=value: np.array([value]))
        for key, value in values.items()
    }


@pytest.mark.parametrize("points", [0, 1, 3])
def test_a_map_comes_back(points):
    dose = dose_map(100, points)
    found = read_map(through_documents(dose))
    np.testing.assert_allclose(found.dose, dose.dose, atol=5e-4 * dose.peak)
    np.testing.assert_allclose(found.points, dose.points)
    for name in ("grid", "peak", "material", "electron_range", "budget"):
        assert getattr(found, name) == getattr(dose, name)


def test_a_large_map_is_binned_and_no_map_is_square():
    found = read_map(through_documents(dose_map(839)))
    rows, columns = found.grid.shape
    assert columns <= rows <= 257
    square = replace(dose_map(60), dose=np.ones((50, 50)), grid=Grid((50, 50), 13e-9, (0.0, 0.0)))
    values, _ = map_reading(square)
    assert np.shape(values[MAP_KEY]) == (51, 50)


@pytest.mark.parametrize("scale", [0.0, 3e-5, 3e8])
def test_digits_are_those_of_the_largest_dose(scale):
    dose = dose_map(60, scale=scale)
    found = read_map(through_documents(dose))
    np.testing.assert_allclose(found.dose, dose.dose, atol=1e-3 * dose.peak)
