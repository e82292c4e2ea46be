"""How close reconstructions come to the truth, by the scorer that the peers were judged by."""

from __future__ import annotations

import runpy
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray

from benchmarks.cases import POSITION_ERROR_M, Case, harder_case
from benchmarks.report import Figure
from ptycho_plugin.dataset import PtychoDataset
from ptycho_plugin.errors import ReconstructionError
from ptycho_plugin.reconstruction.options import ReconstructionOptions
from ptycho_plugin.reconstruction.whole_scan import reconstruct

WANTED = {
    "phase_error": "<= 0.32",
    "phase_error_smooth": "<= 0.08",
    "half_bit_nm": "",
    "frc_05_nm": "<= 16.4",
    "modulus_over_truth": "0.99 to 1.01",
}
LOW_DOSE = 0.1
"""Share of the standard case's photons."""
RECIPE = ReconstructionOptions(difference_map_iterations=200, maximum_likelihood_iterations=300)
"""The published one, and two hundred iterations more."""
FAST_RECIPE = ReconstructionOptions(
    difference_map_iterations=0,
    least_squares_iterations=40,
    maximum_likelihood_iterations=60,
    probe_update_starts=0,
)
"""As good in a fifth of the time, and better where the model of the world is not quite the world's."""
QUICK_RECIPE = ReconstructionOptions(difference_map_iterations=4, maximum_likelihood_iterations=4)
POSITION_ERROR_PX = 3.0
"""Standard deviation, in each direction, of the errors that refinement is to find."""
FOR_POSITIONS = {"difference_map_iterations": 12}
"""That many find frames that are far off; the likelihood does the rest."""
FOR_THE_HARDER_CASE = {
    "probe_modes": 2,
    "position_tolerance": 3 * POSITION_ERROR_M,
    "estimate_background": True,
}
"""Two slices fit its thick film better, but their product is no better: they are left out."""


