import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import constants
from scipy.ndimage import gaussian_filter

from ptycho_plugin.errors import InputError
from ptycho_plugin.io import read_dataset
from ptycho_plugin.io.cxi import _mask
from ptycho_plugin.postprocess.registration import find_shift

DETECTOR = "entry_1/instrument_1/detector_1"
SOURCE = "entry_1/instrument_1/source_1"
TRANSLATION = "entry_1/sample_1/geometry_1/translation"
PIXEL = 172e-6


@pytest.fixture
def cxi_file(tmp_path, small_scan):
    path = tmp_path / "scan.cxi"
    with h5py.File(path, "w") as file:
        file["cxi_version"] = 160
        file[f"{SOURCE}/energy"] = 6200 * constants.e
        file[f"{DETECTOR}/distance"] = 2.236
        file[f"{DETECTOR}/data"] = small_scan.frames
        file[f"{DETECTOR}/x_pixel_size"] = PIXEL
        file[f"{DETECTOR}/y_pixel_size"] = PIXEL
        file["entry_1/data_1/data"] = h5py.SoftLink(f"/{DETECTOR}/data")
        # The sample goes down and, seen along the beam, right: x points left in this frame.
        file[TRANSLATION] = np.column_stack([-small_scan.positions[:, ::-1], np.zeros(12)])
    return path


def _change(path, name, values):
    with h5py.File(path, "r+") as file:
        if name in file:
            del file[name]
        if values is not None:
            file[name] = values


def test_units_become_ours(cxi_file, small_scan):
    scan = read_dataset(cxi_file)
    assert scan.geometry.energy_eV == pytest.approx(6200, rel=1e-9)
    assert scan.geometry.distance == 2.236
    assert scan.geometry.detector_pixel == PIXEL
    assert np.array_equal(scan.frames, small_scan.frames)
    assert scan.probe is None


def test_a_sample_that_moves_along_the_rows_moves_the_probe_the_other_way(cxi_file):
    # Rows run down (-y): a sample that goes down takes the probe up on it, to smaller rows.
    translation = np.zeros((12, 3))
    translation[:, 1] = -200e-9 * np.arange(12)
    translation[:, 0] = 100e-9 * np.arange(12)
    _change(cxi_file, TRANSLATION, translation)
    positions = read_dataset(cxi_file).positions
    np.testing.assert_allclose(positions[:, 0], -200e-9 * np.arange(12))
    np.testing.assert_allclose(positions[:, 1], 100e-9 * np.arange(12))


@pytest.mark.parametrize("layout", [np.asarray, np.transpose])
def test_basis_vectors_turn_the_positions(cxi_file, layout):
    without = read_dataset(cxi_file).positions
    rotated = np.array([[-PIXEL, 0, 0], [0, -PIXEL, 0]])
    _change(cxi_file, f"{DETECTOR}/basis_vectors", layout(rotated))
    np.testing.assert_allclose(read_dataset(cxi_file).positions, without[:, ::-1])


@given(bits=st.integers(0, 2**31 - 1))
def test_only_a_signal_above_background_does_not_exclude_a_pixel(bits):
    with h5py.File("mask.cxi", "w", driver="core", backing_store=False) as file:
        file[f"{DETECTOR}/mask"] = np.full((2, 2), bits, np.uint32)
        assert _mask(file, (1, 2, 2)).all() == (bits in (0, 0x1000))


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        (f"{DETECTOR}/distance", None, "lacks 'entry_1/instrument_1/detector_1/distance'"),
        (f"{DETECTOR}/data", None, "detector_1/data' and 'entry_1/data_1/data': one of them"),
        (f"{DETECTOR}/x_pixel_size", None, "lacks '.*/x_pixel_size'"),
        (f"{DETECTOR}/x_pixel_size", 2 * PIXEL, "square ones"),
        (f"{DETECTOR}/basis_vectors", np.zeros((12, 2, 3)), "does not move"),
        (f"{DETECTOR}/mask", np.zeros((3, 3), np.uint32), "'mask' has shape"),
        (f"{SOURCE}/energy", 6200.0, "is its unit right"),
        (f"{SOURCE}/energy", None, "lacks '.*/wavelength'"),
        (SOURCE, None, "source_1"),
        (TRANSLATION, None, "translation'"),
        (TRANSLATION, np.zeros((3, 12)), "expected \\(frame, 3\\)"),
        (TRANSLATION, np.zeros((11, 3)), "12 frames but positions"),
        (TRANSLATION, np.zeros((12, 3)), "one single place"),
    ],
)
def test_what_makes_no_sense_is_refused(cxi_file, name, values, message):
    _change(cxi_file, name, values)
    with pytest.raises(InputError, match=message):
        read_dataset(cxi_file)


def test_the_wavelength_will_do(cxi_file):
    _change(cxi_file, f"{SOURCE}/energy", None)
    _change(cxi_file, f"{SOURCE}/wavelength", 2e-10)
    assert read_dataset(cxi_file).geometry.wavelength == pytest.approx(2e-10)


def test_a_real_file_s_features_move_with_the_positions(shared_data):
    """In a projection the frame shows the sample: neighbours in the scan differ by their shift."""
    scan = read_dataset(shared_data / "petra_p25_nearfield.cxi")
    assert scan.geometry.energy_eV == pytest.approx(12658, abs=1)
    assert int((~scan.mask).sum()) == 5
    positions_px = scan.positions / 178.66e-9  # magnification 307.85, see the data's README
    flat = scan.frames.mean(axis=0)
    lit = flat > 0.1 * flat.mean()
    contrast = np.where(lit, scan.frames / np.where(lit, flat, 1), 1)
    moved, seen = [], []
    for first in range(0, 200, 5):
        second = np.argsort(np.hypot(*(positions_px - positions_px[first]).T))[1]
        smooth = [gaussian_filter(contrast[frame], 1) for frame in (first, second)]
        moved.append(positions_px[second] - positions_px[first])
        seen.append(find_shift(smooth[0], smooth[1], upsampling=10))
    slope = np.linalg.lstsq(np.array(moved), np.array(seen))[0]
    np.testing.assert_allclose(slope, np.eye(2), atol=0.1)
