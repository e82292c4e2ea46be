"""Photons, fluence and dose, against hand calculations and what must be conserved."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from ptycho_plugin.dose import (
    FWHM_PER_SIGMA,
    DoseModel,
    Grid,
    Photons,
    ShutterTiming,
    fluence_map,
    illumination_of,
)
from ptycho_plugin.errors import InputError
from ptycho_plugin.geometry import Geometry
from ptycho_plugin.materials import CDS, CDSE, PMMA, Material
from ptycho_plugin.optics import ZonePlate
from ptycho_plugin.trajectory import ConcentricRings

GEOMETRY = Geometry.from_wavelength(0.2e-9, distance=2.236, detector_pixel=172e-6, frame_side=192)
ENERGY_EV = GEOMETRY.energy_eV
PIXEL = 20e-9
SPOT = np.array([[0.0, 0.1, 0.0], [0.2, 0.4, 0.1], [0.0, 0.15, 0.05]])
PMMA_DOSE = DoseModel(energy_eV=ENERGY_EV)


def resting(points):
    points = np.asarray(points, float)
    return np.stack([points, points], axis=1)


def mapped(paths, photons, margin=0.0):
    """Return photons (not per area) on each pixel, and the grid."""
    grid = Grid.covering(paths, SPOT.shape, PIXEL, margin)
    return fluence_map(SPOT, paths, photons, grid) * PIXEL**2, grid


def centre_of(photons, grid):
    return np.array(ndimage.center_of_mass(photons)) * grid.pixel + grid.corner


metres = st.floats(-1e-6, 1e-6)
paths_of_some = st.integers(1, 6).flatmap(lambda n: arrays(float, (n, 2, 2), elements=metres))
counts = st.floats(0, 1e8)


def test_published_scan_by_hand():
    """One million photons at each of 324 points over 4 x 4 um.

    324e6 / 16e-12 m2 = 2.025e19 photons/m2; 6199.2 eV x 1.60218e-19 J/eV = 9.9322e-16 J each;
    PMMA takes 13.545 cm2/g = 1.3545 m2/kg by photoabsorption: 2.025e19 x 9.9322e-16 x 1.3545 =
    27.24 kJ/kg.
    """
    by_hand = 2.025e19 * 9.9322e-16 * 1.3545
    assert 324e6 / (4e-6) ** 2 * PMMA_DOSE.gray_per_fluence == pytest.approx(by_hand, rel=1e-3)
    assert by_hand == pytest.approx(28e3, rel=0.03)


def test_the_map_of_the_published_scan_agrees_with_the_hand():
    paths = resting(ConcentricRings().offsets_um() * 1e-6)
    illumination = illumination_of(ZonePlate().probe(GEOMETRY))
    grid = Grid.covering(paths, illumination.shape, GEOMETRY.object_pixel, PMMA_DOSE.reach)
    fluence = fluence_map(illumination, paths, np.full(324, 1e6), grid)
    assert fluence.sum() * grid.pixel**2 == pytest.approx(324e6, rel=1e-12)
    dose = PMMA_DOSE.surface_dose(fluence, grid.pixel)
    assert dose.max() == pytest.approx(27.24e3, rel=0.02)
    middle = np.rint(-np.array(grid.corner) / grid.pixel).astype(int)
    inner = round(1e-6 / grid.pixel)
    row, column = (slice(at - inner, at + inner) for at in middle)
    assert dose[row, column].mean() == pytest.approx(27.24e3, rel=0.02)
    assert fluence.max() * PMMA_DOSE.gray_per_fluence > 1.1 * dose.max(), "unblurred it is fluence"


@pytest.mark.parametrize(("crystal", "times"), [(CDSE, 23.8), (CDS, 28.2)])
def test_crystals_take_far_more_than_their_matrix(crystal, times):
    """322 and 382 cm2/g over 13.545."""
    dose = DoseModel(material=crystal, energy_eV=ENERGY_EV)
    assert dose.gray_per_fluence / PMMA_DOSE.gray_per_fluence == pytest.approx(times, rel=5e-3)


def test_the_mean_through_the_film_by_hand():
    """PMMA: 14.0 cm2/g x 1.188 g/cm3 x 24e-4 cm = 0.0399; (1 - exp(-0.0399)) / 0.0399 = 0.9803."""
    film = PMMA_DOSE.model_copy(update={"thickness": 24e-6})
    assert film.mean_to_surface == pytest.approx(0.9803, abs=2e-4)
    fluence = np.full((3, 3), 1e20)
    np.testing.assert_allclose(film.mean_dose(fluence, 1e-9) / film.surface_dose(fluence, 1e-9), 0.9803, 2e-4)


def test_a_thick_absorber_keeps_what_photoabsorption_takes():
    """Surface dose x attenuation length, and not one photon's energy more."""
    deep = DoseModel(material=PMMA, energy_eV=ENERGY_EV, thickness=0.1)
    absorbed = deep.gray_per_fluence * deep.mean_to_surface * PMMA.density * 0.1
    share = PMMA.mass_photoabsorption(ENERGY_EV) / PMMA.mass_attenuation(ENERGY_EV)
    assert absorbed == pytest.approx(share * ENERGY_EV * 1.602177e-19, rel=1e-6)
    assert 0.96 < share < 0.98


