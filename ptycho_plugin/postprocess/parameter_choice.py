"""How strongly a map is regularised: as its noise demands, chosen from the data."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import cache
from math import exp, log, sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq, minimize_scalar

from ptycho_plugin.errors import InputError
from ptycho_plugin.postprocess.deconvolution import Deconvolution, Solution
from ptycho_plugin.postprocess.restoration_options import RestorationOptions

FIRST_GUESS = 0.4
"""Strength over the noise's standard deviation."""
BRACKET = 2.0
"""Factor from one strength to the next, until two have the sought one between them."""
MOST_BRACKETS = 20
PRECISION = 0.1
"""Of a strength that is found, relative: errors of maps change by a hundredth."""
ENOUGH_PX = 192
"""Side of the middle of a map that tells how well halves predict each other: 37,000 pixels are enough."""
SPLIT_HALF_RANGE = (0.02, 5.0)
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
        lambda1, in the unit of the phase, to a tenth.

    Raises
    ------
    InputError
        If sigma is not positive, the map varies no more than that, or no strength is found.
    """
    if not 0 < noise_sigma < phase.std():
        raise InputError(
            f"noise of {noise_sigma:g} rad in a map that varies by {phase.std():g} rad leaves nothing to "
            "restore: give the standard error of the map, in rad, or average more repeats"
        )
    problem = Deconvolution(phase.shape, options)
    solution: Solution | None = None

    @cache
    def excess(log_strength: float) -> float:
        nonlocal solution
        solution = problem.solve(phase, exp(log_strength), solution)
        return float(np.std(solution.residual)) - noise_sigma

    # The residual grows with the strength, from nothing to the whole map.
    guess = log(FIRST_GUESS * noise_sigma)
    step = -log(BRACKET) if excess(guess) > 0 else log(BRACKET)
    for _ in range(MOST_BRACKETS):
        if excess(guess) * excess(guess + step) <= 0:
            return exp(brentq(excess, guess, guess + step, xtol=PRECISION))
        guess += step
    raise InputError(
        f"no strength leaves a residual of {noise_sigma:g} rad, the nearest is "
        f"{excess(guess) + noise_sigma:g} rad: give a noise_sigma that the map has, "
        f"or a psf_sigma_px of less than {options.psf_sigma_px:g}"
    )


def by_split_half(first: Image, second: Image, options: RestorationOptions) -> float:
    """Return the strength with which each half of the repeats, restored and blurred, predicts the other best.

    Cross-validation: no standard deviation and no spectrum of the noise is assumed, only that the halves'
    noises are independent. What both share, an artefact of the scan for one, is taken for the sample.
    Prediction is judged behind the blur, where errors at high frequencies hardly show, and in the middle of
    the maps: `ENOUGH_PX`.

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
    first, second = _middle(first), _middle(second)
    noise_sigma = float(np.std(first - second)) / sqrt(2)
    if not noise_sigma > 0:
        raise InputError("the halves are equal: give averages of different repeats")
    problem = Deconvolution(first.shape, options)
    solutions: dict[int, Solution] = {}

    def error(half: int, strength: float) -> float:
        data, other = (first, second)[:: 1 - 2 * half]
        solutions[half] = problem.solve(data, strength, solutions.get(half))
        return float(np.sum((solutions[half].residual + data - other) ** 2))

    with ThreadPoolExecutor(2) as pool:
        weakest, strongest = (log(noise_sigma * limit) for limit in SPLIT_HALF_RANGE)
        best = minimize_scalar(
            lambda log_strength: sum(pool.map(error, (0, 1), 2 * (exp(log_strength),))),
            bounds=(weakest, strongest),
            method="bounded",
            options={"xatol": PRECISION},
        )
    return exp(best.x) / sqrt(2)


def _middle(image: Image) -> Image:
    """Return as much of an image's middle as is needed."""
    edges = (max(0, side - ENOUGH_PX) // 2 for side in image.shape)
    rows, columns = (slice(edge, side - edge) for edge, side in zip(edges, image.shape, strict=True))
    return image[rows, columns]
