"""CXI files (Coherent X-ray Imaging data bank format, up to 1.60), first entry.

The laboratory frame of CXI has z along the beam, y up and x completing a right-handed system.
``basis_vectors`` give, in that frame, the step from one detector pixel to the next: the first
vector along rows, the second along columns; (2, 3) and (3, 2) are both met. Where they are
absent other readers take rows along -y and columns along -x, and so does this reader.

CXI's ``translation`` (frame, 3) moves the *sample*. A probe-on-object position is the opposite
movement, seen along the detector's axes::

    position[row]    = -translation . (unit vector along rows)
    position[column] = -translation . (unit vector along columns)

so that frames keep the camera's orientation, a scattering angle along an array axis belongs to
the object's axis of the same index, and the map is seen as the camera sees the sample. The
projected features of a near-field file move with these positions, which a test measures.

The format has no agreed place for a start probe: none is read.
"""

from __future__ import annotations

import h5py
import numpy as np
from numpy.typing import NDArray
from scipy import constants

from ptycho_plugin.dataset import PtychoDataset
from ptycho_plugin.errors import InputError
from ptycho_plugin.geometry import (
    DETECTOR_PIXEL_RANGE,
    DISTANCE_RANGE,
    ENERGY_RANGE_EV,
    PHOTON_ENERGY_TIMES_WAVELENGTH_EV_M,
    WAVELENGTH_RANGE,
)
from ptycho_plugin.io import checks
from ptycho_plugin.io.fields import has, read_array, read_scalar, require

VERSION = "cxi_version"
DETECTOR = "entry_1/instrument_1/detector_1/"
SOURCE = "entry_1/instrument_1/source_1/"
HAS_SIGNAL = 0x1000
"""The one mask bit that does not speak against a pixel: signal above background."""


def read_cxi(file: h5py.File) -> PtychoDataset:
    """Return the scan in ``entry_1`` of a CXI file.

    Raises
    ------
    InputError
        If a dataset is missing or cannot be what the format says.
    """
    require(file, DETECTOR + "distance")
    basis = _basis_vectors(file)
    frames = _first_of(file, DETECTOR + "data", "entry_1/data_1/data")
    geometry = checks.square_geometry(
        file.filename,
        frames.shape,
        energy_eV=_energy_eV(file),
        distance=read_scalar(file, DETECTOR + "distance", between=DISTANCE_RANGE, unit="m"),
        detector_pixel=_square_pixel(file.filename, basis),
    )
    mask, remarks = checks.mask_marks(file.filename, frames, _mask(file, frames.shape))
    scan = PtychoDataset(
        frames=frames,
        positions=_positions(file, basis),
        mask=mask,
        geometry=geometry,
        source=file.filename,
        remarks=remarks,
    )
    checks.check_scan_size(scan)
    return scan


def _first_of(file: h5py.File, *names: str) -> NDArray[np.generic]:
    """Return the values of the first of several places where CXI writers put one thing."""
    present = [name for name in names if has(file, name)]
    if not present:
        raise InputError(f"{file.filename} lacks {' and '.join(map(repr, names))}: one of them is needed")
    return read_array(file, present[0])


def _energy_eV(file: h5py.File) -> float:
    if has(file, SOURCE + "energy"):
        low, high = (limit * constants.electron_volt for limit in ENERGY_RANGE_EV)
        return read_scalar(file, SOURCE + "energy", between=(low, high), unit="J") / constants.electron_volt
    require(file, SOURCE + "wavelength")
    wavelength = read_scalar(file, SOURCE + "wavelength", between=WAVELENGTH_RANGE, unit="m")
    return PHOTON_ENERGY_TIMES_WAVELENGTH_EV_M / wavelength


def _basis_vectors(file: h5py.File) -> NDArray[np.float64]:
    """Return the pixel steps along rows and along columns, (2, 3), in metres."""
    if has(file, DETECTOR + "basis_vectors"):
        vectors = read_array(file, DETECTOR + "basis_vectors").astype(np.float64)
        if vectors.shape not in ((2, 3), (3, 2)):
            raise InputError(
                f"{file.filename}: 'basis_vectors' has shape {vectors.shape}, "
                "expected (2, 3) for a detector that does not move"
            )
        return vectors if vectors.shape == (2, 3) else vectors.T
    names = (DETECTOR + "y_pixel_size", DETECTOR + "x_pixel_size")
    require(file, *names)
    row, column = (read_scalar(file, name, between=DETECTOR_PIXEL_RANGE, unit="m") for name in names)
    return np.array([[0.0, -row, 0.0], [-column, 0.0, 0.0]])


def _square_pixel(source: str, basis: NDArray[np.float64]) -> float:
    row, column = np.linalg.norm(basis, axis=1)
    low, high = DETECTOR_PIXEL_RANGE
    if not low <= row <= high or abs(row - column) > 1e-3 * row:
        raise InputError(
            f"{source}: detector pixels of {row:g} x {column:g} m; "
            f"square ones of {low:g} to {high:g} m are needed"
        )
    return float(row)


def _mask(file: h5py.File, frames_shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return the valid pixels: those without a mask bit, or with `HAS_SIGNAL` alone."""
    if not has(file, DETECTOR + "mask"):
        return np.ones(frames_shape[1:], bool)
    valid: NDArray[np.bool_] = (read_array(file, DETECTOR + "mask", "iu").astype(np.int64) & ~HAS_SIGNAL) == 0
    return valid


def _positions(file: h5py.File, basis: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return probe-on-object positions (frame, 2) in metres."""
    names = ("entry_1/sample_1/geometry_1/translation", "entry_1/data_1/translation")
    translation = _first_of(file, *names).astype(np.float64)
    if translation.ndim != 2 or translation.shape[1] != 3:
        raise InputError(
            f"{file.filename}: 'translation' has shape {translation.shape}, expected (frame, 3): x, y, z"
        )
    directions = basis / np.linalg.norm(basis, axis=1, keepdims=True)
    positions: NDArray[np.float64] = -translation @ directions.T
    return positions
