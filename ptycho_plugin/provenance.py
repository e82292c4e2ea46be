"""What made a result: options, software, source, command and date, as plain JSON values."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from glob import glob
from importlib import metadata
from pathlib import Path
from typing import Any

DISTRIBUTION = "ptycho-plugin"
NUMERICAL_PACKAGES = ("numpy", "scipy", "h5py")


def provenance(
    *,
    options: Mapping[str, Any],
    frames: tuple[int, int] | None = None,
    command: Sequence[str] = (),
    source: Mapping[str, Any] | None = None,
    packages: Iterable[str] = NUMERICAL_PACKAGES,
) -> dict[str, Any]:
    """Return the record that goes with a result.

    Parameters
    ----------
    options : mapping
        Of what made it, as JSON values.
    frames : (int, int), optional
        First frame and one past the last that were used.
    command : sequence of str
        The command line, empty where there was none.
    source : mapping of str, optional
        What it was made of, as `file_source` or `run_source` name it.
    packages : iterable of str
        Distributions whose versions are recorded.

    Returns
    -------
    dict
        Serializable as JSON.
    """
    return {
        "options": dict(options),
        "frame_range": None if frames is None else list(frames),
        "packages": {name: metadata.version(name) for name in packages},
        "code": {"version": metadata.version(DISTRIBUTION), "sha256": code_sha256()},
        "source": None if source is None else dict(source),
        "command": shlex.join(command),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def file_source(path: Path) -> dict[str, str]:
    """Return the name of a scan's file and the SHA-256 of its bytes."""
    return {"path": str(path), "sha256": file_sha256(path)}


def run_source(uid: str, address: str) -> dict[str, str]:
    """Return the name of a run in Tiled; the address must hold no key."""
    return {"run_uid": uid, "tiled": address}


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@cache
def code_sha256() -> str:
    """Return one SHA-256 over the package's Python files.

    It tells apart two states of a checkout that bear one version, and works where there is no
    git: in a wheel, or in a virtual environment inside another project's checkout. A wheel has
    the digest of the checkout it was built from.
    """
    root = Path(__file__).parent
    digest = hashlib.sha256()
    # Not `Path.rglob`, which does not follow the links that stand for packages in a checkout.
    for name in sorted(glob("**/*.py", root_dir=root, recursive=True)):  # noqa: PTH207
        digest.update(f"{name}\0{file_sha256(root / name)}\0".encode())
    return digest.hexdigest()
