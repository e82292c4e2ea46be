"""How close a reconstruction came to a known truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from ptycho_plugin.errors import InputError
from ptycho_plugin.postprocess.frc import ring_correlation
from ptycho_plugin.postprocess.registration import MARGIN_PX, align, inner

SMOOTHING_PX = 1.5


@dataclass(frozen=True, slots=True)
class Score:
    """Errors and resolutions of a phase map against the truth.

    Parameters
    ----------
    phase_error : float
        Standard deviation of (phase - truth) over the standard deviation of the truth's phase.
    phase_error_smooth : float
        The same after a Gaussian filter of 1.5 px: what is wrong besides pixel noise.
    half_bit_nm : float
        Half-period resolution where the ring correlation with the truth crosses the square root of the
        half-bit threshold: the truth has no noise, and two noisy maps correlate as the square.
    frc_05_nm : float
        The same at a correlation of 0.5.
    """

    phase_error: float
    phase_error_smooth: float
    half_bit_nm: float
    frc_05_nm: float


def score(
    result: NDArray[np.complexfloating],
    positions_px: NDArray[np.float64],
    truth: NDArray[np.complexfloating],
    truth_positions_px: NDArray[np.float64],
    pixel: float,
    field: float = 3e-6,
) -> Score:
    """Compare the centre of a reconstruction with the truth.

    Global phase, linear ramp and a sub-pixel shift carry no information and are removed.

    Parameters
    ----------
    result, truth : ndarray, (row, column), complex
        Object transmissions with one pixel size.
    positions_px, truth_positions_px : ndarray, (frame, 2)
        Where each frame's top-left pixel lies in ``result`` and in ``truth``.
    pixel : float
        Object pixel in metres.
    field : float
        Side, in metres, of the square about the truth's centre that is compared.

    Raises
    ------
    InputError
        If a map is constant, not finite, or does not reach over the field.
    """
    half = round(field / pixel / 2) + MARGIN_PX
    centre = np.array(truth.shape) // 2
    offset = np.round(np.mean(positions_px, axis=0) - np.mean(truth_positions_px, axis=0)).astype(int)
    expected = _window(truth, centre, half)
    found = align(_window(result, centre + offset, half), expected).image
    truth_phase, phase = inner(np.angle(expected)), inner(np.angle(found))
    error = inner(np.angle(found * expected.conj()))
    rings = ring_correlation(phase, truth_phase)
    return Score(
        phase_error=float(error.std() / truth_phase.std()),
        phase_error_smooth=_smooth_deviation(error) / _smooth_deviation(truth_phase),
        half_bit_nm=rings.half_period(rings.threshold_to_truth("half_bit"), pixel) * 1e9,
        frc_05_nm=rings.half_period(0.5, pixel) * 1e9,
    )


def _smooth_deviation(phase: NDArray[np.float64]) -> float:
    return float(gaussian_filter(phase - phase.mean(), SMOOTHING_PX).std())


def _window(
    image: NDArray[np.complexfloating], centre: NDArray[np.int_], half: int
) -> NDArray[np.complexfloating]:
    low, high = centre - half, centre + half
    if (low < 0).any() or (high > image.shape).any():
        raise InputError(
            f"a map of {image.shape[0]} x {image.shape[1]} px does not reach over the "
            f"{2 * half} x {2 * half} px to be compared about ({centre[0]}, {centre[1]})"
        )
    window = image[low[0] : high[0], low[1] : high[1]]
    if not np.isfinite(window).all() or np.ptp(np.angle(window)) == 0:
        raise InputError("a map that is constant or not finite cannot be scored")
    return window
