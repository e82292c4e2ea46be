"""A raster of few photons finds material where it is, and says so where it cannot."""

import numpy as np
import pytest

from ptycho_plugin.errors import InputError
from ptycho_plugin.geometry import Geometry
from ptycho_plugin.postprocess.stxm import StxmMap, find_regions, map_of_frames, material
from ptycho_plugin.trajectory import Raster

GEOMETRY = Geometry.from_wavelength(0.2e-9, distance=2.236, detector_pixel=172e-6, frame_side=32)
RASTER = Raster(step_um=1.0, height_um=19.0, width_um=23.0)
AT_UM = np.array([100.0, -50.0])
ROW, COLUMN = np.indices((32, 32)) - 16
CONE = np.hypot(ROW, COLUMN) < 6
FAR = np.hypot(ROW, COLUMN) > 9


def sample(place):
    """An island of 8 x 10 um about (102, -53) um, which scatters, and bends the beam at its left rim."""
    row, column = place - AT_UM - (2.0, -3.0)
    inside = abs(row) < 4 and abs(column) < 5
    return inside, inside and column < -4


def frames(photons=1e4, scattered=2e-3, absorbed=0.05, bends=True, seed=1):
    rng = np.random.default_rng(seed)
    taken = []
    for place in RASTER.offsets_um() + AT_UM:
        inside, at_rim = sample(place)
        cone = np.roll(CONE, 1, axis=1) if at_rim and bends else CONE
        mean = cone * photons / CONE.sum() * (1 - absorbed * inside)
        taken.append(rng.poisson(mean + FAR * inside * scattered * photons / FAR.sum()))
    counts = np.array(taken, np.int32)
    counts[:, 3, 3] = -2  # a bad pixel
    counts[:, 30] = -1  # and a gap
    return counts


def mapped(monitor=None, **changes):
    raw = frames(**changes)
    stage_um = RASTER.offsets_um() + AT_UM
    monitor = np.full(len(raw), 400.0) if monitor is None else monitor
    return map_of_frames(raw, np.ones((32, 32), bool), monitor, stage_um, RASTER, GEOMETRY)


def truth():
    return np.array([[sample(place)[0] for place in row] for row in mapped().stage_um])


def test_a_map_shows_absorption_scatter_and_deflection_where_they_are():
    found, there = mapped(), truth()
    assert found.stage_um[0, 0] == pytest.approx(AT_UM - (9.5, 11.5))
    np.testing.assert_allclose(np.diff(found.stage_um[..., 1]), 1.0)
    assert found.transmission[there].mean() == pytest.approx(0.95, abs=0.02)
    assert found.dark_field[there].mean() == pytest.approx(2e-3, rel=0.1)
    assert found.dark_field[~there].max() == 0
    bent = np.argwhere(np.abs(found.deflection[..., 1]) > 0.5 * GEOMETRY.detector_pixel / GEOMETRY.distance)
    assert {column for _, column in bent.tolist()} == {4}
    assert len(bent) == 8
    pixel = GEOMETRY.detector_pixel / GEOMETRY.distance
    assert found.deflection[tuple(bent.T)][:, 1] == pytest.approx(pixel, rel=0.2)


def test_the_flux_of_each_row_is_told_from_absorption():
    drift = np.repeat(np.linspace(1.0, 0.5, 20), 24)
    raw = (frames() * drift[:, None, None]).astype(np.int32)
    raw[:, 3, 3] = -2
    stage_um = RASTER.offsets_um()
    found = map_of_frames(raw, np.ones((32, 32), bool), 400 * drift, stage_um, RASTER, GEOMETRY)
    rows = found.transmission[:, -5:].mean(axis=1)
    assert np.ptp(rows) < 0.1


@pytest.mark.parametrize(("contrast", "photons"), [("dark_field", 1e4), ("absorption", 4e4)])
def test_material_is_where_it_is(contrast, photons):
    found = material(mapped(photons=photons), contrast)
    assert np.mean(found != truth()) < 0.01


@pytest.mark.parametrize("seed", range(5))
def test_no_material_is_found_in_noise(seed):
    for contrast in ("dark_field", "absorption"):
        with pytest.raises(InputError, match=r"no material beside an empty place: .* are needed"):
            material(mapped(scattered=0.0, absorbed=0.0, bends=False, seed=seed), contrast)


def test_regions_lie_whole_in_the_material_and_apart():
    ((row, column),) = find_regions(mapped(), size_um=4.0)
    assert abs(row - 102) <= 2
    assert abs(column + 53) <= 3
    places = find_regions(mapped(), 2, size_um=2.0, spacing_um=3.0)
    assert max(abs(a - b) for a, b in zip(*places, strict=True)) >= 3
    assert all(sample(np.array(place) + corner)[0] for place in places for corner in ((1, 1), (-1, -1)))


def test_places_that_are_not_there_are_named():
    with pytest.raises(InputError, match="holds 1 of 9 places of 4 x 4 um full of material, 50 um apart"):
        find_regions(mapped(), 9, spacing_um=50.0)
    with pytest.raises(InputError, match=r"holds [12] of 3 places .* 5 um apart"):
        find_regions(mapped(), 3, spacing_um=5.0)  # the others would hang over the rim
    with pytest.raises(InputError, match="smaller than a region of 40 um"):
        find_regions(mapped(), size_um=40.0)


@pytest.mark.parametrize(
    "bad", [{"number": 0}, {"size_um": 0.0}, {"size_um": float("nan")}, {"spacing_um": 0.0}]
)
def test_places_that_cannot_be_are_refused(bad):
    """With no space between them, two regions would be placed, and exposed, in one place."""
    with pytest.raises(InputError, match=r"um apart, cannot be: give numbers > 0"):
        find_regions(mapped(), **bad)


def test_a_contrast_that_is_not_known_is_not_taken_for_absorption():
    with pytest.raises(InputError, match="'phase' is not known: give one of dark_field, absorption"):
        find_regions(mapped(), contrast="phase")


def test_what_makes_no_map_is_refused():
    raw, stage_um, valid = frames(), RASTER.offsets_um(), np.ones((32, 32), bool)
    monitor = np.full(len(raw), 400.0)
    with pytest.raises(InputError, match=r"479 frames, 480 counts .* make no raster of 20 x 24 points"):
        map_of_frames(raw[1:], valid, monitor, stage_um, RASTER, GEOMETRY)
    with pytest.raises(InputError, match="there is no beam"):
        map_of_frames(np.zeros_like(raw), valid, monitor, stage_um, RASTER, GEOMETRY)
    with pytest.raises(InputError, match="counted nothing along a row"):
        map_of_frames(raw, valid, 0 * monitor, stage_um, RASTER, GEOMETRY)


def test_a_map_of_one_value_has_no_material():
    flat = np.ones((5, 5))
    stxm = StxmMap(
        stage_um=np.zeros((5, 5, 2)),
        bright=flat,
        dark=0 * flat,
        flux=flat,
        deflection=np.zeros((5, 5, 2)),
        step_um=1.0,
    )
    with pytest.raises(InputError, match=r"0\.0 standard deviations"):
        material(stxm)
