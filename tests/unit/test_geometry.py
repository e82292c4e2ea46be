"""The published experiment's numbers follow from its geometry."""

import pytest
from pydantic import ValidationError

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
