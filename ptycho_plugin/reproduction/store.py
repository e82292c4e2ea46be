"""The folder of a reproduction: a file for each map, whole or not there, named after all that made it."""

from __future__ import annotations

import hashlib
import json
import sys
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from ptycho_plugin.errors import InputError
from ptycho_plugin.geometry import M_PER_UM
from ptycho_plugin.io.atomic import replacing
from ptycho_plugin.io.result_file import read_probe, write_result
from ptycho_plugin.provenance import provenance
from ptycho_plugin.reconstruction.result import Result
from ptycho_plugin.reproduction.options import Conditions
from ptycho_plugin.reproduction.scans import Region, Scan
from ptycho_plugin.simulation.samples import SAMPLES
from ptycho_plugin.simulation.specimens import Truth

KEY_LENGTH = 12
"""Hexadecimal digits: a folder holds some hundreds of files."""


@dataclass(frozen=True, slots=True)
class RepeatMap:
    """The reconstruction of one repeat, as it is kept.

    Parameters
    ----------
    transmission : ndarray, (row, column), complex64
    positions : ndarray, (frame, 2), float64
        Of the probe, in metres from the region's middle, as the encoders saw them.
    positions_px : ndarray, (frame, 2), float64
        Top-left pixel of each frame's patch in `transmission`.
    drift : (float, float)
        True way of the sample, in metres: the probe was that much farther along on it.
    errors, likelihood_from, residual
        See `Result`.
    code_sha256 : str
        Of the package that made it.
    """

    transmission: NDArray[np.complex64]
    positions: NDArray[np.float64]
    positions_px: NDArray[np.float64]
    drift: tuple[float, float]
    errors: NDArray[np.float64]
    likelihood_from: int
    residual: float
    code_sha256: str


class Store:
    """Where a reproduction is kept. A name holds a digest of everything but the code that made its content.

    Parameters
    ----------
    folder : Path
    conditions : Conditions

    Raises
    ------
    InputError
        If the folder cannot be made.
    """

    def __init__(self, folder: Path, conditions: Conditions) -> None:
        self.conditions = conditions
        self._folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{folder} cannot be made: {error.strerror}; name another folder") from error

    @property
    def probe_file(self) -> Path:
        """Where the reconstruction of the test specimen is."""
        return self._file("calibration")

    def map_file(self, scan: Scan) -> Path:
        """Return where the reconstruction of a scan is."""
        return self._file(scan.name, scan.region.sample)

    def truth_file(self, region: Region) -> Path:
        """Return where the true transmission of a region is."""
        return self._file(f"{region.name}-truth", region.sample)

    def write_probe(self, result: Result) -> None:
        """Keep the reconstruction of the test specimen."""
        write_result(self.probe_file, result, self._provenance("calibration", result))

    def probe(self) -> NDArray[np.complex64]:
        """Return the probe, (mode, row, column), that was found on the test specimen."""
        return read_probe(self.probe_file)[0]

    def write_map(self, scan: Scan, result: Result) -> None:
        """Keep the reconstruction of a scan."""
        made_by = self._provenance(scan.name, result) | {
            "sample": SAMPLES[scan.region.sample].model_dump(mode="json"),
            "drift_um": scan.drift_um(self.conditions),
        }
        write_result(self.map_file(scan), result, made_by)

    def map(self, scan: Scan) -> RepeatMap:
        """Return the reconstruction of a scan.

        Raises
        ------
        InputError
            If its file is not there, or is none of ours.
        """
        path = self.map_file(scan)
        try:
            with h5py.File(path) as file:
                made_by = json.loads(file["provenance"][()])
                row_um, column_um = made_by["drift_um"]
                return RepeatMap(
                    transmission=file["object"][()],
                    positions=file["positions"][()],
                    positions_px=file["positions_px"][()],
                    drift=(row_um * M_PER_UM, column_um * M_PER_UM),
                    errors=file["error"][()],
                    likelihood_from=int(file["error"].attrs["likelihood_from"]),
                    residual=float(file["residual"][()]),
                    code_sha256=made_by["code"]["sha256"],
                )
        except (OSError, KeyError, ValueError, TypeError) as error:
            raise InputError(f"{path} is no map: {error}; remove it to have it made again") from None

    def write_truth(self, region: Region, truth: Truth) -> None:
        """Keep the true transmission of a region."""
        with replacing(self.truth_file(region)) as part, h5py.File(part, "w") as file:
            file["transmission"] = truth.transmission
            file["pixel"], file["origin"] = truth.pixel, truth.origin
            for name in ("pixel", "origin"):
                file[name].attrs["units"] = "m"

    def truth(self, region: Region) -> Truth:
        """Return the true transmission of a region.

        Raises
        ------
        InputError
            If its file is not there, or is none of ours.
        """
        path = self.truth_file(region)
        try:
            with h5py.File(path) as file:
                row, column = map(float, file["origin"])
                return Truth(file["transmission"][()], float(file["pixel"][()]), (row, column))
        except (OSError, KeyError, ValueError, TypeError) as error:
            raise InputError(f"{path} holds no truth: {error}; remove it to have it made again") from None

    def _file(self, name: str, sample: str | None = None) -> Path:
        made_of = [self.conditions.model_dump(mode="json"), name]
        if sample is not None:
            made_of.append(SAMPLES[sample].model_dump(mode="json"))
        key = hashlib.sha256(json.dumps(made_of).encode()).hexdigest()[:KEY_LENGTH]
        return self._folder / f"{name}-{key}.h5"

    def _provenance(self, name: str, result: Result) -> dict[str, object]:
        made_by = provenance(
            options=result.options.model_dump(mode="json"),
            frames=(0, len(result.positions)),
            command=sys.argv,
            source={"simulated": name},
        )
        return made_by | {"conditions": self.conditions.model_dump(mode="json")}
