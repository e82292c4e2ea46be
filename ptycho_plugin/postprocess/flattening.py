"""The zero of a phase: global phase, linear ramp and wraps taken away, by the ground that holds no matter."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.stats import gaussian_kde

from ptycho_plugin.errors import InputError
from ptycho_plugin.postprocess.registration import levelled

SMOOTHING_PX = 1.5
"""Standard deviation of the Gaussian that lets the ground stand out of the noise of single pixels."""
TOP = 0.995
"""Quantile of the phase near which the ground lies: noise alone is higher."""
WINDOW = 6.0
"""Below it, in standard deviations of the noise, in which the ground is looked for first."""
MOST_SPREAD = 2.0
"""Of what lies above the ground, in standard deviations of the noise: more is no noise about one level."""
CLIP = 2.0
"""Standard deviations of the ground's own spread, within which a pixel is ground."""
LEAST_GROUND_PX = 16
"""Fewer pixels than this are no ground, and fix no plane."""
PASSES = 20
STEADY = 1e-3
"""Part of the pixels that may change sides when the ground counts as found."""
LEVELS = 200
"""At which the density of phases is looked at."""
MOST_SAMPLES = 20_000
"""Pixels that are enough for it."""

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
        Whether so many pixels have the highest level that they stand out; if not, the zero is the upper
        edge of the phases, below which even the emptiest places of a dense sample lie.
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

    Matter makes the phase lower, so that the ground is the highest level that many pixels share. It is
    found in turn with the plane that is fitted to it by least squares: neither how much matter there is,
    nor where, tilts it.

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
    smooth = np.asarray(gaussian_filter(phase, SMOOTHING_PX), np.float64)
    sigma = float(gaussian_filter(noise, SMOOTHING_PX).std())
    if not sigma > 0:
        raise InputError("the noise is zero everywhere: give half the difference of two different repeats")
    found, is_seen = np.ones(phase.shape, bool), False
    for _ in range(PASSES):
        plane, before = _plane(smooth, found), found
        level, spread = _highest_level(smooth - plane, sigma)
        is_seen = spread <= MOST_SPREAD * sigma
        found = np.abs(smooth - plane - level) <= CLIP * min(spread, MOST_SPREAD * sigma)
        if np.count_nonzero(found) < LEAST_GROUND_PX:
            return Flattened(phase - plane - level, found, False)
        if np.mean(found != before) < STEADY:
            break
    return Flattened(phase - _plane(smooth, found), found, is_seen)


def _highest_level(phase: Image, sigma: float) -> tuple[float, float]:
    """Return the highest phase that many pixels share, and the spread of those above it.

    Where there is none, it is as far below the highest phases as noise would lift them, and the spread
    is infinite.
    """
    sample = phase.ravel()[:: max(1, phase.size // MOST_SAMPLES)]
    top, bottom = np.quantile(sample, TOP), np.quantile(sample, 1 - TOP)
    width = WINDOW * sigma
    while width < top - bottom:
        levels = np.linspace(top - width, top, LEVELS)
        inside = sample[sample > top - 2 * width]
        # A bandwidth of the noise, which has blurred the levels by as much already.
        density = gaussian_kde(inside, bw_method=sigma / float(inside.std()))(levels)
        highest = int(np.argmax(density))
        if 0 < highest < LEVELS - 1:
            level = float(levels[highest])
            spread = float(np.sqrt(np.mean((sample[sample >= level] - level) ** 2)))
            if spread <= MOST_SPREAD * sigma:
                return level, spread
        width *= 2
    return float(top) - CLIP * sigma, np.inf


def _plane(phase: Image, where: Mask) -> Image:
    """Return the plane, (row, column), that fits best where it is asked to."""
    rows, columns = np.indices(phase.shape, dtype=np.float64)
    terms = np.stack([np.ones(phase.size), rows.ravel(), columns.ravel()], axis=1)
    chosen = where.ravel()
    solution, _, rank, _ = np.linalg.lstsq(terms[chosen], phase.ravel()[chosen])
    if rank < terms.shape[1]:
        raise InputError(
            f"a ground of {np.count_nonzero(where)} pixels does not span a plane: give more of it"
        )
    return np.asarray((terms @ solution).reshape(phase.shape))
