import pytest

from ptycho_plugin.errors import InputError
from ptycho_plugin.simulation.controls import Controls, check_exposure


def test_an_unknown_axis_is_named():
    with pytest.raises(InputError, match="no axis 'theta'"):
        Controls().move("theta", 1.0)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_place_must_be_a_number(value):
    with pytest.raises(InputError, match="stage_row"):
        Controls().move("stage_row", value)


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan")])
def test_a_transmission_is_a_part(value):
    with pytest.raises(InputError, match="transmission"):
        Controls().set_transmission(value)


@pytest.mark.parametrize("exposure_s", [0.0, -1.0, float("nan"), float("inf")])
def test_an_exposure_takes_time(exposure_s):
    with pytest.raises(InputError, match="exposure"):
        check_exposure(exposure_s)
