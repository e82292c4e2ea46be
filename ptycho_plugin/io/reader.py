"""One call for every kind of file, told apart by what is in it."""

from __future__ import annotations

from pathlib import Path

import h5py

from ptycho_plugin.dataset import PtychoDataset
from ptycho_plugin.errors import InputError
from ptycho_plugin.io import cxi, hdf5_layout
from ptycho_plugin.io.fields import has


def read_dataset(path: str | Path) -> PtychoDataset:
    """Return the scan in a file, checked.

    Parameters
    ----------
    path : str or Path
        A CXI file or one in the documented layout (see `ptycho_plugin.io.hdf5_layout`).

    Returns
    -------
    PtychoDataset
        Its ``remarks`` say what a user should hear of.

    Raises
    ------
    InputError
        If the file cannot be read, is of another kind, or does not make sense.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path} is not a file: check its name")
    try:
        path.open("rb").close()  # h5py.is_hdf5 calls a file without permission another kind
        if not h5py.is_hdf5(path):
            raise InputError(f"{path} is not an HDF5 file: CXI and the documented HDF5 layout can be read")
        with h5py.File(path, "r") as file:
            return _read(file)
    except (OSError, RuntimeError, KeyError, MemoryError) as error:
        raise InputError(f"{path} cannot be read, it may be damaged or unfinished: {error}") from error


def _read(file: h5py.File) -> PtychoDataset:
    if has(file, cxi.VERSION):
        return cxi.read_cxi(file)
    if has(file, hdf5_layout.FRAMES):
        return hdf5_layout.read_hdf5_layout(file)
    raise InputError(
        f"{file.filename} lacks '{hdf5_layout.FRAMES}' (documented HDF5 layout) and '{cxi.VERSION}' (CXI); "
        f"its top level holds: {', '.join(file) or 'nothing'}"
    )
