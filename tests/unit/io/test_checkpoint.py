"""A reconstruction that was interrupted ends with the bits of one that was not."""

import h5py
import numpy as np
import pytest

from ptycho_plugin.errors import InputError
from ptycho_plugin.io.checkpoint import read_checkpoint, write_checkpoint
from ptycho_plugin.reconstruction import driver, frame_refinement
from ptycho_plugin.reconstruction.driver import Reconstruction
from ptycho_plugin.reconstruction.options import ReconstructionOptions

RECIPE = {"difference_map_iterations": 4, "maximum_likelihood_iterations": 6}
OPTIONS = {
    "as published": ReconstructionOptions(**RECIPE),
    "fast": ReconstructionOptions(**{**RECIPE, "difference_map_iterations": 0}, least_squares_iterations=4),
    "fast, refined": ReconstructionOptions(
        **{**RECIPE, "difference_map_iterations": 0}, least_squares_iterations=4, position_tolerance=1e-7
    ),
    "all refined": ReconstructionOptions(
        **RECIPE,
        probe_modes=2,
        slices=2,
        slice_distance=1e-5,
        position_tolerance=1e-7,
        refine_intensities=True,
    ),
}
SOURCE = {"path": "scan.h5", "sha256": "abc"}
FIRST = 7
"""Frames that are there at first."""


@pytest.fixture(params=OPTIONS.values(), ids=OPTIONS.keys())
def options(request):
    return request.param


@pytest.fixture
def begun(small_scan, options):
    """A reconstruction that has had one live iteration, and then all frames."""
    reconstruction = Reconstruction(small_scan.geometry, small_scan.probe, small_scan.positions, options)
    counts = small_scan.intensities()
    reconstruction.add(counts[:FIRST], small_scan.positions[:FIRST])
    reconstruction.iterate()
    reconstruction.add(counts[FIRST:], small_scan.positions[FIRST:])
    return reconstruction


def assert_the_same_bits(found, expected):
    for name in ("slices", "probe", "positions", "positions_measured", "intensities", "errors", "trusted"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    assert found.residual == expected.residual
    assert found.likelihood_from == expected.likelihood_from


def test_it_goes_on_from_any_iteration_to_the_same_bits(tmp_path, begun, options, monkeypatch):
    """Also where frames were just searched for, and the conjugate gradients have begun again."""
    monkeypatch.setattr(driver, "SEARCHES_FOR_STRAYS", (3,))
    monkeypatch.setattr(frame_refinement, "CLEARLY", 2)
    files = []

    def keep(progress):
        files.append(tmp_path / f"{progress.iteration}.h5")
        write_checkpoint(files[-1], begun, SOURCE)

    expected = begun.finish(keep)
    assert len(files) == options.iterations
    for file in files:
        assert_the_same_bits(read_checkpoint(file, options, SOURCE).finish(), expected)


def test_a_live_one_goes_on_as_well(tmp_path, begun, options):
    write_checkpoint(tmp_path / "live.h5", begun, SOURCE)
    again = read_checkpoint(tmp_path / "live.h5", options, SOURCE)
    begun.iterate()
    again.iterate()
    assert_the_same_bits(again.finish(), begun.finish())


@pytest.fixture
def file(tmp_path, begun):
    write_checkpoint(tmp_path / "half.h5", begun, SOURCE)
    return tmp_path / "half.h5"


def test_other_data_and_other_options_are_refused(file, options):
    with pytest.raises(InputError, match="is a checkpoint of something else"):
        read_checkpoint(file, options, {**SOURCE, "sha256": "abd"})
    with pytest.raises(InputError, match="other options"):
        read_checkpoint(file, options.model_copy(update={"noise": "gaussian"}), SOURCE)


def test_what_is_no_checkpoint_is_refused(file, options, tmp_path):
    file.write_bytes(file.read_bytes()[:5000])
    with pytest.raises(InputError, match="no checkpoint, or a damaged one"):
        read_checkpoint(file, options, SOURCE)
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["object"] = 1
    with pytest.raises(InputError, match="no checkpoint of this version"):
        read_checkpoint(tmp_path / "other.h5", options, SOURCE)


def test_a_failed_write_leaves_the_last_one(file, begun, options, monkeypatch):
    before = file.read_bytes()

    def no_room(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr("ptycho_plugin.io.checkpoint._write", no_room)
    with pytest.raises(InputError, match="no space left"):
        write_checkpoint(file, begun, SOURCE)
    assert file.read_bytes() == before
