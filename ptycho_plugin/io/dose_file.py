"""The dose of a region as one HDF5 file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py

from ptycho_plugin.dose_query import DoseSoFar, counted_photons
from ptycho_plugin.io.atomic import replacing


def write_dose(path: str | Path, found: DoseSoFar, provenance: Mapping[str, Any]) -> None:
    """Write the dose of a region; the file appears whole or not at all.

    Parameters
    ----------
    path : str or Path
    found : DoseSoFar
    provenance : mapping
        What made it, serializable as JSON (see `ptycho_plugin.provenance.provenance`).

    Raises
    ------
    InputError
        If the file cannot be written.

    Notes
    -----
    ``dose`` (row, column) in gray at the surface, after the electrons' blur, and ``fluence`` in photons
    per m2; their attributes ``pixel`` and ``corner`` (centre of the first pixel, from the region's
    centre) are in metres, as is ``points`` (exposure, 2). The file's attributes name the region, the
    material and the sums.
    """
    photons, grid = counted_photons(found.exposures), found.map.grid
    with replacing(Path(path)) as part, h5py.File(part, "w") as file:
        file.attrs.update(
            sample=found.region.sample,
            area=found.region.area,
            region=found.region.name,
            material=found.map.material,
            formula=found.model.material.formula,
            electron_range=found.map.electron_range,
            illumination=found.illumination.source,
            peak=found.map.peak,
            exposures=len(found.exposures),
            unconfirmed=len(found.unconfirmed),
            unplaced=found.exposures.unplaced,
            photons=photons.number,
            photons_uncertainty=photons.sigma,
        )
        if found.budget is not None:
            file.attrs["budget"] = found.budget.dose
        for name, values, units in (("dose", found.map.dose, "Gy"), ("fluence", found.fluence, "1/m2")):
            file[name] = values
            file[name].attrs.update(units=units, pixel=grid.pixel, corner=grid.corner)
        file["points"] = found.map.points
        file["points"].attrs.update(units="m", columns="y,x")
        file["provenance"] = json.dumps(dict(provenance))
