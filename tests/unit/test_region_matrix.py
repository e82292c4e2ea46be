"""The regions of a series lie where the protocol says."""

import pytest

from ptycho_plugin.errors import InputError
from ptycho_plugin.region_matrix import RegionMatrix


def test_the_default_is_the_published_protocol():
    places = list(RegionMatrix().places((10.0, -20.0)))
    assert [place.area + place.region for place in places] == [a + r for a in "12" for r in "ABCDE"]
    assert places[0].stage_um == (10.0, -20.0)
    assert places[4].stage_um == (10.0, 180.0)
    assert places[5].stage_um == (10.0, 6980.0)
    assert places[9].stage_um == (10.0, 7180.0)
    assert RegionMatrix().repeats == 5


def test_steps_go_along_rows_and_columns():
    matrix = RegionMatrix(areas=("left",), regions=("A", "B"), region_step_um=(1.5, -2.0))
    assert [place.stage_um for place in matrix.places((0.0, 0.0))] == [(0.0, 0.0), (1.5, -2.0)]


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("areas", (), "areas"),
        ("regions", ("A", "B", "A"), "have a name twice"),
        ("regions", ("",), r"regions\.0"),
        ("repeats", 0, "repeats"),
        ("region_step_um", (0.0, 0.0), "to the same place"),
        ("area_step_um", (0.0, 100.0), "to the same place"),
        ("reach_um", 0.0, "reach_um"),
        ("first_um", (float("nan"), 0.0), "first_um"),
        ("spacing", 50.0, "RegionMatrix has no spacing"),
    ],
)
def test_what_makes_no_matrix_is_named(field, value, said):
    with pytest.raises(InputError, match=said):
        RegionMatrix(**{field: value})


def test_one_region_needs_no_step():
    RegionMatrix(areas=("1",), regions=("A",), area_step_um=(0, 0), region_step_um=(0, 0))
