"""How strongly a map is regularised: as its noise demands, chosen from the data."""

from __future__ import annotations

from math import exp, log, sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq, minimize_scalar

from ptycho_plugin.errors import InputError
from ptycho_plugin.postprocess.deconvolution import Deconvolution
from ptycho_plugin.postprocess.restoration_options import RestorationOptions

FIRST_GUESS = 0.3
"""Strength over the noise's standard deviation."""
BRACKET = 3.0
"""Factor by which a bracket of the strength grows."""
PRECISION = 0.05
"""Of a strength that is found, relative: errors of maps change by much less."""
SPLIT_HALF_RANGE = (0.01, 10.0)
"""Strengths that are looked at, over the noise's standard deviation."""

Image = NDArray[np.float64]


def by_discrepancy(phase: Image, noise_sigma: float, options: RestorationOptions) -> float:
    """Return the strength that leaves a residual as large as the noise: rms(h*x - y) = sigma.

    Morozov's principle. All of the noise must come to lie in the residual for that: true of white noise,
    little of which the regularisation lets pass. Noise of a ptychographic map is not white; its part at
    low frequencies stays in the map, and the strength that makes up for it is too high. It smooths more
    than is best for white noise too: the best residual is smaller than the noise.

    Parameters
    ----------
    phase : ndarray, (row, column), float64
    noise_sigma : float
        Standard deviation of the map's noise, rms over the map; of an average of repeats, its standard error.
    options : RestorationOptions

    Returns
    -------
    float
        lambda1, in the unit of the phase, to a twentieth.

    Raises
    ------
    InputError
        If sigma is not positive, or the map varies no more than that.
    """
    if not 0 < noise_sigma < phase.std():
        raise InputError(
            f"noise of {noise_sigma:g} rad in a map that varies by {phase.std():g} rad leaves nothing to "
            "restore: give the standard error of the map, in rad, or average more repeats"
        )
    problem = Deconvolution(phase.shape, options)
    start = None

    def excess(log_strength: float) -> float:
        nonlocal start
        solution = problem.solve(phase, exp(log_strength), start)
        start = solution.duals
        return float(np.std(solution.residual)) - noise_sigma

    low = high = log(FIRST_GUESS * noise_sigma)
    # The residual grows with the strength, from nothing to the whole map.
    while excess(high) < 0:
        low, high = high, high + log(BRACKET)
    while low == high or excess(low) > 0:
        low, high = low - log(BRACKET), low
    return exp(brentq(excess, low, high, xtol=PRECISION))


def by_split_half(first: Image, second: Image, options: RestorationOptions) -> float:
    """Return the strength with which each half of the repeats, restored and blurred, predicts the other best.

    Cross-validation: no standard deviation and no spectrum of the noise is assumed, only that the halves'
    noises are independent. What both share, an artefact of the scan for one, is taken for the sample.
    Prediction is judged behind the blur, where errors at high frequencies hardly show.

    Parameters
    ----------
    first, second : ndarray, (row, column), float64
        Averages of one half of the repeats each, registered.
    options : RestorationOptions

    Returns
    -------
    float
        lambda1 for the average of both, in the unit of the phase: the halves' over sqrt(2), as their
        noises are.

    Raises
    ------
    InputError
        If the halves are of different shape or equal.
    """
    if first.shape != second.shape:
        raise InputError(
            f"halves of {first.shape} and {second.shape} px cannot predict each other: "
            "crop both to one region"
        )
    noise_sigma = float(np.std(first - second)) / sqrt(2)
    if not noise_sigma > 0:
        raise InputError("the halves are equal: give averages of different repeats")
    problem = Deconvolution(first.shape, options)
    starts: dict[int, list[list[Image]]] = {}

    def error(log_strength: float) -> float:
        total = 0.0
        for half, (data, other) in enumerate(((first, second), (second, first))):
            solution = problem.solve(data, exp(log_strength), starts.get(half))
            starts[half] = solution.duals
            total += float(np.sum((solution.residual + data - other) ** 2))
        return total

    weakest, strongest = (log(noise_sigma * limit) for limit in SPLIT_HALF_RANGE)
    best = minimize_scalar(error, bounds=(weakest, strongest), method="bounded", options={"xatol": PRECISION})
    return exp(best.x) / sqrt(2)
