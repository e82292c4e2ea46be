"""The zero of a phase: global phase, linear ramp and wraps taken away, by the ground that holds no matter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from ptycho_plugin.errors import InputError
from ptycho_plugin.postprocess.registration import levelled

SMOOTHING_PX = 1.0
"""Standard deviation of the Gaussian before the ground is looked for: less noise, and small voids stay."""
ENVELOPE = 0.999
"""Expectile of the phase by which the search begins: nearly all matter is below."""
FIRST_ABOVE = 0.005
"""Part of the pixels that are above the plane when it begins to sink."""
MOST_SPREAD = 2.0
"""Of what lies above the ground, in standard deviations of the noise: more is no noise about one level."""
WITHIN = 2.0
"""Spreads from the plane within which a pixel is ground."""
LIFT = 2.0
"""Standard deviations by which noise lifts the edge of the phases above the emptiest places."""
LEAST_GROUND_PX = 16
"""Fewer pixels than this are no ground."""
PASSES = 200
STEADY_RAD = 1e-6
"""By which the plane moves when it counts as found: a hundredth of a per cent of what octapods do."""

Image = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False, slots=True)
class Flattened:
    """A phase whose zero is the ground.

    Parameters
    ----------
    phase : ndarray, (row, column), float64
        In rad, unwrapped, negative where there is matter.
    ground : ndarray of bool, (row, column)
        Pixels without matter, by which it was levelled.
    ground_is_seen : bool
        Whether what lies above the zero is no more than the noise; if not, the zero is the upper edge of the
        phases, below which even the emptiest places of a dense sample lie.
    """

    phase: Image
    ground: Mask
    ground_is_seen: bool


def unwrapped(transmission: NDArray[np.complexfloating]) -> Image:
    """Return the phase of a map in rad, (row, column), to a constant and a ramp.

    It is unwrapped only where neighbours are half a turn apart: by Herraez, Burton, Lalor and Gdeisat,
    Applied Optics 41, 7437 (2002).
    """
    phase = np.asarray(np.angle(levelled(transmission)), np.float64)
    steps = (np.abs(np.diff(phase, axis=axis)).max(initial=0.0) for axis in (0, 1))
    if max(steps) <= np.pi:
        return phase
    from skimage.restoration import unwrap_phase

    return np.asarray(unwrap_phase(phase), np.float64)


def flattened(phase: Image, noise: Image | None = None, ground: Mask | None = None) -> Flattened:
    """Take constant and ramp of a phase away, by its ground.

    Matter makes the phase lower, so that the ground is the map's upper edge, blurred by noise. The search
    begins with a plane that has all but a few pixels below. Then every pixel above it counts in full, since
    noise alone brings it there, and one below the less the farther it lies, by a Gaussian as wide as what is
    above: so the plane sinks into the uppermost population and stays there, however small that is.

    Parameters
    ----------
    phase : ndarray, (row, column), float64
        Unwrapped.
    noise : ndarray, (row, column), float64, optional
        A map of the same noise and no sample, as half the difference of two averages of one half of the
        repeats each: how far apart two levels must be to be two.
    ground : ndarray of bool, (row, column), optional
        Pixels that are known to hold no matter, if the ground is not to be found.

    Raises
    ------
    InputError
        If neither noise nor ground is given, or the ground does not span a plane.
    """
    if ground is not None:
        return Flattened(phase - _plane(phase, ground), ground, True)
    if noise is None:
        raise InputError("the ground cannot be found without a map of the noise: give that, or the ground")
    sigma = float(gaussian_filter(noise, SMOOTHING_PX).std())
    if not sigma > 0:
        raise InputError("the noise is zero everywhere: give half the difference of two different repeats")
    smooth = np.asarray(gaussian_filter(phase, SMOOTHING_PX), np.float64)
    edge, plane, spread = _upper_planes(smooth, sigma)
    found = np.abs(smooth - plane) <= WITHIN * spread
    if spread <= MOST_SPREAD * sigma and np.count_nonzero(found) >= LEAST_GROUND_PX:
        return Flattened(phase - plane, found, True)
    plane = edge - LIFT * sigma
    return Flattened(phase - plane, np.abs(smooth - plane) <= WITHIN * sigma, False)


def _upper_planes(phase: Image, sigma: float) -> tuple[Image, Image, float]:
    """Return the planes, (row, column), at the upper edge and through the highest population.

    Beside them, the spread of what is above the latter.
    """
    terms = _terms(phase.shape)
    thinned = (slice(None, None, 2),) * 2  # neighbours tell the same after the filter
    x, y = terms[thinned].reshape(-1, 3), phase[thinned].ravel()

    def spread(residual: NDArray[np.float64]) -> float:
        above = residual[residual > 0]
        return max(sigma, float(np.sqrt(np.mean(above**2)))) if above.size else sigma

    def envelope(residual: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.where(residual > 0, ENVELOPE, 1 - ENVELOPE)

    def one_sided(residual: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.where(residual > 0, 1.0, np.exp(-((residual / spread(residual)) ** 2) / 2))

    start = _reweighted(x, y, _least_squares(x, y, np.ones_like(y)), envelope)
    start[0] += np.quantile(y - x @ start, 1 - FIRST_ABOVE)
    solution = _reweighted(x, y, start, one_sided)
    return np.asarray(terms @ start), np.asarray(terms @ solution), spread(y - x @ solution)


def _reweighted(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    start: NDArray[np.float64],
    weights: Callable[[NDArray[np.float64]], NDArray[np.float64]],
) -> NDArray[np.float64]:
    """Return the coefficients whose own residuals give the weights they are fitted with."""
    solution = start
    for _ in range(PASSES):
        before, solution = solution, _least_squares(x, y, weights(y - x @ solution))
        if np.abs(solution - before).max() < STEADY_RAD:
            break
    return solution


def _least_squares(
    x: NDArray[np.float64], y: NDArray[np.float64], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the three coefficients of a plane; the flattest one's, of pixels on one line."""
    weighted = x * weights[:, None]
    return np.asarray(np.linalg.lstsq(x.T @ weighted, weighted.T @ y)[0], np.float64)


def _terms(shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Return the terms of a plane, (row, column, 3): one, and either coordinate from -1 to 1."""
    rows, columns = (np.linspace(-1, 1, side) for side in shape)
    return np.stack(np.broadcast_arrays(1.0, rows[:, None], columns), axis=-1)


def _plane(phase: Image, where: Mask) -> Image:
    """Return the plane, (row, column), that fits best where it is asked to."""
    terms = _terms(phase.shape)
    solution, _, rank, _ = np.linalg.lstsq(terms[where], phase[where])
    if rank < terms.shape[-1]:
        raise InputError(
            f"a ground of {np.count_nonzero(where)} pixels does not span a plane: give more of it"
        )
    return np.asarray(terms @ solution)
