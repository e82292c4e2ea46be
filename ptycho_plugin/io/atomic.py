"""Output files that are there whole, or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ptycho_plugin.errors import InputError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside ``path``, which takes its place when the block succeeds.

    It is on the disk by then: after a power failure the old file is there, or the new one.

    Raises
    ------
    InputError
        If the file cannot be written; what was there before is then untouched.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield part
        _sync(part, os.O_RDWR)
        part.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise InputError(f"{path} could not be written: {error}") from error
    finally:
        part.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk.

    Raises
    ------
    OSError
        If the disk does not take them.
    """
    _sync(folder, os.O_RDONLY)


def _sync(path: Path, flags: int) -> None:
    file = os.open(path, flags)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def check_writable(path: Path) -> None:
    """Refuse an output path before the work starts rather than after it.

    Raises
    ------
    InputError
        If the path is a folder, is read-only, or lies where no file can be made.
    """
    folder = path.absolute().parent
    if path.is_dir():
        raise InputError(f"{path} is a folder: name the output file in it")
    if not folder.is_dir():
        raise InputError(f"{path} cannot be written: there is no folder {folder}")
    for place in (folder, path):
        # Root may write anywhere, but someone took the write bits away for a reason.
        if place.exists() and not place.stat().st_mode & 0o222:
            raise InputError(f"{path} cannot be written: {place} is read-only; name another output")
    try:
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror} in {folder}") from error
