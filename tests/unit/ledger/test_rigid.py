"""A rigid transform is found from its marks."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ptycho_plugin.ledger.rigid import RigidTransform, find_transform

COORDINATE = st.floats(-1e4, 1e4)
POINT = st.tuples(COORDINATE, COORDINATE)
ANGLE = st.floats(-3.1, 3.1)


def transform_of(angle: float, shift: tuple[float, float]) -> RigidTransform:
    return RigidTransform(complex(np.exp(1j * angle)), complex(*shift))


@given(ANGLE, POINT, st.lists(POINT, min_size=2, max_size=5))
def test_exact_marks_give_the_transform_back(angle, shift, stage):
    assume(np.ptp(np.array(stage), axis=0).max() > 10)
    truth = transform_of(angle, shift)
    found, residual = find_transform(stage, [truth.to_sample(point) for point in stage])
    assert residual < 1e-6
    assert abs(found.rotation - truth.rotation) < 1e-6
    for point in stage:
        np.testing.assert_allclose(found.to_sample(point), truth.to_sample(point), atol=1e-6)


@given(ANGLE, POINT, POINT)
def test_there_and_back_is_the_identity(angle, shift, point):
    transform = transform_of(angle, shift)
    np.testing.assert_allclose(transform.to_stage(transform.to_sample(point)), point, atol=1e-8)


def test_the_angle_goes_from_rows_to_columns():
    quarter = transform_of(np.pi / 2, (0, 0))
    assert quarter.angle == pytest.approx(np.pi / 2)
    np.testing.assert_allclose(quarter.to_sample((1, 0)), (0, 1), atol=1e-15)
    np.testing.assert_allclose(quarter.to_sample((0, 1)), (-1, 0), atol=1e-15)


def test_what_marks_miss_is_their_root_mean_square_distance():
    """Two marks 10 um apart that should be 12: each is 1 um off, whatever the transform."""
    _, residual = find_transform([(0, 0), (10, 0)], [(0, 0), (0, 12)])
    assert residual == pytest.approx(1)


@pytest.mark.parametrize("marks", [[(1.0, 2.0)], [(1.0, 2.0), (1.0, 2.0)]])
def test_marks_that_give_no_angle_are_refused(marks):
    with pytest.raises(ValueError, match="two marks or more"):
        find_transform(marks, marks)
