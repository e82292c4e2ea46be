"""Which way detector and stage are mounted, found from the first frames of a scan.

Every hypothesis is tried on a few groups of neighbouring frames, each reconstructed on its own from
the start probe. A wrong class of hypotheses cannot explain the frames. Inside a class, the start probe
fits only one conjugate, if it is defocused, and only one inverse, if it is not symmetric; after a few
iterations the others still lag behind.

Whether the best hypothesis is ahead by more than luck is asked of the groups: log R of hypotheses
(treatments) in groups of frames (blocks) is a randomised block design, and Tukey's honestly significant
difference (Tukey, "The problem of multiple comparisons", 1953) compares the best with each other one, with
the number of hypotheses paid for. Groups share no frame, so their scatter has in it photon noise, the
sample's variety and the chaos of the iterations.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from ptycho_plugin.dataset import PtychoDataset
from ptycho_plugin.errors import DivergenceError, InputError
from ptycho_plugin.orientation import DetectorOrientation, PositionSign
from ptycho_plugin.reconstruction.contrast import contrast_of
from ptycho_plugin.reconstruction.groups import halved
from ptycho_plugin.reconstruction.options import ReconstructionOptions
from ptycho_plugin.reconstruction.orientation_evidence import (
    Evidence,
    FoundOrientation,
    Hypothesis,
    Trial,
)
from ptycho_plugin.reconstruction.orientation_verdict import class_evidence, judge
from ptycho_plugin.reconstruction.whole_scan import reconstruct

FRAMES = 100
FEWEST_FRAMES = 40
"""Ten in each group: fewer hardly overlap on all sides."""
HALVINGS_OF_FRAMES = 2
"""Four groups."""
TRIAL = ReconstructionOptions(difference_map_iterations=10, maximum_likelihood_iterations=10)
"""Enough for the right hypothesis to be ahead, too few for a wrong one to forget its start probe."""
MAP = ReconstructionOptions(difference_map_iterations=40, maximum_likelihood_iterations=40)
"""Enough for the modulus, which is fainter than the phase."""

Report = Callable[[int, int], None]


def find_orientation(
    dataset: PtychoDataset,
    *,
    position_sign: PositionSign | None = None,
    denser_is_more_negative: bool = True,
    frames: int = FRAMES,
    report: Report | None = None,
) -> FoundOrientation:
    """Find how frames must be turned, and positions be signed.

    Parameters
    ----------
    dataset : PtychoDataset
        Far field, with a start probe; its frames and positions as they are.
    position_sign : PositionSign, optional
        The stage's, where it is known. A symmetric start probe cannot tell it.
    denser_is_more_negative : bool
        Whether the sample absorbs more where it retards the wave less, as matter does in X-rays: a
        second judge of the conjugates besides the start probe's defocus.
    frames : int
        Of the scan's first frames, so many are looked at.
    report : callable, optional
        Called with the number of hypotheses tried and to be tried.

    Raises
    ------
    InputError
        If there are too few frames or no start probe, or the frames are near fields.
    ReconstructionError
        If no pixel of some frames counted a photon, or an engine diverges.
    """
    first = _first_frames(dataset, frames)
    signs = list(PositionSign) if position_sign is None else [position_sign]
    hypotheses = [
        Hypothesis(orientation=orientation, position_sign=sign)
        for sign, orientation in product(signs, DetectorOrientation)
    ]
    trials = _tried(first, hypotheses, report)
    looks_at_map = denser_is_more_negative and class_evidence(trials).decides
    contrast = _contrast(first, trials[0]) if looks_at_map else None
    return judge(trials, contrast, known_position_sign=position_sign, frames=len(first))


def _first_frames(dataset: PtychoDataset, frames: int) -> PtychoDataset:
    if dataset.probe is None:
        raise InputError(f"{dataset.source}: there is no start probe; store one to find the orientation")
    if dataset.geometry.focus_to_sample is not None:
        raise InputError(
            f"{dataset.source}: a near field shows the sample itself: compare its frames with the positions"
        )
    first = _part(dataset, np.arange(min(frames, len(dataset))))
    if len(first) < FEWEST_FRAMES:
        raise InputError(
            f"{dataset.source}: {len(first)} frames do not tell the orientation; "
            f"give {FEWEST_FRAMES} or more, {FRAMES} are usual"
        )
    return first


def _part(dataset: PtychoDataset, index: NDArray[np.intp]) -> PtychoDataset:
    mask = dataset.mask if dataset.mask.ndim == 2 else dataset.mask[index]
    return replace(dataset, frames=dataset.frames[index], positions=dataset.positions[index], mask=mask)


def read_as(dataset: PtychoDataset, hypothesis: Hypothesis) -> PtychoDataset:
    """Return a scan as a hypothesis reads it; the start probe is what it was."""
    return replace(
        dataset,
        frames=hypothesis.orientation.about_beam(dataset.frames),
        mask=hypothesis.orientation.about_beam(dataset.mask),
        positions=hypothesis.position_sign.to_probe_positions(dataset.positions),
    )


def _tried(
    dataset: PtychoDataset, hypotheses: Sequence[Hypothesis], report: Report | None
) -> tuple[Trial, ...]:
    """Return the hypotheses with what each of them reached, best first."""
    groups = [_part(dataset, group) for group in halved(dataset.positions, HALVINGS_OF_FRAMES)]
    residuals = []
    for done, hypothesis in enumerate(hypotheses, start=1):
        residuals.append([_residual(read_as(group, hypothesis)) for group in groups])
        if report is not None:
            report(done, len(hypotheses))
    return compared(hypotheses, np.array(residuals))


def _residual(dataset: PtychoDataset) -> float:
    """Return R of a trial; of one that diverges, which a wrong hypothesis may, the last good one."""
    try:
        return reconstruct(dataset, TRIAL).residual
    except DivergenceError as error:
        return float(error.last_good.residual)


def compared(hypotheses: Sequence[Hypothesis], residuals: NDArray[np.float64]) -> tuple[Trial, ...]:
    """Return trials, best first, of R ``(hypothesis, group)``."""
    count, groups = residuals.shape
    logs = np.log(residuals)
    means = logs.mean(axis=1)
    scatter = logs - means[:, None] - logs.mean(axis=0) + logs.mean()
    freedom = (count - 1) * (groups - 1)
    standard_error = np.sqrt(np.sum(scatter**2) / freedom / groups)
    behind = (means - means.min()) / standard_error
    chances = np.clip(stats.studentized_range.sf(behind, count, freedom), 0, 1)
    return tuple(
        Trial(
            **hypotheses[best].model_dump(),
            residual=float(np.exp(means[best])),
            residuals=tuple(residuals[best].tolist()),
            standard_errors=float(behind[best]),
            chance=float(chances[best]),
        )
        for best in np.argsort(means, kind="stable")
    )


def _contrast(dataset: PtychoDataset, best: Hypothesis) -> Evidence:
    """Return whether phase and modulus rise together, as they do where matter retards and absorbs."""
    result = reconstruct(read_as(dataset, best), MAP)
    return contrast_of(result.object, result.trusted)
