"""The published experiment's numbers follow from its geometry."""

import pytest
from pydantic import ValidationError

from ptycho_plugin.errors import InputError
from ptycho_plugin.geometry import Geometry

PUBLISHED = Geometry.from_wavelength(0.2e-9, distance=2.236, detector_pixel=172e-6, frame_side=192)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (PUBLISHED.energy_eV, 6199.21),
        (PUBLISHED.object_pixel, 13.54e-9),
        (PUBLISHED.numerical_aperture, 7.4e-3),
        (PUBLISHED.full_period_resolution, 27e-9),
        (PUBLISHED.illuminated_field, 2.60e-6),
        (PUBLISHED.oversampling(450e-9), 2.9),
        (PUBLISHED.depth_of_focus(27e-9), 19e-6),
    ],
)
def test_published_figures(value, expected):
    assert value == pytest.approx(expected, rel=5e-3)


def test_wavelength_round_trip():
    assert PUBLISHED.wavelength == pytest.approx(0.2e-9, rel=1e-12)


def test_a_smaller_crop_has_larger_pixels_and_the_same_field():
    half = PUBLISHED.with_frame_side(96)
    assert half.object_pixel == pytest.approx(2 * PUBLISHED.object_pixel)
    assert half.illuminated_field == pytest.approx(PUBLISHED.illuminated_field)


@pytest.mark.parametrize("field", ["energy_eV", "distance", "detector_pixel", "frame_side"])
def test_nonsense_is_refused(field):
    with pytest.raises(ValidationError, match=field):
        Geometry.model_validate(PUBLISHED.model_dump() | {field: -1})


@pytest.mark.parametrize(
    ("slip", "sentence"),
    [
        (
            {"energy_eV": 6.2},
            "energy_eV = 6.2 cannot be used: give electronvolts, e.g. 6200, between 100 and",
        ),
        ({"energy_eV": 6.2e6}, "give electronvolts"),
        ({"energy_eV": float("nan")}, "energy_eV = nan cannot be used: Input should be a finite number"),
        ({"distance": 2236}, "distance = 2236 cannot be used: give metres, e.g. 2.236"),
        ({"detector_pixel": 172}, "detector_pixel = 172 cannot be used: give metres, e.g. 172e-6"),
        ({"detector_pixel": 172e-9}, "give metres, e.g. 172e-6, between 1e-06 and 0.001"),
    ],
)
def test_a_slip_of_the_unit_is_refused(slip, sentence):
    with pytest.raises(InputError, match=sentence):
        Geometry(**PUBLISHED.model_dump() | slip)


def test_a_near_field_is_seen_magnified():
    """The PETRA III P25 scan: 3.65 mm behind the focus, 1.12 m before the detector."""
    far = Geometry(energy_eV=12658.0, distance=1.12, detector_pixel=55e-6, frame_side=100)
    near = far.in_near_field(3.65e-3)
    assert near.magnification == pytest.approx(307.85, rel=1e-5)
    assert near.object_pixel == pytest.approx(178.66e-9, rel=1e-5)
    assert near.effective_distance == pytest.approx(3.638e-3, rel=1e-4)
    assert near.illuminated_field == pytest.approx(100 * near.object_pixel)
    assert (far.magnification, far.effective_distance) == (1.0, 1.12)
    assert Geometry.model_validate_json(near.model_dump_json()) == near
    with pytest.raises(InputError, match=r"focus_to_sample.*metres"):
        far.in_near_field(3650.0)
