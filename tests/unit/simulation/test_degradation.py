"""A sample that dies by stated formulae, of the photons that it really received."""

import numpy as np
import pytest

from ptycho_plugin.dose import DoseModel
from ptycho_plugin.optics import ZonePlate
from ptycho_plugin.simulation.degradation import (
    CRITICAL_REPEATS,
    PUBLISHED_FLUENCE,
    DegradingTransmission,
    repeats_per_photon,
)
from ptycho_plugin.simulation.diffraction import fine_geometry
from ptycho_plugin.simulation.octapods import OctapodFilm
from ptycho_plugin.simulation.options import SimulationOptions
from ptycho_plugin.simulation.siemens import SiemensStar
from ptycho_plugin.simulation.specimens import EMPTY, FILM, TEST_SPECIMEN, Specimen
from ptycho_plugin.simulation.world import SimulatedWorld

SIDE = 128
THIN_FILM = OctapodFilm(density_per_um2=300)
CENTRE = np.array([SIDE // 2, SIDE // 2])
HOLDER = (Specimen(FILM, (0, 0), THIN_FILM), Specimen(TEST_SPECIMEN, (0, 10_000), SiemensStar()))


@pytest.fixture
def uniform(geometry):
    """A film every pixel of which one photon on its centre gives one critical dose."""
    return DegradingTransmission(THIN_FILM, (SIDE, SIDE), fine_geometry(geometry), np.ones((2 * SIDE,) * 2))


def world_of(geometry, **changes):
    options = SimulationOptions(field_um=4, photons_per_second=1e9, bad_pixels=0, **changes)
    world = SimulatedWorld(geometry, ZonePlate(), options, HOLDER)
    world.set_shutter(True)
    return world


def contrast(transmission):
    return np.angle(transmission).std()


@pytest.mark.parametrize("dose", [0.05, 0.25, 0.75, 1.4])
def test_contrast_falls_exponentially(uniform, dose):
    fresh = contrast(uniform.transmission)
    uniform.receive(CENTRE, dose)
    assert contrast(uniform.transmission) / fresh == pytest.approx(np.exp(-dose), rel=5e-4)


@pytest.mark.parametrize("dose", [0.25, 0.8])
def test_features_shrink_linearly(uniform, geometry, dose):
    """The film is the one with octapods of that size, up to the contrast."""
    uniform.receive(CENTRE, dose)
    fine = fine_geometry(geometry)
    found = np.angle(uniform.transmission)
    unlikeness = {
        lost: 1 - np.corrcoef(np.angle(smaller).ravel(), found.ravel())[0, 1]
        for lost in dose * np.array([0.05, 0.1, 0.15])
        for smaller in [
            THIN_FILM.shrunk(1 - lost).transmission((SIDE,) * 2, fine.object_pixel, fine.energy_eV)
        ]
    }
    assert min(unlikeness, key=unlikeness.get) == pytest.approx(dose / 10)
    assert min(unlikeness.values()) < 1e-5


def test_what_is_far_from_the_probe_stays(geometry):
    film = DegradingTransmission(THIN_FILM, (SIDE, SIDE), fine_geometry(geometry), np.ones((20, 20)))
    before = film.transmission.copy()
    film.receive(np.array([5.0, 40.0]), 1.0)
    film.receive(np.array([-500.0, 40.0]), 1.0)
    changed = film.transmission != before
    assert changed[:15, 30:50].all()
    assert changed.sum() == 15 * 20


def test_an_empty_film_has_nothing_to_lose(geometry):
    empty = OctapodFilm(density_per_um2=0)
    film = DegradingTransmission(empty, (SIDE, SIDE), fine_geometry(geometry), np.ones((20, 20)))
    film.receive(CENTRE, 1.0)
    np.testing.assert_array_equal(film.transmission, 1)


def test_a_repeat_of_the_published_scan_is_a_dose_of_one(geometry):
    """Far from the edges of a field that is exposed evenly, however the photons are spread."""
    illumination = np.zeros((64, 64))
    illumination[20:40, 25:35] = 1 / 200
    pixel = geometry.object_pixel
    dose = repeats_per_photon(illumination, pixel, DoseModel(energy_eV=geometry.energy_eV))
    assert dose.sum() * pixel**2 * PUBLISHED_FLUENCE == pytest.approx(1, rel=1e-3)


def test_an_exposure_takes_the_contrast_that_its_dose_says(geometry):
    world = world_of(geometry, degrades=True)
    fresh = world._transmission(FILM).copy()
    world.expose(0.05)
    degraded = world._transmission(FILM)
    dose = repeats_per_photon(
        world._illumination.intensity, world._fine.object_pixel, DoseModel(energy_eV=geometry.energy_eV)
    )
    left = np.exp(-5e7 * dose / world._critical_repeats)
    corner = len(fresh) // 2 - len(dose) // 2
    window = (slice(corner, corner + len(dose)),) * 2
    hit = left < 0.9
    before, after = (np.angle(film[window])[hit] for film in (fresh, degraded))
    assert np.linalg.norm(after) == pytest.approx(np.linalg.norm(left[hit] * before), rel=0.04)


def test_photons_that_pass_while_the_shutter_closes_are_a_dose(geometry):
    world = world_of(geometry, degrades=True)
    before = world.truth(FILM).transmission
    world.set_shutter(False)
    assert not np.array_equal(world.truth(FILM).transmission, before)


@pytest.mark.parametrize(("place", "degrades"), [(FILM, False), (TEST_SPECIMEN, True), (EMPTY, True)])
def test_only_a_sensitive_sample_dies_and_only_if_told_to(geometry, place, degrades):
    world = world_of(geometry, degrades=degrades)
    before = {name: world.truth(name).transmission for name in (FILM, TEST_SPECIMEN)}
    world.move("coarse_row", world.places[place][0])
    world.move("coarse_column", world.places[place][1])
    world.expose(1.0)
    for name, transmission in before.items():
        np.testing.assert_array_equal(world.truth(name).transmission, transmission)


def test_the_first_frame_is_that_of_a_sample_that_does_not_degrade(geometry):
    frames = [world_of(geometry, degrades=degrades).expose(1.0).frame for degrades in (False, True)]
    np.testing.assert_array_equal(*frames)


def test_the_seed_draws_the_critical_dose(geometry):
    doses = [world_of(geometry, seed=seed)._critical_repeats for seed in range(40)]
    assert world_of(geometry, seed=7)._critical_repeats == doses[7]
    low, high = CRITICAL_REPEATS
    assert low <= min(doses) < low + 10
    assert high - 10 < max(doses) <= high
