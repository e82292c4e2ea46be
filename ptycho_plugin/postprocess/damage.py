"""What dose did to a region: contrast, correlation and high-angle signal of its repeats."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from ptycho_plugin.errors import InputError
from ptycho_plugin.postprocess.frc import RingCorrelation, ring_correlation
from ptycho_plugin.postprocess.repeats import HighAngleSignal, RepeatSeries

TILES = 6
"""Along a side: the spread of parts of the map over which the contrast's uncertainty is found."""
LEAST_DISTINCT = 4.5
"""Standard deviations: one pair in 25 of maps that have nothing in common find each other more clearly."""
START = (0.0, 0.1, 0.1)
"""Of the fit, where covariances are near one and doses at most one."""


@dataclass(frozen=True, slots=True)
class ContrastLoss:
    """Phase contrast against dose: its fit by exp(-rate * dose).

    Parameters
    ----------
    rate, sigma : float
        Per Gy, with its standard uncertainty.
    contrast, contrast_sigma : ndarray, (repeat,), float64
        Standard deviation in rad of the phase that a repeat shares with the first one, free of noise.
    """

    rate: float
    sigma: float
    contrast: NDArray[np.float64]
    contrast_sigma: NDArray[np.float64]

    def lost(self, dose: float) -> tuple[float, float]:
        """Return the part of the unexposed contrast that a dose in Gy takes, with its uncertainty."""
        left = exp(-self.rate * dose)
        return 1 - left, left * dose * self.sigma


@dataclass(frozen=True, slots=True)
class DamageMeasures:
    """All that is measured of a series, against its accumulated dose.

    Parameters
    ----------
    dose : ndarray, (repeat,), float64
        In Gy, mean of each repeat's exposures.
    correlation : tuple of RingCorrelation
        Of each repeat but the first with the first.
    correlation_sigma : ndarray, (repeat - 1, ring), float64
    contrast : ContrastLoss
    high_angle : tuple of HighAngleSignal or None
        Of each repeat.
    """

    dose: NDArray[np.float64]
    correlation: tuple[RingCorrelation, ...]
    correlation_sigma: NDArray[np.float64]
    contrast: ContrastLoss
    high_angle: tuple[HighAngleSignal | None, ...]


def damage_measures(series: RepeatSeries) -> DamageMeasures:
    """Return what the dose did to a region.

    Raises
    ------
    InputError
        If there are fewer than two repeats.
    """
    loss = contrast_loss(series)
    first, *others = series.phases
    correlation = tuple(ring_correlation(other, first) for other in others)
    return DamageMeasures(
        dose=series.dose,
        correlation=correlation,
        correlation_sigma=np.stack([correlation_sigma(rings) for rings in correlation]),
        contrast=loss,
        high_angle=tuple(repeat.high_angle for repeat in series.repeats),
    )


def correlation_sigma(rings: RingCorrelation) -> NDArray[np.float64]:
    """Return the standard uncertainty (ring,) of a correlation.

    Notes
    -----
    (1 - r^2) / sqrt(n): a ring's n complex pixels of a real map are n independent numbers, as the one half
    of them are the other half's conjugates.
    """
    return np.asarray((1 - rings.correlation**2) / np.sqrt(rings.pixels))


def contrast_loss(series: RepeatSeries) -> ContrastLoss:
    """Return how fast a region's phase contrast falls with its dose, whatever the noise.

    Covariances of different repeats hold no noise. With variance s^2 of the unexposed phase and doses D,
    they are modelled as s^2 exp(-k (D_i + D_j)). A repeat's own variance has the noise on top, in inverse
    proportion to its photons. All are fitted by least squares: two repeats are just enough. The
    uncertainty comes from the spread of the covariances over tiles of the map, so that the reconstruction's
    artefacts have their part in it.

    Parameters
    ----------
    series : RepeatSeries

    Raises
    ------
    InputError
        If there are fewer than two repeats, or they have nothing in common.
    """
    if len(series) < 2:
        raise InputError(f"{len(series)} repeat tells nothing of a loss: take two or more")
    tiles = _tile_covariances(series.phases)
    covariance = tiles.mean(axis=0)
    if series.distinctness(1) < LEAST_DISTINCT or not covariance[0, 1] > 0:
        raise InputError("the first two repeats do not correlate: they are not maps of one region")
    end, scale = series.repeats[-1].dose_after, float(covariance[0, 1])
    model = _CovarianceModel.of(series, end)
    (log_variance, rate, _), response = model.fit(covariance / scale)
    rates = tiles[:, *model.entries] / scale @ response[1]
    first = np.sqrt(scale * np.exp(log_variance - 2 * rate * model.dose[0]))
    return ContrastLoss(
        rate=float(rate) / end,
        sigma=float(_error_of_mean(rates)) / end,
        contrast=np.r_[first, covariance[0, 1:] / first],
        contrast_sigma=_error_of_mean(tiles[:, 0]) / first,
    )


@dataclass(frozen=True, slots=True)
class _CovarianceModel:
    """Covariances of repeats by three parameters: log s^2, rate of the loss, and variance of the noise.

    Parameters
    ----------
    dose : ndarray, (repeat,), float64
        Over any unit, to which the rate is inverse.
    photons : ndarray, (repeat,), float64
        Over their mean.
    entries : tuple of ndarray, (entry,), intp
        Rows and columns of the covariances that are modelled.
    """

    dose: NDArray[np.float64]
    photons: NDArray[np.float64]
    entries: tuple[NDArray[np.intp], NDArray[np.intp]]

    @classmethod
    def of(cls, series: RepeatSeries, unit: float) -> Self:
        taken = series.dose_taken
        return cls(series.dose / unit, taken / taken.mean(), np.triu_indices(len(series)))

    def covariances(self, parameters: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return them, (entry,)."""
        log_variance, rate, noise = parameters
        doses, own = self._of_entries()
        return np.exp(log_variance - rate * doses) + noise * own

    def jacobian(self, parameters: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return their derivatives, (entry, parameter)."""
        log_variance, rate, _ = parameters
        doses, own = self._of_entries()
        shared = np.exp(log_variance - rate * doses)
        return np.stack([shared, -doses * shared, own], axis=1)

    def fit(self, covariance: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the best parameters, and how they respond to entries, (parameter, entry)."""
        measured = covariance[self.entries]

        def residuals(parameters: NDArray[np.float64]) -> NDArray[np.float64]:
            return self.covariances(parameters) - measured

        parameters = least_squares(residuals, START, self.jacobian).x
        return parameters, np.asarray(np.linalg.pinv(self.jacobian(parameters)), np.float64)

    def _of_entries(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return each entry's sum of doses, and its share of the noise."""
        i, j = self.entries
        return self.dose[i] + self.dose[j], np.where(i == j, 1 / self.photons[i], 0.0)


def _error_of_mean(of_tiles: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the standard error (...) of the mean of values (tile, ...)."""
    return np.asarray(of_tiles.std(axis=0, ddof=1) / np.sqrt(len(of_tiles)))


def _tile_covariances(phases: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the covariances of phases without mean in each tile, ``(tile, repeat, repeat)``."""
    rows, columns = (np.array_split(np.arange(n), TILES) for n in phases.shape[1:])
    tiles = [phases[:, r[0] : r[-1] + 1, c[0] : c[-1] + 1] for r in rows for c in columns]
    return np.stack([np.einsum("irc,jrc->ij", tile, tile) / tile[0].size for tile in tiles])
