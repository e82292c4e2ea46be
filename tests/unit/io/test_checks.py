from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ptycho_plugin.dataset import PtychoDataset
from ptycho_plugin.errors import InputError
from ptycho_plugin.geometry import Geometry
from ptycho_plugin.io import checks

GEOMETRY = Geometry(energy_eV=6200.0, distance=2.236, detector_pixel=172e-6, frame_side=16)

DTYPES = st.sampled_from([np.uint8, np.uint16, np.int16, np.uint32, np.int32, np.int64, np.float32])
INTERESTING = [-2, -1, 0, 1, 7, 255, 32767, 65535, 2**20 - 2, 2**20 - 1, 2**20, 2**31 - 1, 2**32 - 1]


def _scan(step: float = 1e-6) -> PtychoDataset:
    """Twelve frames on a 3 x 4 grid."""
    rows, columns = np.meshgrid(np.arange(3.0), np.arange(4.0), indexing="ij")
    positions = np.stack([rows, columns], axis=-1).reshape(-1, 2) * step
    return PtychoDataset(np.ones((12, 16, 16)), positions, np.ones((16, 16), bool), GEOMETRY)


@st.composite
def stacks(draw):
    dtype = np.dtype(draw(DTYPES))
    if dtype.kind == "f":
        values = st.sampled_from([-2.0, -1.0, 0.0, 0.5, 2.0**20 - 1])
    else:
        limits = np.iinfo(dtype)
        values = st.sampled_from([v for v in INTERESTING if limits.min <= v <= limits.max])
    return draw(hnp.arrays(dtype, (3, 4, 4), elements=values, fill=values))


@given(stacks(), hnp.arrays(bool, (4, 4)))
def test_marks_and_nothing_else_become_mask(frames, mask):
    valid, remarks = checks.mask_marks("scan.h5", frames, mask)

    integer = frames.dtype.kind in "iu"
    marked = (frames == -1) | (frames == -2) if frames.dtype.kind != "u" else np.zeros(frames.shape, bool)
    if integer:
        marked |= frames == np.iinfo(frames.dtype).max
    if integer and frames.dtype.itemsize >= 4:
        marked |= frames == 2**20 - 1
    assert np.array_equal(np.broadcast_to(valid, frames.shape), mask & ~marked)
    newly = int((marked & mask).sum())
    assert len(remarks) == (newly > 0)
    assert all(f"masked {newly} detector marks" in remark for remark in remarks)


def test_marks_that_stay_in_place_leave_one_mask_for_all_frames():
    frames = np.zeros((5, 8, 8), np.int32)
    frames[:, 2, 3] = -1
    assert checks.mask_marks("scan.h5", frames, np.ones((8, 8), bool))[0].shape == (8, 8)
    frames[1, 4, 4] = 2**20 - 1
    assert checks.mask_marks("scan.h5", frames, np.ones((8, 8), bool))[0].shape == (5, 8, 8)


def test_the_remark_says_how_many_of_which():
    frames = np.zeros((2, 8, 8), np.int32)
    frames[:, 0, :3] = -1
    frames[0, 1, 1] = 2**20 - 1
    _, remarks = checks.mask_marks("scan.h5", frames, np.ones((8, 8), bool))
    assert remarks == ("masked 7 detector marks in 2 frames (6 of -1, 1 of 1048575)",)


@pytest.mark.parametrize(
    ("factor", "unit"),
    [
        (1e3, "look like millimetres$"),
        (1e6, "look like micrometres$"),
        (1e9, "look like nanometres$"),
        (1 / GEOMETRY.object_pixel, "look like object pixels$"),
        (1e-6, "micrometres converted to metres twice"),
        (0.0, "one single place"),
        (0.1, "too small or too wide"),
        (15, "too small or too wide"),
        (100, "expected, these look like"),
    ],
)
def test_a_wrong_unit_is_refused_by_name(factor, unit):
    with pytest.raises(InputError, match=unit):
        checks.check_scan_size(_scan(step=200e-9 * factor))


@given(step=st.floats(60e-9, 2.5e-6))
def test_a_scan_in_metres_passes_whatever_its_step(step):
    checks.check_scan_size(_scan(step))


@pytest.mark.parametrize("count", [1, 2])
def test_stray_positions_are_named(count):
    scan = _scan(100e-9)
    positions = scan.positions.copy()
    positions[7, 1] = 0.05
    positions[7 + count - 1, 1] = 0.05 - (count - 1) * 1e-6
    with pytest.raises(InputError, match=r"frame 7 at \(1e-07, 0\.05\) m is beyond a gap of 0\.05 m"):
        checks.check_scan_size(replace(scan, positions=positions))


@given(
    shift=hnp.arrays(float, 2, elements=st.floats(-500, 500)),
    off=hnp.arrays(float, (12, 2), elements=st.floats(-0.99, 0.99)),
)
def test_pixel_positions_may_share_a_shift_and_differ_by_a_pixel(shift, off):
    scan = _scan()
    checks.check_positions_px(scan, scan.positions / scan.geometry.object_pixel + shift + off)


@pytest.mark.parametrize("bad", [np.nan, 2.5])
def test_pixel_positions_that_disagree_are_refused(bad):
    scan = _scan()
    positions_px = scan.positions / scan.geometry.object_pixel
    positions_px[3, 1] += bad
    with pytest.raises(InputError, match="differ by up to"):
        checks.check_positions_px(scan, positions_px)


def test_exchanged_axes_of_pixel_positions_are_refused():
    scan = _scan()
    with pytest.raises(InputError, match="differ by up to"):
        checks.check_positions_px(scan, scan.positions[:, ::-1] / scan.geometry.object_pixel)


def test_pixel_positions_of_another_number_are_refused():
    scan = _scan()
    with pytest.raises(InputError, match="same number"):
        checks.check_positions_px(scan, scan.positions[:-1] / scan.geometry.object_pixel)


def test_an_object_pixel_that_the_geometry_does_not_give_is_refused():
    scan = _scan()
    checks.check_object_pixel(scan, scan.geometry.object_pixel * 1.02)
    for wrong in (0.9, 1.1, np.nan):
        with pytest.raises(InputError, match="one of the four is wrong"):
            checks.check_object_pixel(scan, scan.geometry.object_pixel * wrong)
