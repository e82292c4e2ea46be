import io
import json

import h5py
import numpy as np
import pytest

from ptycho_plugin.errors import InputError
from ptycho_plugin.io import write_result
from ptycho_plugin.io.result_file import read_metadata
from ptycho_plugin.reconstruction.map_verdict import MapVerdict


def test_a_result_file_holds_everything_with_its_units(tmp_path, small_result):
    path = tmp_path / "out.h5"
    write_result(path, small_result, {"command": "ptycho", "frame_range": [0, 12]})
    with h5py.File(path) as file:
        assert np.array_equal(file["object"], small_result.object)
        assert file["object"].dtype == file["probe"].dtype == np.complex64
        assert file["probe"].shape == (1, 16, 16)
        np.testing.assert_allclose(file["phase"], np.angle(small_result.object), rtol=1e-6)
        np.testing.assert_allclose(file["amplitude"], np.abs(small_result.object), rtol=1e-6)
        assert file["phase"].dtype == file["amplitude"].dtype == np.float32
        np.testing.assert_array_equal(file["trusted"], small_result.trusted, strict=True)
        assert np.array_equal(file["positions"], small_result.positions)
        assert dict(file["positions"].attrs) == {"units": "m", "columns": "y,x"}
        assert np.array_equal(file["positions_px"], small_result.positions_px)
        assert file["background"][()] == small_result.background
        assert list(file["error"]) == [0.4, 0.2, 0.1]
        assert file["geometry/energy_eV"][()] == 6200.0
        assert file["geometry/object_pixel"][()] == small_result.geometry.object_pixel
        assert file["geometry/object_pixel"].attrs["units"] == "m"
        assert json.loads(file["provenance"][()]) == {"command": "ptycho", "frame_range": [0, 12]}
        assert MapVerdict.model_validate_json(file["verdict"][()]) == small_result.verdict


def test_what_cannot_be_written_leaves_no_file(tmp_path, small_result):
    with pytest.raises(TypeError, match="JSON serializable"):
        write_result(tmp_path / "out.h5", small_result, {"options": object()})
    with pytest.raises(InputError, match="could not be written"):
        write_result(tmp_path / "none" / "out.h5", small_result, {})
    assert list(tmp_path.iterdir()) == []


def test_metadata_come_back_from_the_file_or_its_bytes(tmp_path, small_result):
    path = tmp_path / "out.h5"
    write_result(path, small_result, {}, {"sample": "film", "energy_eV": 6200.1})
    assert read_metadata(path) == read_metadata(io.BytesIO(path.read_bytes()))
    assert read_metadata(path) == {"sample": "film", "energy_eV": 6200.1}
    write_result(path, small_result, {})
    with pytest.raises(InputError, match=r"out\.h5 holds no metadata"):
        read_metadata(path)
