from pathlib import Path

import h5py
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ptycho_plugin.errors import InputError
from ptycho_plugin.io import read_dataset, write_dataset


@pytest.fixture
def scan_bytes(tmp_path, small_scan):
    write_dataset(tmp_path / "whole.h5", small_scan)
    return (tmp_path / "whole.h5").read_bytes()


def test_the_name_does_not_matter(tmp_path, scan_bytes, small_scan):
    (tmp_path / "scan.dat").write_bytes(scan_bytes)
    assert len(read_dataset(tmp_path / "scan.dat")) == len(small_scan)


@given(part=st.floats(0, 0.999))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_truncated_file_is_refused_with_a_sentence(tmp_path, scan_bytes, part):
    (tmp_path / "part.h5").write_bytes(scan_bytes[: int(part * len(scan_bytes))])
    with pytest.raises(InputError, match=r"part\.h5"):
        read_dataset(tmp_path / "part.h5")


def test_a_damaged_frame_is_refused_with_a_sentence(tmp_path, scan_bytes):
    path = tmp_path / "damaged.h5"
    path.write_bytes(scan_bytes)
    with h5py.File(path) as file:
        chunk = file["diffraction"].id.get_chunk_info(3)
    damaged = bytearray(scan_bytes)
    damaged[chunk.byte_offset : chunk.byte_offset + chunk.size] = bytes(chunk.size)
    path.write_bytes(damaged)
    with pytest.raises(InputError, match="may be damaged"):
        read_dataset(path)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(InputError, match="is not a file"):
        read_dataset(tmp_path / "none.h5")


def test_a_file_without_permission_is_refused_as_such(tmp_path, scan_bytes, monkeypatch):
    (tmp_path / "scan.h5").write_bytes(scan_bytes)

    def refuse(*_args, **_kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)  # root, as in a container, may open everything
    with pytest.raises(InputError, match="Permission denied"):
        read_dataset(tmp_path / "scan.h5")


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match="is not a file"):
        read_dataset(tmp_path)


def test_another_kind_of_file_is_refused(tmp_path):
    (tmp_path / "scan.h5").write_text("energy, 6200\n")
    with pytest.raises(InputError, match="not an HDF5 file"):
        read_dataset(tmp_path / "scan.h5")


def test_an_hdf5_file_of_another_layout_is_refused(tmp_path):
    with h5py.File(tmp_path / "nexus.h5", "w") as file:
        file.create_group("entry")
    with pytest.raises(InputError, match=r"lacks 'diffraction' .* holds: entry"):
        read_dataset(tmp_path / "nexus.h5")
