"""Restoration of a phase map: sharpened by its point-spread function, its noise smoothed, its edges kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ptycho_plugin.errors import InputError
from ptycho_plugin.postprocess.deconvolution import Deconvolution
from ptycho_plugin.postprocess.parameter_choice import by_discrepancy, by_split_half
from ptycho_plugin.postprocess.restoration_options import RestorationOptions, Rule

Image = NDArray[np.float64]
Halves = tuple[NDArray[np.floating], NDArray[np.floating]]


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class Restored:
    """A restored map, and how it came about.

    Parameters
    ----------
    phase : ndarray, (row, column), float64
        In the unit of the map that was given.
    lambda1, lambda2 : float
        Weights of total variation and of the bilateral regularisation, in that unit.
    chosen_by : {"given", "discrepancy", "split_half"}
    iterations : int
    objective : ndarray, (check,), float64
        Its history, from the map itself on.
    gap : float
        Share of the objective that a better map could at most gain: above ``tolerance`` only where
        ``max_iterations`` came first.
    residual_rms : float
        Of the blurred restored map minus the given one.
    residual_correlation : float
        Of neighbouring pixels of the residual: near 0 where noise is white, and all that was taken away.
    """

    phase: Image
    lambda1: float
    lambda2: float
    chosen_by: Literal["given"] | Rule
    iterations: int
    objective: NDArray[np.float64]
    gap: float
    residual_rms: float
    residual_correlation: float


def restore(
    phase: NDArray[np.floating],
    options: RestorationOptions | None = None,
    *,
    strength: float | None = None,
    noise_sigma: float | None = None,
    halves: Halves | None = None,
) -> Restored:
    """Deconvolve a map by a Gaussian, with total variation and bilateral regularisation.

    Returned is the x that minimises

        |h*x - y|^2 / 2 + lambda1 TV(x) + lambda2 sum over l, m in -p..p of a^(|l|+|m|) |x - S(l,m) x|_1

    for the map y, where h is the point-spread function, TV isotropic total variation and S(l,m) shifts by l
    rows and m columns. All pixels weigh the same in the data term. The sign of the phase, constants and the
    map's orientation do not matter.

    Parameters
    ----------
    phase : ndarray, (row, column), float
        In rad, unwrapped and without ramp; without borders that no repeat covers.
    options : RestorationOptions, optional
    strength : float, optional
        lambda1, in the unit of the phase, if it is not to be chosen.
    noise_sigma : float, optional
        For the rule "discrepancy": standard deviation of the map's noise, as its standard error is.
    halves : tuple of two ndarray, (row, column), optional
        For the rule "split_half": averages of one half of the repeats each, registered.

    Returns
    -------
    Restored

    Raises
    ------
    InputError
        If a map cannot be used, or the rule lacks what it chooses by.

    Notes
    -----
    Made after what is known of the published restoration: total-variation deconvolution of a Gaussian of
    one pixel, combined with the bilateral regularisation of Laghrib, Hakim and Raghay, EURASIP J. Image
    Video Process. 2015, 19, whose last term is that of Farsiu, Robinson, Elad and Milanfar, IEEE Trans.
    Image Process. 13, 1327 (2004). The weights, p and a of the publication are not known, nor how it
    solved the problem; here lambda2 / lambda1, p and a are options, lambda1 is chosen from the data, and
    the convex problem is solved to a stated accuracy: `Deconvolution.solve`.

    On a phantom the bilateral term changes errors by a hundredth (`benchmarks.restoration`): the default
    weight is small, and ``bilateral_ratio=0`` leaves it out.

    Two restored maps of the same region share the prior: their ring correlation tells more than the data do.
    """
    options = options or RestorationOptions()
    data = _checked(phase)
    chosen_by: Literal["given"] | Rule = "given"
    if strength is None:
        strength, chosen_by = (
            choose_strength(data, options, noise_sigma=noise_sigma, halves=halves),
            options.rule,
        )
    if not 0 < strength < np.inf:
        raise InputError(
            f"a strength of {strength:g} cannot be used: give a lambda1 > 0 in the unit of the phase"
        )
    solution = Deconvolution(data.shape, options).solve(data, strength)
    return Restored(
        phase=solution.image,
        lambda1=strength,
        lambda2=options.bilateral_ratio * strength,
        chosen_by=chosen_by,
        iterations=solution.iterations,
        objective=solution.objective,
        gap=solution.gap,
        residual_rms=float(np.std(solution.residual)),
        residual_correlation=_neighbour_correlation(solution.residual),
    )


def choose_strength(
    phase: NDArray[np.floating],
    options: RestorationOptions,
    *,
    noise_sigma: float | None = None,
    halves: Halves | None = None,
) -> float:
    """Return lambda1, in the unit of the phase, by the options' rule.

    Parameters
    ----------
    phase, options, noise_sigma, halves
        As of `restore`.

    Raises
    ------
    InputError
        If the rule lacks what it chooses by, or that cannot be used.
    """
    if options.rule == "discrepancy":
        if noise_sigma is None:
            raise InputError("the rule 'discrepancy' lacks noise_sigma: give the map's standard error in rad")
        return by_discrepancy(_checked(phase), noise_sigma, options)
    if halves is None:
        raise InputError(
            "the rule 'split_half' lacks halves: give averages of two halves of the repeats, "
            "or take the rule 'discrepancy'"
        )
    first, second = map(_checked, halves)
    return by_split_half(first, second, options)


def _checked(phase: NDArray[np.floating]) -> Image:
    """Return a map that can be restored, in double precision."""
    image = np.asarray(phase, np.float64)
    if not np.isfinite(image).all():
        raise InputError(
            f"{np.count_nonzero(~np.isfinite(image))} pixels of the map are not finite: "
            "crop it to what the scan covers"
        )
    if not np.ptp(image) > 0:
        raise InputError("the map is constant: there is nothing to restore")
    return image


def _neighbour_correlation(image: Image) -> float:
    """Return the correlation of pixels with their neighbours, along rows and columns."""
    centred = image - image.mean()
    products = (centred[1:] * centred[:-1]).mean() + (centred[:, 1:] * centred[:, :-1]).mean()
    return float(products / 2 / centred.var())
