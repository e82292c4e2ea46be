"""Why a reconstruction diverges, as its data show it.

Each suspicion measures one thing and divides it by the value from which on it is suspect; the strongest
one above 1 is the likely cause.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ptycho_plugin.optics import enclosing_diameter
from ptycho_plugin.trajectory import typical_step

BRIGHT = 10.0
"""Times the median frame's counts."""
FEW_COUNTS = 100.0
"""Of a frame."""
LONGEST_STEP = 1.0
"""Of the probe's diameter: beyond, frames share nothing of the object."""
SHORTEST_SCAN = 0.1
"""Of the probe's diameter: below, every frame is of the same place."""
WIDE = 0.8
"""Of the probe's array: beyond, its rim meets the opposite one."""
MOST_HIDDEN = 0.9
"""Of the probe's light on the detector."""
LEAST_LIKENESS = 0.3
"""Of the mean frame and the probe's light."""

Suspicion = tuple[float, str]
"""How many times more than the suspect value, and a sentence."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a reconstruction was given.

    Parameters
    ----------
    probe : ndarray, (mode, row, column), complex64
        The start probe.
    positions_px : ndarray, (frame, 2), float64
        ``(row, column)`` in object pixels.
    counts : ndarray, (frame,), float64
        Of each frame, over its measured pixels.
    share_seen, likeness : float
        As `MeanFrame` has them of the start probe.
    fills_its_array : bool
        Whether the probe is meant to be as wide as its array, as in a near field.
    """

    probe: NDArray[np.complex64]
    positions_px: NDArray[np.float64]
    counts: NDArray[np.float64]
    share_seen: float
    likeness: float
    fills_its_array: bool = False

    @property
    def diameter_px(self) -> float:
        """Of 90 % of the probe, at least a pixel."""
        return max(enclosing_diameter(self.probe, 0.9, pixel=1), 1.0)


def likely_cause(evidence: Evidence) -> str:
    """Return a sentence about what is most out of the ordinary, or that nothing is."""
    of_width = (_no_scan, _wide_probe) if evidence.fills_its_array else ()
    strength, sentence = max(suspect(evidence) for suspect in SUSPICIONS if suspect not in of_width)
    if strength > 1:
        return sentence
    return "frames, positions, mask and start probe look ordinary: try another start probe"


def _one_bright_frame(evidence: Evidence) -> Suspicion:
    frame, ratio = int(evidence.counts.argmax()), evidence.counts.max() / max(np.median(evidence.counts), 1)
    return ratio / BRIGHT, f"frame {frame} has {ratio:.3g} times the counts of the median one: leave it out"


def _few_photons(evidence: Evidence) -> Suspicion:
    median = float(np.median(evidence.counts))
    sentence = f"the median frame has {median:.3g} counts: check the shutter, the exposure and the mask"
    return FEW_COUNTS / max(median, 0.1), sentence


def _no_overlap(evidence: Evidence) -> Suspicion:
    step, diameter = typical_step(evidence.positions_px), evidence.diameter_px
    sentence = (
        f"neighbouring frames lie {step:.3g} px apart, but the start probe is {diameter:.3g} px wide: "
        "check the positions' unit and the probe"
    )
    return step / diameter / LONGEST_STEP, sentence


def _no_scan(evidence: Evidence) -> Suspicion:
    span, diameter = float(np.ptp(evidence.positions_px, axis=0).max()), evidence.diameter_px
    sentence = (
        f"all frames lie within {span:.3g} px, but the start probe is {diameter:.3g} px wide: "
        "check the positions and their unit"
    )
    return SHORTEST_SCAN * diameter / max(span, 1e-3), sentence


def _wide_probe(evidence: Evidence) -> Suspicion:
    side, diameter = evidence.probe.shape[-1], evidence.diameter_px
    sentence = (
        f"the start probe is {diameter:.3g} px wide, its array {side}: check its defocus and its pixel, "
        "or crop frames larger"
    )
    return diameter / side / WIDE, sentence


def _hidden_beam(evidence: Evidence) -> Suspicion:
    hidden = 1 - evidence.share_seen
    sentence = f"the mask hides {hidden:.0%} of the start probe's light: check the mask and the beam centre"
    return hidden / MOST_HIDDEN, sentence


def _other_light(evidence: Evidence) -> Suspicion:
    sentence = (
        f"the start probe's light is like the mean frame by {evidence.likeness:.2f}, 1 being the same: "
        "check the beam centre and the probe"
    )
    return LEAST_LIKENESS / max(evidence.likeness, 1e-2), sentence


SUSPICIONS = (
    _one_bright_frame,
    _few_photons,
    _no_overlap,
    _no_scan,
    _wide_probe,
    _hidden_beam,
    _other_light,
)
