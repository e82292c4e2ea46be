"""The keys of a Tiled server: two, of which one may write, kept in files that their owner alone may read."""

from __future__ import annotations

import os
import re
import secrets
from pathlib import Path

from ptycho_plugin.errors import InputError

WRITER, VIEWER = "writer", "viewer"
READING = ("read:metadata", "read:data")
SCOPES = {
    WRITER: (
        *READING,
        "create:node",
        "write:metadata",
        "write:data",
        "delete:node",
        "delete:revision",
        "register",
    ),
    VIEWER: READING,
}
"""What each key may do, in Tiled's words. ``register`` is for frames, which stay in the detector's files."""
KEY_BYTES = 32
OWNER_ALONE = 0o600
OTHERS = 0o007


def key_file(folder: Path, name: str) -> Path:
    """Return where the folder of a server has one of its keys."""
    return folder / f"{name}.key"


def keys_in(folder: Path) -> dict[str, str]:
    """Return the keys of a server's folder by their names; what is missing is made, at random.

    Raises
    ------
    InputError
        If a file holds no key, or everybody may read it.
    """
    return {name: _made(path) or _read(path) for name in SCOPES for path in [key_file(folder, name)]}


def _made(path: Path) -> str:
    """Make a key and its file, which nobody else can ever have opened; empty where there is one."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWNER_ALONE)
    except FileExistsError:
        return ""
    key = secrets.token_hex(KEY_BYTES)
    with os.fdopen(descriptor, "w") as file:
        file.write(f"{key}\n")
        file.flush()
        os.fsync(file.fileno())
    return key


def _read(path: Path) -> str:
    if path.stat().st_mode & OTHERS:
        raise InputError(f"everybody may read the key in {path}: delete it, and the server makes another")
    key = path.read_text().strip()
    if not re.fullmatch(rf"[0-9a-f]{{{2 * KEY_BYTES}}}", key):
        raise InputError(f"{path} holds no key: delete it, and the server makes another")
    return key
