import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote, urlsplit

import h5py
import numpy as np
import pytest

from ptycho_plugin.devices.hdf5_frames import DATASET, FrameFile
from ptycho_plugin.errors import InputError

SHAPE = (300, 200)


def test_frames_are_kept_one_compressed_chunk_each(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    frames = rng.integers(-2, 2**20, (3, *SHAPE)).astype(np.int32)
    file = FrameFile(tmp_path / "new" / "folder", SHAPE)
    for frame in frames:
        file.append(frame)
    assert len(file) == 3
    file.close()
    file.close()
    assert Path(unquote(urlsplit(file.uri).path)) == file.path
    with h5py.File(file.path) as read:
        data = read[DATASET]
        assert (data.dtype, data.chunks, data.compression, data.compression_opts) == (
            np.dtype("<i4"),
            (1, *SHAPE),
            "gzip",
            1,
        )
        np.testing.assert_array_equal(data, frames)


def test_every_file_has_a_name_of_its_own(tmp_path: Path) -> None:
    files = [FrameFile(tmp_path, SHAPE) for _ in range(2)]
    assert files[0].path != files[1].path
    for file in files:
        file.close()


FOLLOW = """
import sys
import h5py
bad = seen = 0
with h5py.File(sys.argv[1], "r", libver="latest", swmr=True) as file:
    data = file[sys.argv[2]]
    print("ready", flush=True)
    while seen < 60:
        data.refresh()
        if len(data) > seen:
            seen = len(data)
            bad += not (data[seen - 1] == seen).all()
print(bad)
"""
"""Looks at the newest frame as fast as it can, and counts those that are not of one value."""


def test_no_torn_frame_is_ever_visible(tmp_path: Path) -> None:
    file = FrameFile(tmp_path, SHAPE)
    with subprocess.Popen(
        [sys.executable, "-c", FOLLOW, file.path, DATASET], stdout=subprocess.PIPE, text=True
    ) as reader:
        assert reader.stdout is not None
        assert reader.stdout.readline() == "ready\n"
        for number in range(1, 61):
            file.append(np.full(SHAPE, number, np.int32))
        assert reader.stdout.readline() == "0\n"
    file.close()


def test_a_folder_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(InputError, match="taken/frames cannot be created"):
        FrameFile(tmp_path / "taken" / "frames", SHAPE)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *args: False)
    with pytest.raises(InputError, match="cannot be written: choose another"):
        FrameFile(tmp_path, SHAPE)


@pytest.fixture
def nearly_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    def fill() -> None:
        full = shutil.disk_usage(tmp_path)._replace(free=1_000_000)
        monkeypatch.setattr(shutil, "disk_usage", lambda _: full)

    return fill


def test_a_full_disk_is_told_before_a_file_is_begun(tmp_path: Path, nearly_full: Callable[[], None]) -> None:
    nearly_full()
    with pytest.raises(InputError, match="has 1 MB free and needs 2 MB: make room"):
        FrameFile(tmp_path, SHAPE)
    assert not list(tmp_path.iterdir())


def test_a_disk_that_fills_up_keeps_its_frames(tmp_path: Path, nearly_full: Callable[[], None]) -> None:
    file = FrameFile(tmp_path, SHAPE)
    for number in (1, 2):
        file.append(np.full(SHAPE, number))
    nearly_full()
    with pytest.raises(InputError, match="make room"):
        file.append(np.full(SHAPE, 3))
    file.close()
    with h5py.File(file.path) as read:
        assert [int(frame.mean()) for frame in read[DATASET]] == [1, 2]