def test_without_a_thickness_there_is_no_mean():
    with pytest.raises(InputError, match="thickness of PMMA is not stated"):
        _ = PMMA_DOSE.mean_to_surface


@given(paths_of_some, counts)
def test_no_photon_is_lost_between_pixels_or_along_paths(paths, number):
    photons, grid = mapped(paths, np.full(len(paths), number))
    assert photons.shape == grid.shape
    assert photons.min() >= 0
    assert photons.sum() == pytest.approx(len(paths) * number, rel=1e-9)


@given(arrays(float, (1, 2, 2), elements=metres))
def test_the_centre_of_the_photons_is_that_of_the_path(paths):
    photons, grid = mapped(paths, [1e6])
    at_rest, grid_at_rest = mapped(resting([[0.0, 0.0]]), [1e6])
    moved = centre_of(photons, grid) - centre_of(at_rest, grid_at_rest)
    np.testing.assert_allclose(moved, paths[0].mean(axis=0), atol=1e-6 * PIXEL)


@given(paths_of_some, st.randoms(use_true_random=False))
def test_the_order_of_exposures_does_not_matter(paths, random):
    numbers = np.linspace(1e5, 1e6, len(paths))
    order = random.sample(range(len(paths)), len(paths))
    photons, _ = mapped(paths, numbers)
    again, _ = mapped(paths[order], numbers[order])
    np.testing.assert_allclose(again, photons, atol=1e-9 * 1e6)


@given(paths_of_some, st.floats(0.01, 100))
def test_fluence_is_linear_in_the_photons(paths, factor):
    numbers = np.linspace(1e5, 1e6, len(paths))
    grid = Grid.covering(paths, SPOT.shape, PIXEL)
    alone = sum(fluence_map(SPOT, paths[i : i + 1], numbers[i : i + 1], grid) for i in range(len(paths)))
    together = fluence_map(SPOT, paths, factor * numbers, grid)
    np.testing.assert_allclose(together, factor * alone, atol=1e-9 * factor * 1e6 / PIXEL**2)


@given(arrays(float, 2, elements=metres))
def test_a_path_that_shrinks_becomes_a_point(point):
    grid = Grid.covering(resting([point]), SPOT.shape, PIXEL)
    at_rest, shrunk = (
        fluence_map(SPOT, np.array([[point, point + length]]), [1e6], grid) for length in (0.0, 1e-6 * PIXEL)
    )
    np.testing.assert_allclose(shrunk, at_rest, atol=1e-5 * at_rest.max())


