"""The figures that a verdict on a map is based on."""

from __future__ import annotations

from math import sqrt
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ptycho_plugin.checked_model import CheckedModel
from ptycho_plugin.reconstruction.contrast import contrast_of
from ptycho_plugin.reconstruction.deflections import curls_of
from ptycho_plugin.reconstruction.diagnosis import Evidence
from ptycho_plugin.reconstruction.estimate import Estimate
from ptycho_plugin.reconstruction.frame_look import FrameLook
from ptycho_plugin.reconstruction.mean_frame import MeanFrame

Stage = Literal["live", "finished", "diverged"]

DARK = 0.3
"""Of the median frame's counts: the sample never took so much from a frame of a good scan (0.9 and more)."""
ILL_FITTING = 3.0
"""Times the median frame's misfit, each in units of its noise."""
SAME_PLACE_PX = 0.01
LEAST_R = 1e-6
"""Of what is divided by; of as many photons as nobody counts."""
NEARLY = 0.99
"""Of the tolerance: a frame there would lie farther off, if it were let."""
CLIPPED_PX = 10
"""Pixels that share the largest count of all: 1 of counts that are not clipped."""
CLIPPED_COUNTS = 30.0
"""Smaller largest counts are shared by chance."""


class MapFigures(CheckedModel):
    """What is known of a map besides its picture; None where it cannot be told."""

    stage: Stage
    frames: int
    planned: int
    r_factor: float
    r_poisson: float
    """R that Poisson noise alone would give, had the map expected the frames."""
    r_mean_frame: float
    """R of the mean frame in place of the map: what a map that knows nothing of the sample reaches."""
    r_mean_frame_poisson: float
    """R that Poisson noise alone would give of frames that all are like the mean."""
    beam_off_px: tuple[int, int] | None
    """From where the frames' window has the beam to where the start probe's light fits the mean frame best,
    (row, column)."""
    likeness: float
    """Of the mean frame and the start probe's light, where it fits best: `MeanFrame.likeness`."""
    likeness_gain: float
    """Of that over the likeness where the beam should be."""
    probe_overlap: float
    """Of the strongest modes of probe and start probe, wherever they overlap best: 1 for the same."""
    at_tolerance: float
    """Share of frames, `Result.at_tolerance`."""
    ill_fitting: float
    """Share of frames with more than `ILL_FITTING` times the median misfit."""
    standing_still: float
    """Share of frames measured where the one before was."""
    dark: float
    """Share of frames with less than `DARK` of the median counts."""
    curls: tuple[float, float, float, float] | None
    """`Curls` of the frames' deflections: as read, mirrored, transposed, turned."""
    contrast: float | None
    """Correlation of phase and modulus, positive in matter, where it is evidence: `contrast_of`."""
    hot_pixels: int
    clipped: float
    """Share of counts in pixels that are at the largest count of all, where that is a limit."""

    @property
    def times_poisson(self) -> float:
        """R over that of Poisson noise alone."""
        return self.r_factor / max(self.r_poisson, LEAST_R)

    @property
    def signal(self) -> float:
        """Power of what frames have beyond their mean, over that of their noise."""
        return (self.r_mean_frame / self.r_mean_frame_poisson) ** 2 - 1

    @property
    def unexplained(self) -> float:
        """Share of that power which the map does not explain; below 0 where it explains noise as well."""
        signal = self.r_mean_frame**2 - self.r_mean_frame_poisson**2
        return (self.r_factor**2 - self.r_poisson**2) / max(signal, LEAST_R**2)


def figures_of(
    look: FrameLook,
    statistics: MeanFrame,
    evidence: Evidence,
    *,
    stage: Stage,
    flat: Estimate,
    trusted: NDArray[np.bool_],
    r_factor: float,
    ways_px: NDArray[np.float64],
    tolerance_px: float,
    planned: int,
) -> MapFigures:
    """Return the figures of a map.

    Parameters
    ----------
    look : FrameLook
        Of all frames.
    statistics : MeanFrame
    evidence : Evidence
        What the reconstruction was given.
    stage : "live", "finished" or "diverged"
    flat : Estimate
        The estimate on the host, without phase ramp.
    trusted : ndarray of bool, (row, column)
        Where that can be judged.
    r_factor : float
        `Result.residual`.
    ways_px : ndarray, (frame, 2), float64
        From measured to refined positions.
    tolerance_px : float
        0 where positions are trusted.
    planned : int
        Frames that were planned.
    """
    power = look.counts.sum()
    likeness, off_px = statistics.aligned_likeness(evidence.probe)
    lit = look.counts >= DARK * np.median(look.counts)
    curls = None
    if not evidence.fills_its_array:
        curls = curls_of(
            look.deflection[lit],
            look.deflection_variance[lit],
            evidence.positions_px[lit],
            evidence.diameter_px,
        )
    return MapFigures(
        stage=stage,
        frames=len(look.counts),
        planned=planned,
        r_factor=r_factor,
        r_poisson=sqrt(look.noise.sum() / power),
        r_mean_frame=sqrt(look.scatter.sum() / power),
        r_mean_frame_poisson=sqrt(look.scatter_noise.sum() / power),
        beam_off_px=None if evidence.fills_its_array else off_px,
        likeness=likeness,
        likeness_gain=likeness - evidence.likeness,
        probe_overlap=_overlap(flat.probe[0], evidence.probe[0]),
        at_tolerance=_at_tolerance(ways_px, tolerance_px),
        ill_fitting=_ill_fitting(look),
        standing_still=_standing_still(evidence.positions_px),
        dark=1 - float(lit.mean()),
        curls=curls,
        contrast=_contrast(flat, trusted) if stage == "finished" else None,
        hot_pixels=statistics.hot_pixels(evidence.probe),
        clipped=_clipped(look),
    )


def _overlap(found: NDArray[np.complex64], start: NDArray[np.complex64]) -> float:
    """Return the largest overlap of two probes, shifted against one another, over their norms."""
    overlap = np.fft.ifft2(np.fft.fft2(found) * np.fft.fft2(start).conj())
    norms = np.linalg.norm(found) * np.linalg.norm(start)
    return float(np.abs(overlap).max() / norms)


def _ill_fitting(look: FrameLook) -> float:
    relative = np.divide(look.misfit, look.noise, where=look.noise > 0, out=np.zeros_like(look.noise))
    return float(np.mean(relative > ILL_FITTING * np.median(relative)))


def _at_tolerance(ways_px: NDArray[np.float64], tolerance_px: float) -> float:
    if not tolerance_px:
        return 0.0
    return float(np.mean(np.linalg.norm(ways_px, axis=1) > NEARLY * tolerance_px))


def _standing_still(positions_px: NDArray[np.float64]) -> float:
    steps = np.linalg.norm(np.diff(positions_px, axis=0), axis=1)
    return float(np.sum(steps < SAME_PLACE_PX)) / len(positions_px)


def _contrast(flat: Estimate, trusted: NDArray[np.bool_]) -> float | None:
    transmission = np.prod(flat.object, axis=0)
    if np.ptp(np.abs(transmission[trusted])) == 0:  # nothing has been found yet
        return None
    contrast = contrast_of(transmission, trusted)
    return contrast.effect if contrast.decides else None


def _clipped(look: FrameLook) -> float:
    largest = float(look.brightest.max())
    pixels = float(look.as_bright[look.brightest == largest].sum())
    if pixels < CLIPPED_PX or largest < CLIPPED_COUNTS:
        return 0.0
    return pixels * largest / float(look.counts.sum())
