"""A scan in memory is checked once, at the border."""

import numpy as np
import pytest

from ptycho_plugin.dataset import NOT_MEASURED, PtychoDataset
from ptycho_plugin.errors import InputError
from ptycho_plugin.geometry import Geometry

GEOMETRY = Geometry(energy_eV=6200, distance=2.0, detector_pixel=172e-6, frame_side=8)


def scan(**changes):
    fields = {
        "frames": np.ones((3, 8, 8), np.uint16),
        "positions": np.zeros((3, 2)),
        "mask": np.ones((8, 8), bool),
        "geometry": GEOMETRY,
        "probe": np.ones((1, 8, 8), np.complex64),
    }
    return PtychoDataset(**(fields | changes))


def test_masked_pixels_are_not_measured():
    mask = np.ones((8, 8), bool)
    mask[2, 3] = False
    intensities = scan(mask=mask).intensities()
    assert intensities.dtype == np.float32
    assert (intensities[:, 2, 3] == NOT_MEASURED).all()
    assert (np.delete(intensities.reshape(3, -1), 2 * 8 + 3, axis=1) == 1).all()


def test_a_mask_may_differ_from_frame_to_frame():
    mask = np.ones((3, 8, 8), bool)
    mask[1, 0, 0] = False
    np.testing.assert_array_equal(scan(mask=mask).intensities()[:, 0, 0], [1, NOT_MEASURED, 1])


def test_a_masked_pixel_may_hold_anything():
    frames = np.ones((3, 8, 8), np.float32)
    frames[:, 0, 0] = np.nan
    mask = np.ones((8, 8), bool)
    mask[0, 0] = False
    assert np.isfinite(scan(frames=frames, mask=mask).intensities()).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"frames": np.ones((3, 8, 9))}, "frames have shape"),
        ({"frames": np.ones((0, 8, 8)), "positions": np.zeros((0, 2))}, "no frame"),
        ({"positions": np.zeros((2, 2))}, "3 frames but positions"),
        ({"positions": np.full((3, 2), np.nan)}, "position of frame 0"),
        ({"mask": np.ones((4, 8), bool)}, "mask has shape"),
        ({"mask": np.zeros((8, 8), bool)}, "every pixel"),
        ({"frames": np.full((3, 8, 8), np.nan)}, "counts nan"),
        ({"frames": np.full((3, 8, 8), -5)}, "counts -5"),
        ({"probe": np.ones((8, 8), np.complex64)}, "probe has shape"),
        ({"probe": np.zeros((1, 8, 8), np.complex64)}, "empty"),
    ],
)
def test_what_cannot_be_used_is_refused(changes, message):
    with pytest.raises(InputError, match=message):
        scan(**changes)


def test_a_scan_prints_on_one_line():
    assert repr(scan(source="scan.h5")) == (
        "<PtychoDataset from scan.h5, 3 frames of 8 x 8, 6200 eV, with start probe>"
    )
    assert "without start probe" in repr(scan(probe=None))


def test_joined_repeats_are_one_scan_with_the_first_probe():
    first = scan(source="A1", remarks=("dim",))
    again = scan(
        frames=np.full((2, 8, 8), 2), positions=np.ones((2, 2)), source="A2", remarks=("dim", "late")
    )
    joined = PtychoDataset.joined([first, again.with_probe(2 * first.probe)])
    np.testing.assert_array_equal(joined.frames[:, 0, 0], [1, 1, 1, 2, 2])
    np.testing.assert_array_equal(joined.positions[:, 0], [0, 0, 0, 1, 1])
    np.testing.assert_array_equal(joined.probe, first.probe)
    assert (joined.source, joined.remarks) == ("A1 + A2", ("dim", "late"))


def test_masks_of_frames_are_joined_with_them():
    mask = np.ones((3, 8, 8), bool)
    mask[1, 0, 0] = False
    assert PtychoDataset.joined([scan(), scan()]).mask.shape == (8, 8)
    joined = PtychoDataset.joined([scan(mask=mask), scan(mask=mask)])
    np.testing.assert_array_equal(joined.mask[:, 0, 0], [True, False, True] * 2)


FARTHER = GEOMETRY.model_copy(update={"distance": 2.1})
OTHER_MASK = np.ones((8, 8), bool)
OTHER_MASK[1, 1] = False


@pytest.mark.parametrize(
    ("repeats", "message"),
    [
        ([], "no scan to join"),
        (
            [{}, {"geometry": GEOMETRY.model_copy(update={"distance": 2.1})}],
            "B: its geometry .* join repeats",
        ),
        ([{}, {"mask": OTHER_MASK}], "B: its mask is not that of A"),
        ([{}, {"mask": np.ones((3, 8, 8), bool)}], "B: its mask is not that of A"),
    ],
)
def test_scans_of_different_measurements_are_not_joined(repeats, message):
    scans = [scan(source=name, **changes) for name, changes in zip("AB", repeats, strict=False)]
    with pytest.raises(InputError, match=message):
        PtychoDataset.joined(scans)
