"""Output files that are there whole, or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from ptycho_plugin.errors import InputError
from ptycho_plugin.provenance import file_sha256

READ_ONLY = 0o444
WRITABLE = 0o222
DIGITS = 12
"""Of a file's digest, in its name."""


class KeptFile(NamedTuple):
    """A file that is not written again, with the SHA-256 and the number of its bytes."""

    path: Path
    sha256: str
    size: int


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
        sync(part)
        part.replace(path)
        sync(path.parent)
    except OSError as error:
        raise InputError(f"{path} could not be written: {error}") from error
    finally:
        part.unlink(missing_ok=True)


def keep(part: Path, stem: str) -> KeptFile:
    """Give a complete file, where it lies, the name of its bytes; it is read-only and on the disk then.

    As the name holds a part of the digest, two files of other bytes never take each other's place.

    Parameters
    ----------
    part : Path
    stem : str
        What the name begins with, before digest and suffix.

    Raises
    ------
    InputError
        If that cannot be done.
    """
    try:
        digest, size = file_sha256(part), part.stat().st_size
        path = part.with_name(f"{stem}.{digest[:DIGITS]}{part.suffix}")
        part.chmod(READ_ONLY)
        sync(part)
        part.replace(path)
        sync(path.parent)
    except OSError as error:
        with suppress(OSError):
            part.unlink()
        raise InputError(f"{part} could not be kept: {error}") from error
    return KeptFile(path, digest, size)


def sync(path: Path) -> None:
    """Return when a file's bytes, or a folder's names, would outlive the power.

    Raises
    ------
    OSError
        If the disk does not take them.
    """
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


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
        if place.exists() and not place.stat().st_mode & WRITABLE:
            raise InputError(f"{path} cannot be written: {place} is read-only; name another output")
    try:
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror} in {folder}") from error
