"""A scan that is complete, reconstructed in one call."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ptycho_plugin.dataset import PtychoDataset
from ptycho_plugin.errors import InputError
from ptycho_plugin.reconstruction.driver import Reconstruction, Report
from ptycho_plugin.reconstruction.options import ReconstructionOptions
from ptycho_plugin.reconstruction.result import Result


def reconstruct(
    dataset: PtychoDataset,
    options: ReconstructionOptions | None = None,
    report: Report | None = None,
) -> Result:
    """Reconstruct a whole scan.

    Parameters
    ----------
    dataset : PtychoDataset
        With a start probe.
    options : ReconstructionOptions, optional
    report : callable, optional
        Called with a `Progress` after each iteration.

    Raises
    ------
    InputError
        If the scan has no start probe, or its options ask for a graphics processor and none works.
    DivergenceError
        If an engine diverges.
    ReconstructionError
        If no pixel counted a photon.
    """
    return started(dataset, options).finish(report)


def started(
    dataset: PtychoDataset,
    options: ReconstructionOptions | None = None,
    planned: NDArray[np.float64] | None = None,
) -> Reconstruction:
    """Return a reconstruction that has taken in a scan, by default a whole one: see `reconstruct`.

    Parameters
    ----------
    dataset : PtychoDataset
    options : ReconstructionOptions, optional
    planned : ndarray, (n, 2), float64, optional
        Planned positions, as for `Reconstruction`, where frames may be missing.
    """
    if dataset.probe is None:
        raise InputError(
            f"{dataset.source}: there is no start probe; store one, or give the zone plate's parameters"
        )
    planned = dataset.positions if planned is None else planned
    reconstruction = Reconstruction(dataset.geometry, dataset.probe, planned, options)
    reconstruction.add(dataset.intensities(), dataset.positions)
    return reconstruction
