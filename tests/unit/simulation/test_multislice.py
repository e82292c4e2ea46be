"""Thick samples, and a wide source's modes, against known truths."""

from dataclasses import dataclass

import numpy as np
import pytest

from ptycho_plugin.optics import ZonePlate
from ptycho_plugin.simulation.diffraction import (
    LOST_TO_MODES,
    SliceGap,
    downsample,
    fine_geometry,
    zone_plate_illumination,
)
from ptycho_plugin.simulation.octapods import OctapodFilm
from ptycho_plugin.simulation.options import OpticError
from ptycho_plugin.simulation.slab import OctapodSlab
from ptycho_plugin.simulation.source import source_points_um
from ptycho_plugin.simulation.specimens import FILM, Specimen
from ptycho_plugin.simulation.world import SimulatedWorld

EXPOSURE_S = 0.2
CENTRE = (150.3, 161.8)
SHAPE = (300, 320)
THICK = OctapodSlab(film=OctapodFilm(density_per_um2=2000), thickness_um=60.0)
"""Enough of it to be no projection on the coarse pixels of a quick test."""


@pytest.fixture(scope="session")
def fine(geometry):
    return fine_geometry(geometry)


@pytest.fixture(scope="session")
def illumination(geometry):
    return zone_plate_illumination(ZonePlate(), OpticError(), geometry)


def random_phases(slices, seed=0):
    phases = np.random.default_rng(seed).normal(scale=0.3, size=(slices, *SHAPE))
    return np.exp(1j * phases).astype(np.complex64)


def difference(pattern, expected):
    return np.sqrt(np.sum((np.sqrt(pattern) - np.sqrt(expected)) ** 2) / expected.sum())


def test_one_slice_is_a_thin_sample(illumination, fine):
    stack = random_phases(1)
    through = illumination.diffract_through(stack, CENTRE, SliceGap.between(1, 5e-6, fine))
    np.testing.assert_allclose(through, illumination.diffract(stack[0], CENTRE), atol=1e-9)


def test_slices_without_space_between_them_are_their_product(illumination, fine):
    stack = random_phases(3)
    through = illumination.diffract_through(stack, CENTRE, SliceGap.between(3, 0.0, fine))
    expected = illumination.diffract(stack.prod(axis=0), CENTRE)
    np.testing.assert_allclose(through, expected, atol=1e-6 * expected.max())


def test_a_thin_film_in_slices_is_its_projection(illumination, geometry, fine):
    film = THICK.model_copy(update={"thickness_um": 0.1, "slices": 4})
    stack = film.sliced(SHAPE, fine.object_pixel, fine.energy_eV)
    through = illumination.diffract_through(stack, CENTRE, SliceGap.between(4, film.slice_distance, fine))
    expected = illumination.diffract(film.transmission(SHAPE, fine.object_pixel, fine.energy_eV), CENTRE)
    assert difference(through, expected) < 1e-3


def test_phases_keep_every_photon_and_absorption_takes_its_part(illumination, fine):
    gap = SliceGap.between(5, 30e-6, fine)
    assert illumination.diffract_through(random_phases(5), CENTRE, gap).sum() == pytest.approx(1, rel=1e-4)
    dimmer = np.float32(0.9) * random_phases(5)
    left = illumination.diffract_through(dimmer, CENTRE, gap).sum()
    assert left == pytest.approx(0.9**10, rel=1e-4)


@pytest.mark.parametrize(("place", "way"), [(0, -40e-6), (1, 0.0), (2, 40e-6)])
def test_matter_in_one_slice_is_a_thin_sample_farther_along_the_beam(geometry, fine, place, way):
    """The middle of the stack is where a thin sample stands."""
    stack = np.ones((3, *SHAPE), np.complex64)
    stack[place] = random_phases(1)[0]
    here, there = (
        zone_plate_illumination(ZonePlate(defocus=270e-6 + moved), OpticError(), geometry)
        for moved in (0.0, way)
    )
    through = here.diffract_through(stack, CENTRE, SliceGap.between(3, 40e-6, fine))
    expected = there.diffract(stack[place], CENTRE)
    assert difference(through, expected) < 1e-3
    if way:
        assert difference(through, here.diffract(stack[place], CENTRE)) > 0.05


