"""When a series of repeats has had enough: its sample dies, or its resolution is reached."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import hypot
from statistics import NormalDist
from typing import Annotated, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field
from scipy.ndimage import gaussian_filter1d
from scipy.special import ndtr

from ptycho_plugin.checked_model import CheckedModel
from ptycho_plugin.dose import GY_PER_KGY
from ptycho_plugin.postprocess.damage import contrast_loss
from ptycho_plugin.postprocess.frc import FIRST_RING, RingCorrelation, ring_correlation
from ptycho_plugin.postprocess.repeats import RepeatSeries

SMOOTHING_RINGS = 1.0
"""Standard deviation of the weights of neighbouring rings."""
NEIGHBOURS = 2 * np.sqrt(np.pi) * SMOOTHING_RINGS
"""Independent rings in such a mean: the inverse of the sum of its squared weights."""
SMALLEST = 1e-6
"""Correlation that is told from none, and from one."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a series should stop.

    Parameters
    ----------
    stop : bool
    reason : str
        One sentence with the numbers.
    """

    stop: bool
    reason: str


class DamageWatch(CheckedModel):
    """Stops a series whose phase contrast has lost more than a threshold since its first photon."""

    threshold: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Part of the unexposed contrast."""
    confidence: Annotated[float, Field(ge=0.5, lt=1)] = 0.9
    """With which the loss must be above it, by the fit's uncertainty and the systematic one."""
    systematic: Annotated[float, Field(ge=0, lt=1)] = 0.08
    """Part of a loss by which the fit may be wrong whatever the noise: what a reconstruction makes of a
    weak structure depends on its contrast (decision 14)."""

    def judge(self, series: RepeatSeries) -> Verdict:
        """Say whether a series goes on: see `damage.contrast_loss`.

        Parameters
        ----------
        series : RepeatSeries
        """
        if len(series) < 2:
            return Verdict(stop=False, reason="no loss can be told before the second repeat")
        dose = series.repeats[-1].dose_after
        lost, statistical = contrast_loss(series).lost(dose)
        sigma = hypot(statistical, self.systematic * lost)
        stop = lost - NormalDist().inv_cdf(self.confidence) * sigma > self.threshold
        return Verdict(
            stop=stop,
            reason=(
                f"{100 * lost:.1f} +- {100 * sigma:.1f} % of the phase contrast is lost after "
                f"{dose / GY_PER_KGY:.4g} kGy{_high_angle_loss(series)}: "
                f"{'more' if stop else 'not surely more'} than {100 * self.threshold:g} % "
                f"at a confidence of {100 * self.confidence:g} %"
            ),
        )


class ResolutionReached(CheckedModel):
    """Stops a series whose averaged map surely has the wanted resolution.

    Repeats share probe and, unless they are turned (`ConcentricRings.turn_deg`), positions: artefacts
    that they have in common correlate as if they were sample.
    """

    resolution: Annotated[float, Field(gt=0, lt=1e-5, json_schema_extra={"units": "m"})]
    """Half period, in metres."""
    criterion: Literal["frc_05", "half_bit"] = "frc_05"
    """Where the correlation with the truth falls below 0.5, or below the root of the half-bit threshold."""
    confidence: Annotated[float, Field(ge=0.5, lt=1)] = 0.8
    """With which no ring up to the wanted frequency lies below that."""

    def judge(self, series: RepeatSeries, pixel: float) -> Verdict:
        """Say whether a series goes on.

        Parameters
        ----------
        series : RepeatSeries
        pixel : float
            Of its maps, in metres.
        """
        if len(series) < 2:
            return Verdict(stop=False, reason="no resolution can be told before the second repeat")
        predicted = predicted_correlation(series)
        threshold = 0.5 if self.criterion == "frc_05" else predicted.rings.threshold_to_truth("half_bit")
        reached = predicted.half_period(threshold, pixel, self.confidence)
        return Verdict(
            stop=reached <= self.resolution,
            reason=(
                f"the average of {len(series)} repeats resolves {reached * 1e9:.1f} nm at a confidence of "
                f"{100 * self.confidence:g} %, and {self.resolution * 1e9:.1f} nm are wanted"
            ),
        )


