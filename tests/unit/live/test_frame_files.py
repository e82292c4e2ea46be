"""Frames are read from a growing file, and from nowhere outside the data folder."""

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from ptycho_plugin.errors import InputError
from ptycho_plugin.live.frame_files import FrameFiles

DATASET = "/entry/data/data"
WINDOW = (slice(1, 3), slice(2, 4))


def test_a_frame_can_be_read_once_it_is_there(tmp_path: Path) -> None:
    path = tmp_path / "a b.h5"
    uri = f"file://localhost{tmp_path}/a%20b.h5"
    frames = np.arange(2 * 4 * 5).reshape(2, 4, 5)
    with h5py.File(path, "w", libver="latest") as file, FrameFiles(tmp_path) as files:
        data = file.create_dataset(DATASET, (0, 4, 5), "<i4", maxshape=(None, 4, 5), chunks=(1, 4, 5))
        file.swmr_mode = True
        for index, frame in enumerate(frames):
            with pytest.raises(OSError, match=f"no frame {index} yet"):
                files.read(uri, DATASET, index, WINDOW)
            data.resize(index + 1, axis=0)
            data[index] = frame
            data.flush()
            np.testing.assert_array_equal(files.read(uri, DATASET, index, WINDOW), frame[1:3, 2:4])
        assert files.detector_shape(uri, DATASET) == (4, 5)


def test_a_file_or_dataset_that_is_not_there_may_come(tmp_path: Path) -> None:
    uri = f"file://localhost{tmp_path}/f.h5"
    with FrameFiles(tmp_path) as files:
        with pytest.raises(OSError, match=r"f\.h5"):
            files.read(uri, DATASET, 0, WINDOW)
        with h5py.File(tmp_path / "f.h5", "w") as file:
            file["other"] = 1
        with pytest.raises(OSError, match="holds no dataset"):
            files.read(uri, DATASET, 0, WINDOW)


@pytest.mark.parametrize(
    "uri", ["file://localhost{}/../x.h5", "file:///etc/passwd", "file://localhost{}/link/x.h5"]
)
def test_a_file_outside_the_folder_is_refused(tmp_path: Path, uri: str) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "link").symlink_to(tmp_path)
    with FrameFiles(inside) as files, pytest.raises(InputError, match="lies outside"):
        files.read(uri.format(inside), DATASET, 0, WINDOW)


LAYOUT = h5py.VirtualLayout((1, 4, 5), "<i4")
LAYOUT[:] = h5py.VirtualSource("../outside.h5", DATASET, (1, 4, 5))
LEADING_ELSEWHERE = {
    "external link": lambda file: file.update({DATASET: h5py.ExternalLink("../outside.h5", DATASET)}),
    "external group": lambda file: file.update({"/entry": h5py.ExternalLink("../outside.h5", "/entry")}),
    "virtual": lambda file: file.create_virtual_dataset(DATASET, LAYOUT),
    "external storage": lambda file: file.create_dataset(
        DATASET, (1, 4, 5), "<i4", external=[("../outside.h5", 0, 80)]
    ),
    "group": lambda file: file.create_group(DATASET),
}


@pytest.mark.parametrize("write", LEADING_ELSEWHERE.values(), ids=LEADING_ELSEWHERE.keys())
def test_a_dataset_that_leads_elsewhere_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Callable[[h5py.File], object]
) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    monkeypatch.chdir(inside)
    with h5py.File("../outside.h5", "w") as file:
        file[DATASET] = np.ones((1, 4, 5), "<i4")
    with h5py.File("f.h5", "w") as file:
        write(file)
    with FrameFiles(inside) as files, pytest.raises(InputError, match="no dataset of that file alone"):
        files.read(f"file://localhost{inside}/f.h5", DATASET, 0, WINDOW)


@pytest.mark.parametrize("uri", ["http://localhost{}/x.h5", "file://elsewhere{}/x.h5"])
def test_another_machine_is_refused(tmp_path: Path, uri: str) -> None:
    with FrameFiles(tmp_path) as files, pytest.raises(InputError, match="no file of this machine"):
        files.read(uri.format(tmp_path), DATASET, 0, WINDOW)
