import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptycho_plugin.flux import Layer
from ptycho_plugin.materials import CDS, CDSE, PMMA, PS, SI3N4
from ptycho_plugin.simulation.octapods import OctapodFilm, projected_pods
from ptycho_plugin.simulation.slab import OctapodSlab, _reflected
from ptycho_plugin.simulation.specimens import RadiationSensitive, Thick

ENERGY_EV = 6199.2
WAVENUMBER = 2 * np.pi / 2e-10
SHAPE, PIXEL = (200, 240), 7e-9
FILM = OctapodFilm(density_per_um2=400, matrix=PS)


def in_slices(number, **changes):
    return OctapodSlab(film=FILM, thickness_um=3.0, slices=number, **changes)


@pytest.mark.parametrize("slices", [2, 7])
def test_how_a_slab_is_cut_does_not_change_its_matter(slices):
    slab = in_slices(slices)
    stack = slab.sliced(SHAPE, PIXEL, ENERGY_EV)
    assert stack.shape == (slices, *SHAPE)
    assert stack.dtype == np.complex64
    projection = in_slices(1).transmission(SHAPE, PIXEL, ENERGY_EV)
    np.testing.assert_array_equal(slab.transmission(SHAPE, PIXEL, ENERGY_EV), projection)
    np.testing.assert_allclose(stack.prod(axis=0), projection, atol=2e-6)
    assert np.angle(projection).std() > 0.01, "there must be something to cut"


def test_octapods_are_at_all_depths():
    film = FILM.model_copy(update={"octapods_per_chain": 1, "chains_per_cluster": 1})
    stack = OctapodSlab(film=film, slices=5).sliced(SHAPE, PIXEL, ENERGY_EV)
    matter = np.array([np.angle(layer).mean() for layer in stack])
    np.testing.assert_allclose(matter / matter.sum(), 0.2, atol=0.06)


def test_phase_and_absorption_are_those_of_its_matter():
    transmission = in_slices(3).sliced(SHAPE, PIXEL, ENERGY_EV).prod(axis=0)
    area = SHAPE[0] * SHAPE[1] * PIXEL**2
    octapods = round(400 * area * 1e12)
    pods = octapods * 8 * (39e-9 - 6e-9) * np.pi / 4 * 12e-9**2
    cores = octapods * np.pi / 6 * 12e-9**3
    excess = {
        part: sum(
            volume * (getattr(crystal, part)(ENERGY_EV) - getattr(PS, part)(ENERGY_EV))
            for crystal, volume in ((CDS, pods), (CDSE, cores))
        )
        for part in ("delta", "beta")
    }
    assert np.angle(transmission).sum() * PIXEL**2 == pytest.approx(-WAVENUMBER * excess["delta"], rel=1e-3)
    absorbed = WAVENUMBER * (excess["beta"] + PS.beta(ENERGY_EV) * 3e-6 * area)
    assert np.log(np.abs(transmission)).sum() * PIXEL**2 == pytest.approx(-absorbed, rel=1e-3)


def test_a_uniform_sample_absorbs_and_shifts_no_phase():
    empty = OctapodFilm(density_per_um2=0, matrix=PMMA)
    membrane = Layer(material=SI3N4, thickness=100e-9)
    slab = OctapodSlab(film=empty, thickness_um=24, slices=4, membrane=membrane)
    stack = slab.sliced((8, 8), PIXEL, ENERGY_EV)
    np.testing.assert_array_equal(stack.imag, 0)
    left = np.exp(-WAVENUMBER * (PMMA.beta(ENERGY_EV) * 24e-6 + SI3N4.beta(ENERGY_EV) * 100e-9))
    np.testing.assert_allclose(stack.prod(axis=0).real, left, rtol=1e-5)
    assert 0.97 < left < 0.985
    bare = OctapodSlab(film=empty.model_copy(update={"matrix": None}))
    np.testing.assert_array_equal(bare.transmission((8, 8), PIXEL, ENERGY_EV), 1)


def test_an_octapod_that_stands_shows_four_arms_of_two_pods_each():
    """Seen from above each upper pod covers a lower one, tilted by half the angle of a cube's diagonals."""
    length, diameter, side = 90.0, 12.0, 256
    centre = np.full((1, 2), side / 2)
    seen = projected_pods(centre, (side, side), length, diameter, np.random.default_rng(2), standing=True)
    axis = np.arange(side) - side / 2
    radius = np.hypot(axis[:, None], axis)
    sine = np.sqrt(2 / 3)
    ring = np.abs(radius - 0.6 * length) < 1
    assert seen[ring].max() == pytest.approx(2 * diameter / sine, rel=0.04)
    directions = np.arctan2(axis[:, None], np.broadcast_to(axis, (side, side)))
    fourfold = abs(np.sum(seen * np.exp(4j * directions) * ring) / np.sum(seen * ring))
    assert fourfold > 0.8
    assert seen[radius > sine * length + diameter / 2 + 1].max() < 0.01 * seen.max()


def test_octapods_in_a_film_do_not_stand():
    centres = np.full((1, 2), 128.0)
    lying, standing = (
        projected_pods(centres, (256, 256), 90.0, 12.0, np.random.default_rng(2), standing=stands)
        for stands in (False, True)
    )
    assert np.abs(lying - standing).max() > 5


def test_chains_that_leave_by_a_face_come_back_near_it():
    """Long chains from anywhere in a thin film: were they cut off there, its outer slices would hold most."""
    film = FILM.model_copy(update={"octapods_per_chain": 200, "chains_per_cluster": 1})
    stack = OctapodSlab(film=film.model_copy(update={"density_per_um2": 4000}), thickness_um=0.5, slices=10)
    matter = np.array([np.angle(layer).mean() for layer in stack.sliced(SHAPE, PIXEL, ENERGY_EV)])
    np.testing.assert_allclose(matter / matter.sum(), 0.1, atol=0.06)


@given(st.floats(-100, 100), st.floats(0.1, 10))
def test_a_chain_turns_back_at_the_faces(depth, thickness):
    (inside,) = _reflected(np.array([depth]), thickness)
    assert 0 <= inside <= thickness
    if 0 <= depth <= thickness:
        assert inside == pytest.approx(depth, abs=1e-9)
    (mirrored,) = _reflected(np.array([-depth]), thickness)
    assert mirrored == pytest.approx(inside, abs=1e-9)


def test_a_slab_is_thick_and_no_plain_film_is():
    assert isinstance(OctapodSlab(), Thick)
    assert not isinstance(OctapodFilm(), Thick)
    assert not isinstance(OctapodSlab(), RadiationSensitive)
    assert OctapodSlab(thickness_um=24, slices=12).slice_distance == pytest.approx(2e-6)