class StopCriteria(CheckedModel):
    """When a region has had enough; a criterion that is None is not asked."""

    damage: DamageWatch | None = DamageWatch()
    resolution: ResolutionReached | None = None

    def judge(self, series: RepeatSeries, pixel: float) -> Verdict:
        """Ask both, and stop if either says so; the reason is that of all that say so, or else of all.

        Parameters
        ----------
        series : RepeatSeries
        pixel : float
            Of its maps, in metres.
        """
        verdicts = [self.damage.judge(series)] if self.damage else []
        verdicts += [self.resolution.judge(series, pixel)] if self.resolution else []
        stop = any(verdict.stop for verdict in verdicts)
        reasons = [verdict.reason for verdict in verdicts if verdict.stop or not stop]
        return Verdict(stop=stop, reason="; ".join(dict.fromkeys(reasons)) or "no criterion was given")


@dataclass(frozen=True, slots=True)
class PredictedCorrelation:
    """What correlation an average of repeats has with the truth, and how surely.

    Parameters
    ----------
    rings : RingCorrelation
    sigma : ndarray, (ring,), float64
        Standard uncertainty: of the prediction, and of what noise will make of the ring.
    """

    rings: RingCorrelation
    sigma: NDArray[np.float64]

    def half_period(self, threshold: ArrayLike, pixel: float, confidence: float = 0.5) -> float:
        """Return the resolution that the average has with a probability of at least ``confidence``.

        A resolution is where a correlation *first* falls below the threshold. The probability that it
        has not done so is that of every ring so far, each by a normal distribution of its own.

        Parameters
        ----------
        threshold : array_like, () or (ring,)
        pixel : float
            Side of a map's pixel.
        confidence : float
            0.5 gives the median.

        Returns
        -------
        float
            As `RingCorrelation.half_period`.
        """
        above = self.rings.correlation - np.broadcast_to(threshold, self.sigma.shape)
        holds = np.asarray(ndtr(above / self.sigma), np.float64)
        holds[:FIRST_RING] = 1.0
        so_far = np.cumprod(holds, dtype=np.float64)
        return replace(self.rings, correlation=so_far).half_period(confidence, pixel)


def predicted_correlation(series: RepeatSeries) -> PredictedCorrelation:
    """Return the correlation that the average of a series has with the truth, from that of its pairs.

    The pairs' correlation is smoothed over neighbouring rings, whose noise is much larger than what a
    sample changes from one to the next.

    Notes
    -----
    The pairs' mean r gives n r / (1 + (n - 1) r) for two independent averages of n (Spearman and Brown;
    2 r / (1 + r) for two) and its root with the truth: Rosenthal and Henderson, Journal of Molecular
    Biology 333, 721 (2003), equations 12 and 13. A ring of m pixels has a correlation of c within
    (1 - c^2) / sqrt(m), and of n repeats n (n - 1) / 2 pairs tell of it, as if they were independent.
    """
    pairs = [ring_correlation(first, second) for first, second in series.pairs()]
    n, pixels = len(series), pairs[0].pixels
    looked_at = _over_neighbours(pixels)
    r = _over_neighbours(pixels * np.mean([rings.correlation for rings in pairs], axis=0)) / looked_at
    r = np.clip(r, SMALLEST, 1 - SMALLEST)
    c = np.sqrt(n * r / (1 + (n - 1) * r))
    of_pairs = (1 - r**2) / np.sqrt(len(pairs) * looked_at * NEIGHBOURS)
    slope = n / (2 * c * (1 + (n - 1) * r) ** 2)
    sigma = np.hypot(slope * of_pairs, (1 - c**2) / np.sqrt(pixels))
    return PredictedCorrelation(replace(pairs[0], correlation=c), sigma)


def _over_neighbours(of_rings: NDArray[np.generic]) -> NDArray[np.float64]:
    """Return the mean of each ring and its neighbours."""
    smooth: NDArray[np.float64] = gaussian_filter1d(of_rings.astype(np.float64), SMOOTHING_RINGS)
    return smooth


def _high_angle_loss(series: RepeatSeries) -> str:
    """Return what the high-angle signal lost since the first repeat, in words, where it was measured."""
    first, last = (series.repeats[i].high_angle for i in (0, -1))
    if first is None or last is None or first.value == 0:
        return ""
    ratio = last.value / first.value
    sigma = hypot(last.sigma, ratio * first.sigma) / first.value
    return f", {100 * (1 - ratio):.1f} +- {100 * sigma:.1f} % of the high-angle signal since the first repeat"
