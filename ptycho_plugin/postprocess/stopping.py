"""When a series of repeats has had enough: its sample dies, or its resolution is reached."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import hypot
from statistics import NormalDist
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from ptycho_plugin.checked_model import CheckedModel
from ptycho_plugin.dose import GY_PER_KGY
from ptycho_plugin.postprocess.damage import contrast_loss
from ptycho_plugin.postprocess.frc import RingCorrelation, ring_correlation
from ptycho_plugin.postprocess.repeats import RepeatSeries


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
    """Stops a series whose averaged map is predicted to have the wanted resolution.

    Repeats share probe and, unless they are turned (`ConcentricRings.turn_deg`), positions: artefacts
    that they have in common correlate as if they were sample.
    """

    resolution: Annotated[float, Field(gt=0, json_schema_extra={"units": "m"})]
    """Half period, in metres."""
    criterion: Literal["frc_05", "half_bit"] = "frc_05"
    """Where the correlation with the truth falls below 0.5, or below the root of the half-bit threshold."""
    margin: Annotated[float, Field(ge=0, lt=1)] = 0.05
    """By how much finer than wanted the prediction must be, for what repeats share."""

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
        rings = predicted_correlation(series)
        threshold = 0.5 if self.criterion == "frc_05" else np.sqrt(rings.half_bit())
        reached = rings.half_period(threshold, pixel)
        stop = reached <= self.resolution * (1 - self.margin)
        return Verdict(
            stop=stop,
            reason=(
                f"the average of {len(series)} repeats is predicted to resolve {reached * 1e9:.1f} nm; "
                f"{self.resolution * 1e9:.1f} nm less a margin of {100 * self.margin:g} % is wanted"
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


def predicted_correlation(series: RepeatSeries) -> RingCorrelation:
    """Return the correlation that the average of a series has with the truth, from that of its pairs.

    Notes
    -----
    The pairs' mean r gives n r / (1 + (n - 1) r) for two independent averages of n (Spearman and Brown;
    2 r / (1 + r) for two) and its root with the truth: Rosenthal and Henderson, Journal of Molecular
    Biology 333, 721 (2003), equations 12 and 13.
    """
    pairs = [ring_correlation(first, second) for first, second in series.pairs()]
    n = len(series)
    r = np.clip(np.mean([rings.correlation for rings in pairs], axis=0), 0.0, 1.0)
    return replace(pairs[0], correlation=np.sqrt(n * r / (1 + (n - 1) * r)))


def _high_angle_loss(series: RepeatSeries) -> str:
    """Return what the high-angle signal lost since the first repeat, in words, where it was measured."""
    first, last = (series.repeats[i].high_angle for i in (0, -1))
    if first is None or last is None or first.value == 0:
        return ""
    ratio = last.value / first.value
    sigma = ratio * np.hypot(first.sigma / first.value, last.sigma / max(last.value, last.sigma))
    return f", {100 * (1 - ratio):.1f} +- {100 * sigma:.1f} % of the high-angle signal since the first repeat"