def test_finer_slices_converge_and_a_projection_is_wrong(illumination, fine):
    def pattern(slices):
        slab = THICK.model_copy(update={"slices": slices})
        stack = slab.sliced(SHAPE, fine.object_pixel, fine.energy_eV)
        return illumination.diffract_through(
            stack, CENTRE, SliceGap.between(slices, slab.slice_distance, fine)
        )

    finest = pattern(24)
    projected, coarse, fine_enough = (difference(pattern(slices), finest) for slices in (1, 3, 12))
    assert projected > 1.3 * coarse > 3 * fine_enough


@pytest.mark.parametrize("fwhm_nm", [(0.0, 60.0), (10.0, 25.0)])
def test_modes_are_the_sum_over_a_sources_points(illumination, fine, fwhm_nm):
    places_um, weights = source_points_um(fwhm_nm, 50.0)
    places_px = places_um * 1e-6 / fine.object_pixel
    modes = illumination.blurred(places_px, weights)
    sample = random_phases(1)[0]
    expected = sum(
        weight * illumination.diffract(sample, np.add(CENTRE, place))
        for place, weight in zip(places_px, weights, strict=True)
    )
    powers = [mode.diffract(np.ones((1, 1), np.complex64), (0, 0)).sum() for mode in modes]
    assert sum(powers) == pytest.approx(1, rel=1e-5)
    assert powers == sorted(powers, reverse=True)
    assert powers[0] < 0.97
    assert len(modes) < len(places_px)
    pattern = sum(mode.diffract(sample, CENTRE) for mode in modes)
    assert np.abs(pattern - expected).sum() < 3 * LOST_TO_MODES
    assert np.abs(illumination.diffract(sample, CENTRE) - expected).sum() > 10 * LOST_TO_MODES


def test_a_point_source_has_the_illumination_for_its_mode(illumination):
    assert illumination.blurred(*source_points_um((0, 0), 50.0)) == (illumination,)


@dataclass(frozen=True)
class Sliced:
    """A thin transmitter, said to be thick."""

    thin: object
    slices: int = 1
    slice_distance: float = 0.0

    def transmission(self, shape, pixel, energy_eV):
        return self.thin.transmission(shape, pixel, energy_eV)

    def sliced(self, shape, pixel, energy_eV):
        stack = np.ones((self.slices, *shape), np.complex64)
        stack[self.slices // 2] = self.transmission(shape, pixel, energy_eV)
        return stack


def exposed(geometry, options, sample, stage_um=(0.2, -0.1), **changes):
    holder = (Specimen(FILM, (0.0, 0.0), sample),)
    world = SimulatedWorld(geometry, ZonePlate(), options.model_copy(update=changes), holder)
    world.set_shutter(True)
    for axis, value in zip(("stage_row", "stage_column"), stage_um, strict=True):
        world.move(axis, value)
    return world, world.expose(EXPOSURE_S)


def test_the_world_sees_a_thick_specimen_as_it_sees_a_thin_one(geometry, holder, ideal):
    thin_world, thin = exposed(geometry, ideal, holder[0].sample)
    thick_world, thick = exposed(geometry, ideal, Sliced(holder[0].sample, 3, 20e-6))
    np.testing.assert_allclose(thick.frame, thin.frame, atol=3)
    truths = [world.truth(FILM) for world in (thin_world, thick_world)]
    np.testing.assert_allclose(truths[0].transmission, truths[1].transmission, atol=1e-6)
    assert truths[0].origin == truths[1].origin


def test_a_thick_specimen_in_the_world_is_no_projection(geometry, ideal):
    frames = [
        exposed(geometry, ideal, THICK.model_copy(update={"slices": slices}))[1].frame for slices in (1, 6)
    ]
    valid = frames[0] >= 0
    assert difference(frames[1][valid], frames[0][valid].astype(float)) > 0.01


def test_the_truth_of_a_thick_specimen_is_its_projection(geometry, ideal, fine):
    world, _ = exposed(geometry, ideal, THICK.model_copy(update={"slices": 3}))
    found = world.truth(FILM).transmission
    side = 2 * len(found)
    expected = downsample(THICK.transmission((side, side), fine.object_pixel, fine.energy_eV))
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_another_energy_makes_the_space_between_slices_anew(geometry, ideal):
    sample = THICK.model_copy(update={"slices": 3})
    world, _ = exposed(geometry, ideal, sample)
    world.set_optics(6400.0, 270e-6)
    other = geometry.model_copy(update={"energy_eV": 6400.0})
    _, first = exposed(other, ideal, sample)
    np.testing.assert_array_equal(world.expose(EXPOSURE_S).frame, first.frame)
