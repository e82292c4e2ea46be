"""Which stored probe a scan may use."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from ptycho_plugin.errors import InputError
from ptycho_plugin.geometry import Geometry
from ptycho_plugin.optics import ZonePlate
from ptycho_plugin.publishing.calibrations import ProbeRecord, fit_probe

GEOMETRY = Geometry(energy_eV=6200, distance=2.236, detector_pixel=172e-6, frame_side=64)
NOW = datetime(2025, 6, 1, 12, tzinfo=UTC)
RECORD = ProbeRecord("p1", ZonePlate().probe(GEOMETRY), GEOMETRY, None, NOW - timedelta(hours=3), {})


def test_the_same_geometry_gets_the_probe_as_it_is() -> None:
    probe, warnings = fit_probe(RECORD, GEOMETRY, when=NOW)
    np.testing.assert_array_equal(probe, RECORD.probe)
    assert warnings == ()


def test_another_crop_gets_it_resampled() -> None:
    probe, _ = fit_probe(RECORD, GEOMETRY.with_frame_side(48), when=NOW)
    assert probe.shape == (1, 48, 48)


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"energy_eV": 6210.0}, "energy"),
        ({"distance": 2.26}, "distance"),
        ({"detector_pixel": 75e-6}, "window"),
    ],
)
def test_another_beam_or_detector_is_refused(change: dict[str, float], name: str) -> None:
    with pytest.raises(InputError, match=f"stored probe has {name}"):
        fit_probe(RECORD, GEOMETRY.model_copy(update=change), when=NOW)


def test_a_tiny_difference_is_none() -> None:
    fit_probe(RECORD, GEOMETRY.model_copy(update={"energy_eV": 6201.0, "distance": 2.238}), when=NOW)


def test_an_old_probe_comes_with_a_warning() -> None:
    _, warnings = fit_probe(RECORD, GEOMETRY, max_age=timedelta(hours=2), when=NOW)
    assert len(warnings) == 1
    assert "3 h old" in warnings[0]
