"""The simulated source: how many photons come, and how its size blurs the probe."""

from __future__ import annotations

from math import exp, sqrt

import numpy as np
from numpy.typing import NDArray

from ptycho_plugin.simulation.options import SimulationOptions

FWHM_PER_SIGMA = 2.3548
NODES = 3
"""Of the Gauss-Hermite rule along an axis: exact for a blur up to the fifth power."""


class DriftingFlux:
    """Photons per second that wander slowly: an Ornstein-Uhlenbeck process in exposed time."""

    def __init__(self, options: SimulationOptions, rng: np.random.Generator) -> None:
        self._options = options
        self._rng = rng
        self._deviation = rng.normal()

    def photons(self, exposure_s: float) -> float:
        """Return the photons expected, unattenuated, in an exposure, and let its time pass."""
        kept = exp(-exposure_s / self._options.flux_drift_s)
        self._deviation = kept * self._deviation + sqrt(1 - kept**2) * self._rng.normal()
        drift = max(0.0, 1 + self._options.flux_drift * self._deviation)
        return self._options.photons_per_second * exposure_s * drift


def source_points_um(
    fwhm_nm: tuple[float, float],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return displacements ``(point, 2)`` of the probe and their weights, which sum to one.

    An extended incoherent source gives an incoherent sum of displaced probes: Gauss-Hermite points
    of its Gaussian image at the sample.

    Parameters
    ----------
    fwhm_nm : (float, float)
        Width of the image (row, column); along an axis of width 0 there is one point.
    """
    (rows, row_weights), (columns, column_weights) = map(_gaussian_points, fwhm_nm)
    places = np.stack(np.meshgrid(rows, columns, indexing="ij"), axis=-1).reshape(-1, 2)
    return places * 1e-3, np.outer(row_weights, column_weights).ravel()


def _gaussian_points(fwhm: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    nodes, weights = np.polynomial.hermite_e.hermegauss(NODES if fwhm else 1)
    return nodes * (fwhm / FWHM_PER_SIGMA), weights / weights.sum()
