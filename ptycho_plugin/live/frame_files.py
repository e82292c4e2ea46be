"""Reading crops of frames from the HDF5 files that a detector is still writing."""

from __future__ import annotations

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
            If the file lies outside the folder.
        OSError
            If it cannot be read, or not yet.
        """
        return tuple(self._dataset(uri, dataset).shape[1:])

    def read(self, uri: str, dataset: str, index: int, window: tuple[slice, slice]) -> NDArray[Any]:
        """Return the window of one frame.

        Raises
        ------
        InputError
            If the file lies outside the folder.
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
            self._files.append(file)
            if dataset not in file:
                raise OSError(f"{uri} holds no dataset {dataset}")
            self._datasets[key] = file[dataset]
        return self._datasets[key]

    def _path(self, uri: str) -> Path:
        parts = urlsplit(uri)
        path = Path(unquote(parts.path)).resolve()
        if parts.scheme != "file" or parts.netloc not in ("", "localhost"):
            raise InputError(f"{uri} is no file of this machine: frames are read from {self._folder}")
        if not path.is_relative_to(self._folder):
            raise InputError(f"{path} lies outside {self._folder}: name the folder of the frames' files")
        return path
