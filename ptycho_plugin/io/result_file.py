"""A reconstruction as one HDF5 file that says what made it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import h5py
import numpy as np
from numpy.typing import NDArray

from ptycho_plugin.errors import InputError
from ptycho_plugin.geometry import Geometry
from ptycho_plugin.io.atomic import replacing

if TYPE_CHECKING:
    from ptycho_plugin.reconstruction.result import Result

CONVENTIONS = (
    "exit wave = probe * object[r:r+side, c:c+side], (r, c) = positions_px; "
    "frame = |fftshift(fft2(exit wave))|^2, or the magnified near field if there is a focus_to_sample; "
    "a growing position is a growing index; "
    "the phase is negative where there is more matter"
)


def write_result(
    path: str | Path,
    result: Result,
    provenance: Mapping[str, Any],
    metadata: Mapping[str, Any] | None = None,
) -> None:
    """Write a reconstruction; the file appears whole or not at all.

    Parameters
    ----------
    path : str or Path
    result : Result
    provenance : mapping
        What made it, serializable as JSON (see `ptycho_plugin.provenance.provenance`).
    metadata : mapping, optional
        What else is known of it where it is published, serializable as JSON: see `read_metadata`.

    Raises
    ------
    InputError
        If the file cannot be written.

    Notes
    -----
    ``object`` (row, column) and ``probe`` (mode, row, column) are complex64, as are ``slices``
    (slice, row, column) where there are several, whose product ``object`` is; ``phase`` (radians)
    and ``amplitude`` float32, ``trusted`` (row, column) bool, ``positions`` (frame, 2) metres,
    the probe's attribute ``mode_powers`` the share of each mode in a frame's photons,
    ``positions_px`` (frame, 2) the top-left pixel, with its fraction, of each frame's patch in
    ``object``, ``positions_measured`` (frame, 2) metres what the stage said, ``intensities`` (frame,) the
    beam's relative to their mean, ``background`` the counts that every pixel has besides, ``error``
    (iteration,) (its attribute ``likelihood_from`` as in `Result`), ``frames_used`` (iteration,), the first
    so many frames, and ``residual``; ``geometry`` holds scalars with their units; ``verdict`` and
    ``provenance`` are JSON, and so is ``metadata`` where it was published.
    """
    with replacing(Path(path)) as part, h5py.File(part, "w") as file:
        file.attrs.update(conventions=CONVENTIONS, device=result.device, seconds=result.seconds)
        file["object"] = result.object.astype(np.complex64, copy=False)
        if len(result.slices) > 1:
            file["slices"] = result.slices
            file["slices"].attrs["distance"] = result.options.slice_distance
        file["probe"] = result.probe.astype(np.complex64, copy=False)
        file["probe"].attrs["mode_powers"] = result.mode_powers
        file["phase"] = result.phase.astype(np.float32, copy=False)
        file["phase"].attrs["units"] = "rad"
        file["amplitude"] = result.amplitude.astype(np.float32, copy=False)
        file["trusted"] = result.trusted
        file["intensities"] = result.intensities
        file["background"] = result.background
        file["background"].attrs["units"] = "counts/px"
        file["error"] = result.errors
        file["error"].attrs["likelihood_from"] = result.likelihood_from
        file["frames_used"] = result.frames_used
        file["residual"] = result.residual
        file["verdict"] = result.verdict.model_dump_json()
        for name, values, units in (
            ("positions", result.positions, "m"),
            ("positions_px", result.positions_px, "px"),
            ("positions_measured", result.positions_measured, "m"),
        ):
            file[name] = values
            file[name].attrs.update(units=units, columns="y,x")
        _write_geometry(file.create_group("geometry"), result.geometry)
        file["provenance"] = json.dumps(dict(provenance))
        if metadata is not None:
            file["metadata"] = json.dumps(dict(metadata))


def read_metadata(file: str | Path | BinaryIO) -> dict[str, Any]:
    """Return what is known of a result where it is published, as its file has it.

    Raises
    ------
    InputError
        If it is no such file.
    """
    try:
        with h5py.File(file) as opened:
            return dict(json.loads(opened["metadata"][()]))
    except (OSError, KeyError, TypeError, ValueError):
        raise InputError(f"{file} holds no metadata of a published result") from None


def read_probe(path: str | Path) -> tuple[NDArray[np.complex64], float]:
    """Return the probe of a result, (mode, row, column), and the side of its pixels in metres.

    Raises
    ------
    InputError
        If the file is no such result.
    """
    try:
        with h5py.File(path) as file:
            probe, pixel = file["probe"][()], float(file["geometry/object_pixel"][()])
    except (OSError, KeyError, TypeError, ValueError):
        raise InputError(
            f"{path} holds no probe with its pixel: give a file that ptycho reconstruct wrote"
        ) from None
    return np.asarray(probe, np.complex64), pixel


def _write_geometry(group: h5py.Group, geometry: Geometry) -> None:
    quantities = {
        "energy_eV": "eV",
        "wavelength": "m",
        "distance": "m",
        "detector_pixel": "m",
        "object_pixel": "m",
        "frame_side": "px",
        "focus_to_sample": "m",
    }
    for name, units in quantities.items():
        value = getattr(geometry, name)
        if value is not None:
            group[name] = value
            group[name].attrs["units"] = units
