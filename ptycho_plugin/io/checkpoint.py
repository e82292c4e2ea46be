"""A reconstruction half-way, as one HDF5 file: it goes on to the same bits on the same machine."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ptycho_plugin.errors import InputError
from ptycho_plugin.io.atomic import replacing
from ptycho_plugin.reconstruction.driver import Reconstruction
from ptycho_plugin.reconstruction.options import ReconstructionOptions

VERSION = "ptycho_checkpoint_version"
SCHEMA_VERSION = 2


def write_checkpoint(path: Path, reconstruction: Reconstruction, source: Mapping[str, str]) -> None:
    """Write all that a reconstruction needs to go on; the file appears whole or not at all.

    Parameters
    ----------
    path : Path
    reconstruction : Reconstruction
    source : mapping of str
        What is reconstructed, as `ptycho_plugin.provenance.file_source` or `run_source` name it.

    Raises
    ------
    InputError
        If the file cannot be written.
    """
    with replacing(path) as part, h5py.File(part, "w") as file:
        file.attrs[VERSION] = SCHEMA_VERSION
        file.attrs["source"] = json.dumps(dict(source), sort_keys=True)
        _write(file, reconstruction.state())


def read_checkpoint(path: Path, options: ReconstructionOptions, source: Mapping[str, str]) -> Reconstruction:
    """Return a reconstruction that goes on where a checkpoint was written.

    Parameters
    ----------
    path : Path
    options : ReconstructionOptions
        That it must have been started with.
    source : mapping of str
        What it must be a reconstruction of.

    Raises
    ------
    InputError
        If the file is no checkpoint, or one of other data or other options.
    """
    try:
        with h5py.File(path, "r") as file:
            if file.attrs.get(VERSION) != SCHEMA_VERSION:
                raise InputError(f"{path} is no checkpoint of this version: name another file, or remove it")
            begun_with, state = json.loads(file.attrs["source"]), _read(file)
        _check_same(path, begun_with, dict(source), state["options"], options)
        return Reconstruction.restored(state)
    except (OSError, KeyError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} is no checkpoint, or a damaged one: {error}") from error


def _check_same(
    path: Path,
    begun_with: dict[str, str],
    source: dict[str, str],
    begun_options: str,
    options: ReconstructionOptions,
) -> None:
    if begun_with != source:
        differs = ", ".join(
            sorted(key for key in begun_with | source if begun_with.get(key) != source.get(key))
        )
        raise InputError(
            f"{path} is a checkpoint of something else ({differs}): name another file, or remove it"
        )
    if ReconstructionOptions.model_validate_json(begun_options) != options:
        raise InputError(f"{path} was started with other options: give those, or remove the file")


def _write(group: h5py.Group, state: Mapping[str, Any]) -> None:
    for name, value in state.items():
        if isinstance(value, Mapping):
            _write(group.create_group(name), value)
        else:
            group[name] = value


def _read(group: h5py.Group) -> dict[str, Any]:
    return {name: _value(item) for name, item in group.items()}


def _value(item: h5py.Group | h5py.Dataset) -> Any:
    if isinstance(item, h5py.Group):
        return _read(item)
    value = item[()]
    return value.decode() if isinstance(value, bytes) else np.asarray(value)