class Scorer:
    """The functions of a file ``score.py``.

    Parameters
    ----------
    path : Path
    """

    def __init__(self, path: Path) -> None:
        self._names = runpy.run_path(str(path))

    def scores(
        self, object_: NDArray[np.complex64], corners_px: NDArray[np.float64], case: Case
    ) -> dict[str, float]:
        """Return the four scores, and the object's mean modulus over the truth's where they are taken.

        Parameters
        ----------
        object_ : ndarray, (row, column), complex64
        corners_px : ndarray, (frame, 2), float64
            Top-left pixel of each frame's patch in it.
        case : Case
        """
        pixel = case.scan.geometry.object_pixel
        placed = _placed(object_, corners_px, case)
        half = round(self._names["FIELD_M"] / pixel / 2)
        field = tuple(slice(side // 2 - half, side // 2 + half) for side in case.truth.shape)
        scores = self._names["score"](placed, case.truth, pixel)
        scores["modulus_over_truth"] = float(np.abs(placed[field]).mean() / np.abs(case.truth[field]).mean())
        return {name: scores[name] for name in WANTED}


def standard_figures(case: Case, scorer: Scorer, seeds: int, *, quick: bool) -> Iterator[Figure]:
    """Yield scores of the standard case, its own counts and others of the same truth."""
    counts = [case, *(case.counted(seed) for seed in range(1, seeds))]
    options = QUICK_RECIPE if quick else RECIPE
    yield Figure(
        "chi_square_of_counts", case.chi_square(), "1", "counts against the truth they are said to have"
    )
    yield from _figures("", counts, scorer, options, WANTED)
    yield from _figures("fast_", counts, scorer, QUICK_RECIPE if quick else FAST_RECIPE, WANTED)


def other_figures(
    case: Case, gaps: NDArray[np.bool_], scorer: Scorer, *, seeds: int, quick: bool
) -> Iterator[Figure]:
    """Yield scores of the standard case at a tenth of the dose, and of the harder case.

    Parameters
    ----------
    case : Case
        Standard.
    gaps : ndarray of bool, (side, side)
        Mask, with module gaps, of the harder case.
    scorer : Scorer
    seeds : int
        Of counts.
    quick : bool
    """
    options, counts = QUICK_RECIPE if quick else FAST_RECIPE, range(1, seeds + 1)
    yield from _figures("low_dose_", [case.counted(seed, LOW_DOSE) for seed in counts], scorer, options, {})
    harder = harder_case(case.scan.geometry.frame_side, gaps)
    options = options.model_copy(update=FOR_THE_HARDER_CASE)
    yield from _figures("harder_", [harder.counted(seed) for seed in counts], scorer, options, {})


def position_figures(case: Case, scorer: Scorer, seeds: int, *, quick: bool) -> Iterator[Figure]:
    """Yield what refinement leaves of errors of `POSITION_ERROR_PX` in each direction, and the map's scores.

    A common shift is removed from positions: no frame can tell it. Nor can frames tell a common scale
    and shear of the errors, which a second figure is without.
    """
    pixel = case.scan.geometry.object_pixel
    tolerance = {"position_tolerance": 5 * POSITION_ERROR_PX * pixel}
    options = (QUICK_RECIPE if quick else RECIPE.model_copy(update=FOR_POSITIONS)).model_copy(
        update=tolerance
    )
    results = [reconstruct(_moved(case, seed), options) for seed in range(1, seeds + 1)]
    left = [_left_px(result.positions / pixel, case.scan.positions / pixel) for result in results]
    for name, values in zip(
        ("positions_rms_px", "positions_local_rms_px"), zip(*left, strict=True), strict=True
    ):
        remark = f"in each direction, seeds: {', '.join(f'{value:.3f}' for value in values)}"
        yield Figure(name, max(values), "< 0.3", remark)
    scores = [scorer.scores(result.object, result.positions_px, case) for result in results]
    yield from _score_figures("positions_", scores, WANTED)


def _moved(case: Case, seed: int) -> PtychoDataset:
    """Return the scan with positions that the stage got wrong."""
    errors_px = np.random.default_rng(seed).normal(scale=POSITION_ERROR_PX, size=case.scan.positions.shape)
    return replace(case.scan, positions=case.scan.positions + errors_px * case.scan.geometry.object_pixel)


def _left_px(found_px: NDArray[np.float64], true_px: NDArray[np.float64]) -> tuple[float, float]:
    """Return the rms error without a common shift, and without common scale and shear besides."""
    centred = true_px - true_px.mean(axis=0)
    shifted = found_px - true_px - (found_px - true_px).mean(axis=0)
    together = centred @ np.linalg.lstsq(centred, shifted, rcond=None)[0]
    return float(np.sqrt(np.mean(shifted**2))), float(np.sqrt(np.mean((shifted - together) ** 2)))


def _figures(
    prefix: str,
    cases: Sequence[Case],
    scorer: Scorer,
    options: ReconstructionOptions,
    wanted: dict[str, str],
) -> Iterator[Figure]:
    try:
        results = [reconstruct(case.scan, options) for case in cases]
    except ReconstructionError as error:
        yield from (Figure(prefix + name, None, wanted.get(name, ""), str(error)) for name in WANTED)
        return
    scores = [
        scorer.scores(result.object, result.positions_px, case)
        for result, case in zip(results, cases, strict=True)
    ]
    yield from _score_figures(prefix, scores, wanted)
    seconds, residuals = ([getattr(result, name) for result in results] for name in ("seconds", "residual"))
    first = f"{options.first_iterations} {options.first_engine}"
    remark = f"{first} + {options.maximum_likelihood_iterations} iterations, R = {median(residuals):.4f}"
    yield Figure(f"{prefix}recipe_seconds", median(seconds), remark=remark)


def _score_figures(
    prefix: str, scores: Sequence[dict[str, float]], wanted: dict[str, str]
) -> Iterator[Figure]:
    """Yield medians, with their spread."""
    for name in WANTED:
        values = [score[name] for score in scores]
        remark = f"{min(values):.4g} to {max(values):.4g}" if len(values) > 1 else "one seed"
        yield Figure(prefix + name, median(values), wanted.get(name, ""), remark)


def _placed(
    object_: NDArray[np.complex64], corners_px: NDArray[np.float64], case: Case
) -> NDArray[np.complex64]:
    """Return the object in the truth's frame, as the scorer's own command lays it."""
    row, column = np.rint((case.positions_px - corners_px).mean(axis=0)).astype(int)
    placed = np.ones_like(case.truth)
    top, left = max(row, 0), max(column, 0)
    bottom, right = np.minimum(placed.shape, np.add(object_.shape, (row, column)))
    placed[top:bottom, left:right] = object_[top - row : bottom - row, left - column : right - column]
    return placed
