"""The simulated source: how many photons come, and how its size blurs the probe."""

from __future__ import annotations

from math import ceil, exp, sqrt

import numpy as np
from numpy.typing import NDArray

from ptycho_plugin.simulation.options import SimulationOptions

FWHM_PER_SIGMA = 2.3548
REACH = 2.0
"""Standard deviations to which a source's image is sampled; its width is kept."""


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
        return self.per_second * exposure_s

    @property
    def per_second(self) -> float:
        """Photons expected in a second, unattenuated, as things stand."""
        return self._options.photons_per_second * max(0.0, 1 + self._options.flux_drift * self._deviation)


def source_points_um(
    fwhm_nm: tuple[float, float], spacing_nm: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return displacements ``(point, 2)`` of the probe and their weights, which sum to one.

    An extended incoherent source gives an incoherent sum of displaced probes: even samples of its
    Gaussian image at the sample.

    Parameters
    ----------
    fwhm_nm : (float, float)
        Width of the image (row, column); along an axis of width 0 there is one point.
    spacing_nm : float
        Largest distance from one point to the next. A pattern, as a function of the displacement,
        has no finer period than the zone plate's outermost zone is wide.
    """
    (rows, row_weights), (columns, column_weights) = (_gaussian_points(fwhm, spacing_nm) for fwhm in fwhm_nm)
    places = np.stack(np.meshgrid(rows, columns, indexing="ij"), axis=-1).reshape(-1, 2)
    return places * 1e-3, np.outer(row_weights, column_weights).ravel()


def _gaussian_points(fwhm: float, spacing: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return even samples of a Gaussian and their weights, with its variance."""
    if fwhm == 0:
        return np.zeros(1), np.ones(1)
    sigma = fwhm / FWHM_PER_SIGMA
    half = ceil(REACH * max(1.0, sigma / spacing))
    places = np.linspace(-REACH, REACH, 2 * half + 1)
    weights = np.exp(-(places**2) / 2)
    weights /= weights.sum()
    return places * (sigma / np.sqrt(weights @ places**2)), weights
