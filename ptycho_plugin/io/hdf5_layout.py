"""The documented HDF5 layout: one scan as flat, named datasets.

================== ======================== ==========================================
dataset            shape, dtype             what
================== ======================== ==========================================
diffraction        (frame, row, column)     photon counts; direct beam at
                                            ``[side//2, side//2]``, scattering
                                            orientation
positions          (frame, 2), float        probe-on-object (row, column), in metres
distance           scalar                   sample to detector, in metres
det_pixel_size     scalar                   detector pixel, in metres
energy_eV          scalar                   photon energy in eV, or
wavelength         scalar                   wavelength in metres, or both
mask               (row, column) or         optional; 1 = valid pixel
                   (frame, row, column)
probe0             (mode, row, column) or   optional; start probe, scale free
                   (row, column), complex
focus_to_sample    scalar                   optional; in metres, where the detector sees the
                                            magnified near field: frames are then as the
                                            sample is seen
positions_px       (frame, 2)               optional; checked against ``positions``
object_pixel_size  scalar                   optional; checked against the geometry
================== ======================== ==========================================

Nothing else in a file is opened: a ``truth`` group, above all, stays closed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ptycho_plugin.dataset import PtychoDataset
from ptycho_plugin.errors import InputError
from ptycho_plugin.geometry import (
    DETECTOR_PIXEL_RANGE,
    DISTANCE_RANGE,
    ENERGY_RANGE_EV,
    FOCUS_RANGE,
    PHOTON_ENERGY_TIMES_WAVELENGTH_EV_M,
    WAVELENGTH_RANGE,
)
from ptycho_plugin.io import checks
from ptycho_plugin.io.atomic import replacing
from ptycho_plugin.io.fields import check_units, has, read_array, read_scalar, require

FRAMES = "diffraction"
COLUMNS = "y,x"


def read_hdf5_layout(file: h5py.File) -> PtychoDataset:
    """Return the scan of a file in the documented layout.

    Raises
    ------
    InputError
        If a dataset is missing or cannot be what its name says.
    """
    require(file, FRAMES, "positions", "distance", "det_pixel_size")
    check_units(file, "positions", "m")
    frames = read_array(file, FRAMES)
    geometry = checks.square_geometry(
        file.filename,
        frames.shape,
        energy_eV=_energy_eV(file),
        distance=read_scalar(file, "distance", between=DISTANCE_RANGE, unit="m"),
        detector_pixel=read_scalar(file, "det_pixel_size", between=DETECTOR_PIXEL_RANGE, unit="m"),
    )
    if has(file, "focus_to_sample"):
        focus = read_scalar(file, "focus_to_sample", between=FOCUS_RANGE, unit="m")
        geometry = geometry.in_near_field(focus)
    mask, remarks = checks.mask_marks(file.filename, frames, _mask(file, frames.shape))
    scan = PtychoDataset(
        frames=frames,
        positions=read_array(file, "positions").astype(np.float64),
        mask=mask,
        geometry=geometry,
        probe=_probe(file),
        source=file.filename,
        remarks=remarks,
    )
    _check_redundant(file, scan)
    return scan


def _energy_eV(file: h5py.File) -> float:
    energies = []
    if has(file, "energy_eV"):
        energies.append(read_scalar(file, "energy_eV", between=ENERGY_RANGE_EV, unit="eV"))
    if has(file, "wavelength"):
        wavelength = read_scalar(file, "wavelength", between=WAVELENGTH_RANGE, unit="m")
        energies.append(PHOTON_ENERGY_TIMES_WAVELENGTH_EV_M / wavelength)
    if not energies:
        raise InputError(f"{file.filename} lacks 'energy_eV' and 'wavelength': one of them is needed")
    if abs(energies[0] / energies[-1] - 1) > 1e-3:
        raise InputError(
            f"{file.filename}: 'energy_eV' is {energies[0]:g} eV, but 'wavelength' means {energies[-1]:g} eV"
        )
    return energies[0]


def _mask(file: h5py.File, frames_shape: tuple[int, ...]) -> NDArray[np.bool_]:
    if not has(file, "mask"):
        return np.ones(frames_shape[1:], bool)
    valid: NDArray[np.bool_] = read_array(file, "mask", "biuf") != 0
    return valid


def _probe(file: h5py.File) -> NDArray[np.complex64] | None:
    if not has(file, "probe0"):
        return None
    probe = read_array(file, "probe0", "fc").astype(np.complex64)
    return probe[None] if probe.ndim == 2 else probe


def _check_redundant(file: h5py.File, scan: PtychoDataset) -> None:
    """Refuse a file that says one thing twice, differently."""
    if has(file, "object_pixel_size"):
        stated = read_scalar(file, "object_pixel_size", between=(1e-12, 1e-3), unit="m")
        checks.check_object_pixel(scan, stated)
    checks.check_scan_size(scan)
    if has(file, "positions_px"):
        checks.check_positions_px(scan, read_array(file, "positions_px").astype(np.float64))


def write_dataset(path: str | Path, scan: PtychoDataset) -> None:
    """Write a scan in the documented layout; the file appears whole or not at all.

    Raises
    ------
    InputError
        If the file cannot be written.
    """
    with replacing(Path(path)) as part, h5py.File(part, "w") as file:
        packed: dict[str, Any] = {"compression": "gzip", "compression_opts": 1}
        file.create_dataset(FRAMES, data=scan.frames, chunks=(1, *scan.frames.shape[1:]), **packed)
        file.create_dataset("mask", data=scan.mask.astype(np.uint8), **packed)
        file["positions"] = scan.positions
        file["positions"].attrs.update(units="m", columns=COLUMNS)
        file["energy_eV"] = scan.geometry.energy_eV
        file["distance"] = scan.geometry.distance
        file["det_pixel_size"] = scan.geometry.detector_pixel
        file["object_pixel_size"] = scan.geometry.object_pixel
        if scan.geometry.focus_to_sample is not None:
            file["focus_to_sample"] = scan.geometry.focus_to_sample
        if scan.probe is not None:
            file["probe0"] = scan.probe
