"""Raw frames and stage readings become one scan in scattering orientation."""

import numpy as np
import pytest

from ptycho_plugin.errors import InputError
from ptycho_plugin.geometry import Geometry
from ptycho_plugin.measurement import Measurement, planned_positions
from ptycho_plugin.metadata import ScanMetadata
from ptycho_plugin.optics import ZonePlate
from ptycho_plugin.orientation import DetectorOrientation, PositionSign
from ptycho_plugin.trajectory import RecordedPositions

SHAPE = (30, 34)
BEAM = (14, 16)


def metadata(**changes: object) -> ScanMetadata:
    return ScanMetadata.model_validate(
        {
            "geometry": Geometry(energy_eV=6200, distance=2.0, detector_pixel=172e-6, frame_side=8),
            "beam_centre_px": BEAM,
            "frame_key": "image",
            "position_keys": ("y", "x"),
            "trajectory": RecordedPositions(points_um=((0.0, 0.0), (1.0, 2.0))),
            "centre_um": (10.0, 20.0),
            "exposure_s": 0.1,
            "probe": ZonePlate(),
            **changes,
        }
    )


@pytest.mark.parametrize("orientation", list(DetectorOrientation))
def test_frames_and_mask_turn_alike(orientation: DetectorOrientation) -> None:
    frame = np.arange(SHAPE[0] * SHAPE[1], dtype=np.int32).reshape(1, *SHAPE)
    beam_value = frame[0][BEAM]
    valid = np.ones(SHAPE, bool)
    valid[BEAM[0] + 1, BEAM[1] + 2] = False
    masked_value = frame[0, BEAM[0] + 1, BEAM[1] + 2]
    measurement = Measurement(metadata(orientation=orientation), SHAPE, valid)
    scan = measurement.dataset(frame[:, *measurement.window], [(0, 0)])
    assert scan.frames[0, 4, 4] == beam_value
    assert scan.frames[0][~scan.mask] == [masked_value]
    assert (scan.intensities()[0] == -1).sum() == 1


@pytest.mark.parametrize("mark", [-1, -2, 2**20 - 1, 2**31 - 1])
def test_marks_are_not_counts(mark: int) -> None:
    measurement = Measurement(metadata(), SHAPE)
    frames = np.full((2, 8, 8), 5, np.int32)
    frames[1, 2, 3] = mark
    scan = measurement.dataset(frames, [(0, 0), (1, 1)])
    measured = scan.intensities()
    assert measured[1, 2, 3] == -1
    assert (measured == 5).sum() == measured.size - 1


def test_other_negative_counts_are_refused() -> None:
    frames = np.full((1, 8, 8), -7, np.int32)
    with pytest.raises(InputError, match="counts -7"):
        Measurement(metadata(), SHAPE).dataset(frames, [(0, 0)])


@pytest.mark.parametrize(("sign", "factor"), [(PositionSign.PROBE, 1), (PositionSign.SAMPLE, -1)])
def test_planned_and_measured_positions_are_probe_positions_in_metres(
    sign: PositionSign, factor: int
) -> None:
    scan = metadata(position_sign=sign)
    expected = factor * np.array([[10e-6, 20e-6], [11e-6, 22e-6]])
    np.testing.assert_allclose(planned_positions(scan), expected)
    measured = Measurement(scan, SHAPE).dataset(np.ones((2, 8, 8)), [(10, 20), (11, 22)])
    np.testing.assert_allclose(measured.positions, expected)


def test_a_crop_beyond_the_detector_is_refused() -> None:
    with pytest.raises(InputError, match="leaves"):
        Measurement(metadata(beam_centre_px=(2.0, 16.0)), SHAPE)