def test_a_path_backwards_is_the_same_path():
    path = np.array([[[0.0, 1e-7], [3e-7, -2e-7]]])
    np.testing.assert_allclose(mapped(path, [1e6])[0], mapped(path[:, ::-1], [1e6])[0], atol=1e-3)


def test_a_path_is_many_points():
    """Ten pixels along a row, one unit a pixel."""
    path = np.array([[[0.0, -0.5 * PIXEL], [0.0, 9.5 * PIXEL]]])
    photons, _ = mapped(path, [10.0])
    points, _ = mapped(resting([[0.0, i * PIXEL] for i in range(10)]), np.ones(10))
    np.testing.assert_allclose(photons.sum(axis=1).max(), points.sum(axis=1).max(), rtol=1e-6)
    assert photons.max() == pytest.approx(points.max(), rel=0.02)


def test_whole_pixels_put_the_illumination_where_it_is():
    photons, grid = mapped(resting([[2 * PIXEL, -PIXEL]]), [1.0])
    row, column = np.rint((np.array([2, -1]) * PIXEL - grid.corner) / PIXEL).astype(int)
    np.testing.assert_allclose(photons[row - 1 : row + 2, column - 1 : column + 2], SPOT, atol=1e-12)


def test_half_a_pixel_is_shared_by_four():
    photons, grid = mapped(resting([[0.5 * PIXEL, 0.5 * PIXEL]]), [1.0])
    row, column = np.rint(-np.array(grid.corner) / PIXEL).astype(int)
    shared = np.zeros((4, 4))
    for i, j in ((0, 0), (0, 1), (1, 0), (1, 1)):
        shared[i : i + 3, j : j + 3] += SPOT / 4
    np.testing.assert_allclose(photons[row - 1 : row + 3, column - 1 : column + 3], shared, atol=1e-12)


def test_a_grid_may_be_a_window_on_more():
    paths, numbers = resting([[0, 0], [0, 5 * PIXEL], [4e-6, 0]]), [1.0, 2.0, 4.0]
    whole, grid = mapped(paths, numbers)
    window = Grid((9, 8), PIXEL, grid.corner)
    part = fluence_map(SPOT, paths, numbers, window) * PIXEL**2
    np.testing.assert_allclose(part, whole[:9, :8], atol=1e-12)


@given(arrays(float, (5, 7), elements=st.floats(0, 1e20)), st.floats(0, 2e-6))
def test_electrons_carry_energy_and_lose_none(fluence, electron_range):
    dose = PMMA_DOSE.model_copy(update={"electron_range": electron_range})
    pixel = 50e-9
    around = int(np.ceil(dose.reach / pixel)) + 1
    blurred = dose.surface_dose(np.pad(fluence, around), pixel)
    assert blurred.min() >= 0
    assert blurred.sum() == pytest.approx(dose.gray_per_fluence * fluence.sum(), rel=1e-9)
    assert blurred.max() <= dose.gray_per_fluence * fluence.max() * (1 + 1e-9)


def test_the_range_is_the_full_width_at_half_maximum():
    point = np.zeros((401, 401))
    point[200, 200] = 1.0
    dose = PMMA_DOSE.surface_dose(point, 10e-9) / PMMA_DOSE.gray_per_fluence
    assert dose[200, 225] == pytest.approx(dose[200, 200] / 2, rel=1e-3)
    row, column = np.indices(dose.shape) - 200
    assert dose[np.hypot(row, column) <= 50].sum() == pytest.approx(15 / 16, abs=2e-3)
    assert PMMA_DOSE.reach == pytest.approx(4 * 0.5e-6 / FWHM_PER_SIGMA)


def test_modes_add_their_intensities():
    probe = np.array([[[3.0, 0.0]], [[0.0, 4.0j]]], np.complex64)
    np.testing.assert_allclose(illumination_of(probe), [[9 / 25, 16 / 25]])


