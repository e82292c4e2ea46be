"""A recorded scan as a beamline: acquisition on real data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ptycho_plugin.dataset import PtychoDataset
from ptycho_plugin.devices.assembly import LimitsUm, assemble
from ptycho_plugin.devices.beamline import Beamline
from ptycho_plugin.trajectory import RecordedPositions

if TYPE_CHECKING:
    from ptycho_plugin.publishing.calibrations import CalibrationStore


def replayed_beamline(
    scan: str | Path | PtychoDataset,
    directory: str | Path,
    *,
    calibrations: CalibrationStore | None = None,
    time_factor: float = 1.0,
) -> Beamline:
    """Return a beamline whose stages find recorded frames, the nearest one wherever they stand.

    Its ``trajectory`` visits the recorded positions in their order. The file's start probe, if
    it has one, is kept in the calibrations, and its uid is the beamline's ``start_probe``; its
    mask is kept there too.

    Parameters
    ----------
    scan : str, Path or PtychoDataset
        A file that `ptycho_plugin.io.read_dataset` can read, or what it holds.
    directory : str or Path
        Where the detector's files go.
    calibrations : CalibrationStore, optional
        Without it a scan has no probe to name.
    time_factor : float
        Duration of a simulated second in seconds: 1 is real time, 0 as fast as it goes.

    Raises
    ------
    InputError
        If the file cannot be used, or its counts are no whole numbers.
    """
    from ptycho_plugin.io import read_dataset
    from ptycho_plugin.simulation.recorded import RecordedWorld

    dataset = scan if isinstance(scan, PtychoDataset) else read_dataset(scan)
    world = RecordedWorld(dataset)
    beamline = assemble(
        world,
        directory,
        time_factor,
        _travelled_um(world.positions_um),
        name="replayed",
        geometry=dataset.geometry,
        optic=None,
        photons_per_second=world.photons_per_second,
        places={"sample": (0.0, 0.0)},
        calibrations=calibrations,
        trajectory=RecordedPositions(points_um=tuple(map(tuple, world.positions_um.tolist()))),
        start_probe=_kept_probe(dataset, calibrations),
    )
    # The recorded frames are cropped about the beam.
    beamline.detector.beam_centre_measured.set(True).wait()
    if calibrations is not None:
        # What is invalid in some frames only is marked in those frames.
        valid = np.any(np.broadcast_to(dataset.mask, dataset.frames.shape), axis=0)
        beamline.detector.mask_version.set(calibrations.store_mask(valid)).wait()
    return beamline


def _travelled_um(positions_um: np.ndarray) -> LimitsUm:
    """Return the limits along rows and columns that the recorded stage has reached."""
    (low_y, low_x), (high_y, high_x) = positions_um.min(axis=0), positions_um.max(axis=0)
    return (float(low_y), float(high_y)), (float(low_x), float(high_x))


def _kept_probe(dataset: PtychoDataset, calibrations: CalibrationStore | None) -> str | None:
    if dataset.probe is None or calibrations is None:
        return None
    return calibrations.store_probe(dataset.probe, geometry=dataset.geometry, md={"source": dataset.source})
