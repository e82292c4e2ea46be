"""Datasets of an HDF5 group, read with errors that name the file and the dataset."""

from __future__ import annotations

from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ptycho_plugin.errors import InputError


def has(group: h5py.Group, name: str) -> bool:
    """Return whether a name leads to something, which a dangling soft link does not."""
    return group.get(name) is not None


def require(group: h5py.Group, *names: str) -> None:
    """Refuse a file in which a dataset is missing, naming all that are.

    Raises
    ------
    InputError
    """
    missing = [name for name in names if not has(group, name)]
    if missing:
        raise InputError(f"{group.file.filename} lacks {', '.join(map(repr, missing))}")


def read_array(group: h5py.Group, name: str, kinds: str = "iuf") -> NDArray[Any]:
    """Return a dataset's values.

    Parameters
    ----------
    group : h5py.Group
    name : str
    kinds : str
        The kinds of NumPy dtype that make sense: "b", "i", "u", "f", "c".

    Raises
    ------
    InputError
        If the name is not that of a dataset of numbers of these kinds.
    """
    item = group[name]
    if not isinstance(item, h5py.Dataset) or item.dtype.kind not in kinds or item.shape is None:
        raise InputError(f"{group.file.filename}: {name!r} is not a dataset of the expected numbers")
    return np.asarray(item[()])


def read_scalar(group: h5py.Group, name: str, *, between: tuple[float, float], unit: str) -> float:
    """Return a dataset's one number.

    Raises
    ------
    InputError
        If it is not one number, or outside what such a quantity can be in this unit.
    """
    value = read_array(group, name)
    where = f"{group.file.filename}: {name!r}"
    if value.size != 1:
        raise InputError(f"{where} holds {value.size} values, expected one")
    low, high = between
    if not low <= value.item() <= high:
        raise InputError(
            f"{where} is {value.item():g}, expected {low:g} to {high:g} {unit}: is its unit right?"
        )
    return float(value.item())


def check_units(group: h5py.Group, name: str, unit: str) -> None:
    """Refuse a dataset whose ``units`` attribute, where there is one, says another unit.

    Raises
    ------
    InputError
    """
    stated = group[name].attrs.get("units", unit)
    stated = stated.decode() if isinstance(stated, bytes) else stated
    if stated != unit:
        raise InputError(f"{group.file.filename}: {name!r} is in {stated!r}, expected {unit!r}")