def test_the_time_that_a_shutter_is_open():
    shutter = ShutterTiming(opening_lag_s=3e-3, closing_lag_s=5e-3)
    assert shutter.open_s(0.2) == pytest.approx(0.202)
    assert shutter.open_s(shutter.commanded_s(0.2)) == pytest.approx(0.205), "as it closes, it is still open"
    assert ShutterTiming(opening_lag_s=5e-3, closing_lag_s=1e-3).open_s(1e-3) == 0


def test_photons_follow_the_time_that_the_shutter_was_open():
    """1e6 +- 1e4 in 0.2 s; open for 0.25 s +- 1 ms: 1.25e6 +- sqrt((1.25e4)^2 + (5e6 x 1e-3)^2)."""
    shutter = ShutterTiming(opening_lag_s=0, closing_lag_s=0.05, jitter_s=1e-3)
    photons = shutter.on_sample(Photons(1e6, 1e4), 0.2, 0.2)
    assert photons.number == pytest.approx(1.25e6)
    assert photons.sigma == pytest.approx(np.hypot(1.25e4, 5e3))


def test_every_opening_takes_its_lags_and_jitters():
    """Twice: 3 ms opening and 4 ms closing about 0 and 0.2 s leave 4 and 204 ms."""
    shutter = ShutterTiming()
    openings = shutter.commanded_s(0.0), shutter.commanded_s(0.2)
    assert shutter.open_s(*openings) == pytest.approx(0.208)
    photons = shutter.on_sample(Photons(1e6), 0.2, *openings)
    assert photons.number == pytest.approx(1.04e6)
    assert photons.sigma == pytest.approx(np.sqrt(2) * 5e6 * 0.5e-3)


def test_a_lag_in_milliseconds_is_refused():
    with pytest.raises(InputError, match=r"closing_lag_s = 4\.0 cannot be used: .* less than or equal to 1"):
        ShutterTiming(closing_lag_s=4.0)


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
def test_nonsense_is_refused(value):
    paths = resting([[0, 0], [0, 0]])
    grid = Grid.covering(paths, SPOT.shape, PIXEL)
    with pytest.raises(InputError, match="photons cannot be"):
        Photons(value)
    with pytest.raises(InputError, match="exposure 1 has"):
        fluence_map(SPOT, paths, [1.0, value], grid)
    with pytest.raises(InputError, match="opening_lag_s"):
        ShutterTiming(opening_lag_s=value)
    with pytest.raises(InputError, match="open for"):
        ShutterTiming().open_s(value)
    with pytest.raises(InputError, match="counted in"):
        ShutterTiming().on_sample(Photons(1.0), value, 0.1)
    with pytest.raises(InputError, match="object pixel"):
        Grid.covering(paths, SPOT.shape, value)
    with pytest.raises(InputError, match="electron_range"):
        DoseModel(energy_eV=ENERGY_EV, electron_range=value)


def test_places_that_cannot_be_are_refused():
    with pytest.raises(InputError, match="exposure 1 has no position"):
        Grid.covering(resting([[0, 0], [0, np.nan]]), SPOT.shape, PIXEL)
    with pytest.raises(InputError, match="start and end"):
        Grid.covering([[0.0, 0.0]], SPOT.shape, PIXEL)
    with pytest.raises(InputError, match="more than 33554432 px"):
        Grid.covering(resting([[0, 0], [1, 0]]), SPOT.shape, PIXEL)
    with pytest.raises(InputError, match="illuminates nothing"):
        illumination_of(np.zeros((1, 3, 3), np.complex64))


def test_an_unknown_formula_or_no_density_has_no_dose():
    unknown = DoseModel(material=Material("glue", "Xx2", 1000.0), energy_eV=ENERGY_EV)
    with pytest.raises(InputError, match="glue: 'Xx2' is not a chemical formula"):
        unknown.surface_dose(np.ones((2, 2)), PIXEL)
    with pytest.raises(InputError, match=r"material.*density 0"):
        DoseModel(material={"name": "void", "formula": "C", "density": 0.0}, energy_eV=ENERGY_EV)
