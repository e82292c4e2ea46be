"""Trajectories: the published scan point by point, and what holds for every one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pydantic import TypeAdapter
from scipy.cluster.hierarchy import linkage
from scipy.spatial.distance import pdist

from ptycho_plugin.errors import InputError
from ptycho_plugin.trajectory import (
    ConcentricRings,
    Raster,
    RecordedPositions,
    Trajectory,
    typical_step,
    widest_step,
)


def test_the_published_scan_has_324_points():
    assert ConcentricRings().offsets_um().shape == (324, 2)


def test_a_step_in_metres_is_refused_before_its_points_are_made():
    with pytest.raises(InputError, match="points, 100,000 is the limit"):
        ConcentricRings(radial_step_um=3e-7)


def test_centre_then_five_points_in_the_first_ring():
    points = ConcentricRings().offsets_um()
    np.testing.assert_array_equal(points[0], 0)
    np.testing.assert_allclose(np.hypot(*points[1:6].T), 0.2)
    np.testing.assert_allclose(points[1], [0, 0.2], atol=1e-15)
    assert np.hypot(*points[6]) == pytest.approx(0.4)


def test_two_points_lie_on_the_bound_and_belong_to_the_scan():
    points = ConcentricRings().offsets_um()
    assert np.sum(np.abs(np.abs(points).max(axis=1) - 2.0) < 1e-9) == 2


@given(
    step=st.floats(0.05, 1.0),
    first=st.integers(3, 9),
    height=st.floats(0.5, 5.0),
    width=st.floats(0.5, 5.0),
)
def test_points_fill_the_rectangle_without_repeating(step, first, height, width):
    rings = ConcentricRings(radial_step_um=step, points_first_ring=first, height_um=height, width_um=width)
    points = rings.offsets_um()
    assert (np.abs(points) <= np.array([height, width]) / 2 + 1e-8).all()
    assert len(np.unique(points.round(6), axis=0)) == len(points)


@given(turn=st.floats(-90, 90))
def test_turned_rings_are_the_points_turned(turn):
    """Within the circle that no bound cuts, and about as many beyond it."""
    still, turned = (ConcentricRings(turn_deg=angle).offsets_um() for angle in (0, turn))
    inner = [points[np.hypot(*points.T) < 1.99] for points in (still, turned)]
    waves = [points @ np.array([1j, 1]) for points in inner]
    np.testing.assert_allclose(waves[1], waves[0] * np.exp(1j * np.radians(turn)), atol=1e-12)
    assert len(turned) == pytest.approx(324, abs=8)


def test_rings_turned_by_one_point_of_the_first_are_themselves():
    still, turned = (ConcentricRings(turn_deg=angle).offsets_um() for angle in (0, 72))
    first, again = (points[np.lexsort(points.round(6).T)] for points in (still, turned))
    np.testing.assert_allclose(first, again, atol=1e-9)


def test_step_is_the_larger_of_ring_and_arc_distance():
    assert ConcentricRings().step_um == pytest.approx(0.2 * 2 * np.pi / 5)
    assert ConcentricRings(points_first_ring=9).step_um == pytest.approx(0.2)


def test_recorded_positions_keep_their_order():
    points = ((1.0, 2.0), (0.0, 0.0), (0.5, 2.0))
    recorded = RecordedPositions(points_um=points)
    np.testing.assert_array_equal(recorded.offsets_um(), points)
    assert recorded.step_um == pytest.approx(np.hypot(0.5, 2.0))


LINES = np.stack(np.meshgrid(np.arange(0, 10, 3.0), np.arange(0, 5, 0.1), indexing="ij"), -1).reshape(-1, 2)


def test_lines_too_far_apart_for_their_points_are_one_large_step():
    assert widest_step(LINES) == pytest.approx(3.0)
    assert RecordedPositions(points_um=LINES.tolist()).step_um == pytest.approx(3.0)
    assert typical_step(LINES) == pytest.approx(0.1)


@pytest.mark.parametrize("step", [widest_step, typical_step])
def test_a_grid_visited_twice_keeps_its_step(step):
    grid = np.argwhere(np.ones((5, 6))) * 0.2
    assert step(np.concatenate([grid, grid])) == pytest.approx(0.2)


@pytest.mark.parametrize("step", [widest_step, typical_step])
def test_one_place_has_no_step(step):
    assert step(np.ones((3, 2))) == 0


@given(
    hnp.arrays(float, st.tuples(st.integers(2, 40), st.just(2)), elements=st.integers(-9, 9).map(float)),
    st.floats(1e-6, 1e3),
)
def test_the_widest_step_is_the_last_that_single_linkage_makes(points, scale):
    places = np.unique(points, axis=0)
    expected = linkage(pdist(places), "single")[-1, 2] if len(places) > 1 else 0.0
    assert widest_step(points * scale) == pytest.approx(expected * scale)


def test_the_published_rings_hang_together_over_their_step():
    rings = ConcentricRings()
    assert rings.step_um == pytest.approx(0.2513, abs=1e-4)
    assert 0.2 < widest_step(rings.offsets_um()) <= rings.step_um


@pytest.mark.parametrize("trajectory", [ConcentricRings(), RecordedPositions(points_um=((0.0, 1.0),))])
def test_json_round_trip(trajectory):
    adapter = TypeAdapter(Trajectory)
    assert adapter.validate_json(adapter.dump_json(trajectory)) == trajectory


def test_a_raster_goes_there_and_back_about_its_centre():
    raster = Raster(step_um=2.0, height_um=2.0, width_um=4.9)
    assert raster.shape == (2, 3)
    points = [(-1, -2), (-1, 0), (-1, 2), (1, 2), (1, 0), (1, -2)]
    np.testing.assert_allclose(raster.offsets_um(), points)
    image = raster.image(raster.offsets_um())
    np.testing.assert_allclose(image[..., 1], [[-2, 0, 2]] * 2)
    np.testing.assert_allclose(image[..., 0], [[-1] * 3, [1] * 3])


@given(step=st.floats(0.05, 3), height=st.floats(0, 10), width=st.floats(0, 10))
def test_a_raster_fills_its_bounds(step, height, width):
    raster = Raster(step_um=step, height_um=height, width_um=width)
    points = raster.offsets_um()
    assert len(np.unique(points.round(9), axis=0)) == len(points) == np.prod(raster.shape)
    assert (np.ptp(points, axis=0) <= np.array([height, width]) + 1e-6).all()
    assert (np.ptp(points, axis=0) > np.array([height, width]) - step - 1e-6).all()
    np.testing.assert_allclose(points.mean(axis=0), 0, atol=1e-9)


def test_a_raster_in_another_unit_is_refused():
    with pytest.raises(InputError, match="is the step in micrometres"):
        Raster(step_um=1e-3)
