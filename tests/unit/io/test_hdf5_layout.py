import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ptycho_plugin.dataset import PtychoDataset
from ptycho_plugin.errors import InputError
from ptycho_plugin.geometry import Geometry
from ptycho_plugin.io import read_dataset, write_dataset

CORNER = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0]])


@pytest.fixture
def scan_file(tmp_path, small_scan):
    path = tmp_path / "scan.h5"
    write_dataset(path, small_scan)
    return path


def _change(path, name, values):
    with h5py.File(path, "r+") as file:
        if name in file:
            del file[name]
        if values is not None:
            file[name] = values


@given(
    frames=hnp.arrays(np.uint16, (3, 8, 8), elements=st.integers(0, 2**16 - 2)),
    mask=hnp.arrays(bool, st.sampled_from([(8, 8), (3, 8, 8)])).filter(np.any),
    positions=hnp.arrays(float, (3, 2), elements=st.floats(0, 0.5)).map(CORNER.__add__),
    probe=st.none() | hnp.arrays(np.complex64, (2, 8, 8), elements=st.just(1 + 2j)),
    energy_eV=st.floats(100, 1e5),
    focus=st.none() | st.floats(1e-4, 1e-2),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_round_trip(tmp_path, frames, mask, positions, probe, energy_eV, focus):
    geometry = Geometry(energy_eV=energy_eV, distance=1.9, detector_pixel=75e-6, frame_side=8)
    geometry = geometry.model_copy(update={"focus_to_sample": focus})
    positions = positions * 2 * geometry.object_pixel
    written = PtychoDataset(frames, positions, mask, geometry, probe)
    path = tmp_path / "scan.h5"
    write_dataset(path, written)
    read = read_dataset(path)
    assert np.array_equal(read.frames, frames)
    assert read.frames.dtype == frames.dtype
    assert np.array_equal(read.positions, positions)
    assert np.array_equal(read.mask, mask)
    assert read.geometry == geometry
    assert (read.probe is None) if probe is None else np.array_equal(read.probe, probe)
    assert read.remarks == ()


@pytest.mark.parametrize("name", ["positions", "distance", "det_pixel_size"])
def test_a_missing_dataset_is_named(scan_file, name):
    _change(scan_file, name, None)
    with pytest.raises(InputError, match=f"scan.h5 lacks '{name}'"):
        read_dataset(scan_file)


def test_all_missing_datasets_are_named_at_once(scan_file):
    _change(scan_file, "positions", None)
    _change(scan_file, "distance", None)
    with pytest.raises(InputError, match="lacks 'positions', 'distance'"):
        read_dataset(scan_file)


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("diffraction", np.zeros((12, 16, 18)), "crop them to a square"),
        ("diffraction", np.zeros((16, 16)), r"expected \(frame, row, column\)"),
        ("diffraction", np.full((12, 16, 16), np.nan), "counts nan"),
        ("diffraction", np.full((12, 16, 16), -3), "counts -3"),
        ("diffraction", np.full((12, 16, 16), -1), "excludes every pixel"),
        ("diffraction", np.zeros((11, 16, 16)), "11 frames but positions of shape"),
        ("diffraction", np.zeros((0, 16, 16)), "there is no frame"),
        ("diffraction", np.zeros((12, 4, 4)), "frame_side = 4 cannot be used"),
        ("diffraction", b"text", "not a dataset of the expected numbers"),
        ("positions", np.zeros((2, 12)), "one \\(row, column\\) for each frame"),
        ("positions", np.full((12, 2), np.nan), "not a finite number"),
        ("positions_px", np.zeros((11, 2)), "same number"),
        ("positions_px", np.arange(24.0).reshape(12, 2) * 9, "differ by up to"),
        ("object_pixel_size", 1e-8, "one of the four is wrong"),
        ("energy_eV", 6.2, "is its unit right"),
        ("energy_eV", [6200.0, 6200.0], "holds 2 values"),
        ("energy_eV", None, "lacks 'energy_eV' and 'wavelength'"),
        ("wavelength", 1e-10, "'wavelength' means 12398"),
        ("distance", np.nan, "is its unit right"),
        ("det_pixel_size", 172.0, "is its unit right"),
        ("mask", np.ones((8, 8)), "'mask' has shape"),
        ("probe0", np.ones((1, 8, 8), np.complex64), "probe has shape"),
        ("probe0", np.zeros((1, 16, 16), np.complex64), "start probe is empty"),
    ],
)
def test_what_makes_no_sense_is_refused(scan_file, name, values, message):
    _change(scan_file, name, values)
    with pytest.raises(InputError, match=message):
        read_dataset(scan_file)


def test_a_group_in_a_dataset_s_place_is_refused(scan_file):
    with h5py.File(scan_file, "r+") as file:
        del file["positions"]
        file.create_group("positions")
    with pytest.raises(InputError, match="not a dataset of the expected numbers"):
        read_dataset(scan_file)


def test_positions_in_another_unit_by_their_own_word_are_refused(scan_file):
    with h5py.File(scan_file, "r+") as file:
        file["positions"].attrs["units"] = "um"
    with pytest.raises(InputError, match="'positions' is in 'um', expected 'm'"):
        read_dataset(scan_file)


def test_a_nan_that_the_mask_excludes_is_no_count(scan_file, small_scan):
    frames = small_scan.frames.astype(np.float32)
    frames[2, 5, 6] = np.nan
    mask = np.ones((16, 16), np.uint8)
    mask[5, 6] = 0
    _change(scan_file, "diffraction", frames)
    _change(scan_file, "mask", mask)
    assert not read_dataset(scan_file).mask[5, 6]


def test_without_mask_and_probe_all_pixels_count(scan_file):
    _change(scan_file, "mask", None)
    _change(scan_file, "probe0", None)
    scan = read_dataset(scan_file)
    assert scan.mask.all()
    assert scan.probe is None


def test_the_wavelength_will_do(scan_file, small_scan):
    _change(scan_file, "energy_eV", None)
    _change(scan_file, "wavelength", small_scan.geometry.wavelength)
    assert read_dataset(scan_file).geometry.energy_eV == pytest.approx(6200.0, rel=1e-12)


def test_a_probe_without_modes_gets_one(scan_file, small_scan):
    _change(scan_file, "probe0", small_scan.probe[0])
    assert read_dataset(scan_file).probe.shape == (1, 16, 16)


def test_the_truth_is_never_opened(scan_file):
    with h5py.File(scan_file, "r+") as file:
        file["truth"] = h5py.ExternalLink("no-such-file.h5", "/truth")
    read_dataset(scan_file)
    with h5py.File(scan_file) as file, pytest.raises((KeyError, OSError)):
        file["truth"]


def test_a_failed_write_leaves_what_was_there(scan_file, small_scan, monkeypatch):
    before = scan_file.read_bytes()

    def fail(*_args, **_kwargs):
        raise OSError("No space left on device")

    monkeypatch.setattr(h5py.File, "create_dataset", fail)
    with pytest.raises(InputError, match="No space left"):
        write_dataset(scan_file, small_scan)
    assert scan_file.read_bytes() == before
    assert [path.name for path in scan_file.parent.iterdir()] == ["scan.h5"]
