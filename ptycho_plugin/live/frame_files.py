"""Reading crops of frames from the HDF5 files that a detector is still writing."""

from __future__ import annotations

from itertools import accumulate
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import unquote, urlsplit

import h5py
from numpy.typing import NDArray

from ptycho_plugin.errors import InputError


class FrameFiles:
    """The files that documents name, opened once each, inside one folder only.

    A context manager that closes them.

    Parameters
    ----------
    folder : path
        Documents come from outside: a file anywhere else is refused.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()
        self._files: list[h5py.File] = []
        self._datasets: dict[tuple[str, str], h5py.Dataset] = {}

    def __enter__(self) -> FrameFiles:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for file in self._files:
            file.close()

    def detector_shape(self, uri: str, dataset: str) -> tuple[int, ...]:
        """Return rows and columns of the frames.

        Raises
        ------
        InputError
            If the file lies outside the folder, or its frames may.
        OSError
            If it cannot be read, or not yet.
        """
        return tuple(self._dataset(uri, dataset).shape[1:])

    def read(self, uri: str, dataset: str, index: int, window: tuple[slice, slice]) -> NDArray[Any]:
        """Return the window of one frame.

        Raises
        ------
        InputError
            If the file lies outside the folder, or its frames may.
        OSError
            If the frame cannot be read, or not yet.
        """
        frames = self._dataset(uri, dataset)
        if index >= len(frames):
            frames.refresh()
        if index >= len(frames):
            raise OSError(f"{uri} holds {len(frames)} frames, and no frame {index} yet")
        crop: NDArray[Any] = frames[index, *window]
        return crop

    def _dataset(self, uri: str, dataset: str) -> h5py.Dataset:
        key = uri, dataset
        if key not in self._datasets:
            file = h5py.File(self._path(uri), "r", libver="latest", swmr=True)
            try:
                self._datasets[key] = _own_dataset(file, dataset)
            except Exception:
                file.close()
                raise
            self._files.append(file)
        return self._datasets[key]

    def _path(self, uri: str) -> Path:
        parts = urlsplit(uri)
        path = Path(unquote(parts.path)).resolve()
        if parts.scheme != "file" or parts.netloc not in ("", "localhost"):
            raise InputError(f"{uri} is no file of this machine: frames are read from {self._folder}")
        if not path.is_relative_to(self._folder):
            raise InputError(f"{path} lies outside {self._folder}: name the folder of the frames' files")
        return path


def _own_dataset(file: h5py.File, name: str) -> h5py.Dataset:
    """Return a dataset whose data are in the file itself: links and virtual ones lead elsewhere."""
    paths = accumulate(name.strip("/").split("/"), "{}/{}".format)
    try:
        own = all(file.id.links.get_info(path.encode()).type == h5py.h5l.TYPE_HARD for path in paths)
    except (RuntimeError, ValueError):
        raise OSError(f"{file.filename} holds no dataset {name}") from None
    dataset = file[name] if own else None
    if not isinstance(dataset, h5py.Dataset) or dataset.is_virtual or dataset.external:
        raise InputError(f"{name} of {file.filename} is no dataset of that file alone: name one that is")
    return dataset
