"""Bringing one map onto another: sub-pixel shift, global phase and linear ramp."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import fourier_shift

from ptycho_plugin.errors import InputError
from ptycho_plugin.postprocess.frc import fourier_rings, windowed_transform

MOST_COHERENT = 0.999
"""Coherence of a ring beyond which it counts no more: a ring of few pixels cannot know it."""
LEAST_SIGMAS = 2.0
"""Standard deviations of no coherence at all, 1 / sqrt(pixels), that a ring must exceed to count."""
LEAST_POWER = 1e-5
"""Of the strongest ring, below which a ring may hold nothing but what leaks through the mask."""
MARGIN_PX = 20
"""Border that a shift may fill from the opposite edge, and that is therefore not looked at."""
ROUNDS = 2
"""In which repeats are registered onto each other."""
THREADS = 2
"""Maps that are registered at a time: transforms run beside each other."""
DISTINCT = 8.0
"""Standard deviations by which a map must stand out: five maps of noise alone reach 7."""
NEAR_PX = 3
"""Pixels about the highest place of the plain correlation within which the weighted one is looked at."""


def inner(image: NDArray[Any]) -> NDArray[Any]:
    """Return maps (..., row, column) without the border that a shift may spoil."""
    return image[..., MARGIN_PX:-MARGIN_PX, MARGIN_PX:-MARGIN_PX]


def shifted(image: NDArray[np.complexfloating], shift_px: NDArray[np.float64]) -> NDArray[np.complex128]:
    """Return an image moved by a fraction of a pixel, periodic at its borders.

    Parameters
    ----------
    image : ndarray, (row, column), complex
    shift_px : ndarray, (2,)
        (row, column); the content moves towards growing indices.

    Returns
    -------
    ndarray, (row, column), complex128
    """
    moved: NDArray[np.complex128] = np.fft.ifft2(fourier_shift(np.fft.fft2(image), shift_px))
    return moved


def find_shift(
    reference: NDArray[np.floating],
    moving: NDArray[np.floating],
    *,
    reach_px: int = MARGIN_PX,
    upsampling: int = 200,
) -> NDArray[np.float64]:
    """Return the shift, in pixels, that brings one real image onto another.

    Parameters
    ----------
    reference, moving : ndarray, (row, column), float
    reach_px : int
        Longest shift along rows and columns that is looked at.
    upsampling : int
        The result is a multiple of 1 / upsampling pixel.

    Returns
    -------
    ndarray, (2,), float64
        (row, column), to be given to `shifted`.

    Notes
    -----
    Guizar-Sicairos, Thurman and Fienup, Optics Letters 33, 156 (2008), under the mask of the ring
    correlation. It is the peak of the cross-correlation in which every ring of spatial frequencies has the
    weight of maximum likelihood, by the rings' own coherence: Hannan and Thomson, Biometrika 60, 155
    (1973). Without it a reconstruction's noise, which is strongest at low frequencies, would win. Shifts
    beyond `MARGIN_PX` cannot be used, and are not looked at: among fewer places noise is less often higher.
    """
    fixed, free = windowed_transform(reference), windowed_transform(moving)
    cross = fixed * free.conj()
    reach = _reach(cross.shape, reach_px)
    start = _peak(cross, np.zeros(2), np.arange(-reach, reach + 1), reach)
    weighted = cross * _likelihood_weights(fixed, fourier_shift(free, start))
    whole = _peak(weighted, start, np.arange(-NEAR_PX, NEAR_PX + 1), reach)
    return _peak(weighted, whole, np.arange(-upsampling, upsampling + 1) / upsampling, reach)


def _reach(shape: tuple[int, ...], reach_px: int) -> int:
    """Return how far a correlation can be looked at: beyond half a side it comes round."""
    return min(reach_px, (min(shape) - 1) // 2)


def _peak(
    cross_spectrum: NDArray[np.complexfloating],
    start: NDArray[np.float64],
    steps: NDArray[np.number],
    reach: int,
) -> NDArray[np.float64]:
    """Return where a cross-correlation is highest, (row, column) in px, among these steps within a reach."""
    places = [np.clip(first + steps, -reach, reach) for first in start]
    correlation = _correlation(cross_spectrum, places)
    row, column = np.unravel_index(np.argmax(correlation), correlation.shape)
    return np.array([places[0][row], places[1][column]])


def _correlation(
    cross_spectrum: NDArray[np.complexfloating], places: Sequence[NDArray[np.number]]
) -> NDArray[np.float64]:
    """Return a cross-correlation at these rows and columns alone."""
    row_waves, column_waves = (
        np.exp(2j * np.pi * np.outer(along, np.fft.fftfreq(side)))
        for along, side in zip(places, cross_spectrum.shape, strict=True)
    )
    return np.asarray((row_waves @ cross_spectrum @ column_waves.T).real)


def _likelihood_weights(
    first: NDArray[np.complexfloating], second: NDArray[np.complexfloating]
) -> NDArray[np.float64]:
    """Return the weights (row, column) of a cross-spectrum: c / (1 - c^2) over its power, for coherence c.

    Parameters
    ----------
    first, second : ndarray, (row, column), complex
        Spectra of maps that lie on one another to a pixel.
    """
    ring = fourier_rings(first.shape)
    pixels = np.bincount(ring.ravel())

    def mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(np.bincount(ring.ravel(), values.ravel()) / pixels)

    power = np.sqrt(mean(np.abs(first) ** 2) * mean(np.abs(second) ** 2))
    cross = mean((first * second.conj()).real)
    coherence = np.divide(cross, power, out=np.zeros_like(power), where=power > 0)
    sure = (coherence > LEAST_SIGMAS / np.sqrt(pixels)) & (power > LEAST_POWER * power.max())
    likely = np.minimum(coherence, MOST_COHERENT)
    weights = np.divide(likely, (1 - likely**2) * power, out=np.zeros_like(power), where=sure)
    # Maps that have nothing for certain in common are left where they are best without weights.
    return weights[ring] if sure.any() else np.ones(first.shape)


def without_relative_ramp(
    image: NDArray[np.complexfloating], reference: NDArray[np.complexfloating]
) -> NDArray[np.complex128]:
    """Return a map without the global phase and the linear ramp it has against a reference.

    Parameters
    ----------
    image, reference : ndarray, (row, column), complex
        Registered to about a pixel; `MARGIN_PX` at each border is not looked at.

    Returns
    -------
    ndarray, (row, column), complex128

    Raises
    ------
    InputError
        If the shapes differ or nothing is left within the margin.
    """
    if image.shape != reference.shape or min(image.shape) <= 2 * MARGIN_PX:
        raise InputError(
            f"maps of {image.shape} and {reference.shape} px: "
            f"they must be alike and larger than {2 * MARGIN_PX} px"
        )
    level = image * _ramp(image.shape, *_mean_slopes(inner(image * reference.conj())))
    residual = inner(level * reference.conj())
    mean_phase = np.angle(residual.mean())
    phase = np.angle(residual * np.exp(-1j * mean_phase))
    level *= _ramp(image.shape, *_fitted_slopes(phase)) * np.exp(-1j * (mean_phase + phase.mean()))
    return level.astype(np.complex128, copy=False)


def levelled(image: NDArray[np.complexfloating]) -> NDArray[np.complex128]:
    """Return a map without its global phase and the ramp that its neighbours have on average."""
    return np.asarray(image * _levelling(image))


def without_plane(phase: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return an unwrapped phase, (row, column), without its mean and its linear ramp, by least squares."""
    rows, columns = _axes(phase.shape)
    row_slope, column_slope = _fitted_slopes(phase)
    level: NDArray[np.float64] = phase - phase.mean()
    return level - row_slope * rows[:, None] - column_slope * columns


@dataclass(frozen=True, eq=False, slots=True)
class Alignment:
    """A map brought onto a reference.

    Parameters
    ----------
    image : ndarray, (row, column), complex128
    shift_px : ndarray, (2,), float64
        (row, column) by which it was moved for that, `MARGIN_PX` at most.
    """

    image: NDArray[np.complex128]
    shift_px: NDArray[np.float64]


def align(
    image: NDArray[np.complexfloating], reference: NDArray[np.complexfloating], *, passes: int = 3
) -> Alignment:
    """Shift a map onto a reference by the phase, and take its relative phase and ramp away.

    Parameters
    ----------
    image, reference : ndarray, (row, column), complex
        Registered to a few pixels.
    passes : int
        A ramp disturbs the shift and a shift the ramp: both are found anew in each pass.
    """
    # What both have in common and does not move, a ramp, would be taken for features that have not moved;
    # and not periodic, it would ring from the borders into a map that is shifted.
    levelling = _levelling(reference)
    flat = reference * levelling
    level = without_relative_ramp(image, flat)
    found = Alignment(level, np.zeros(2))
    for reach_px in (MARGIN_PX, *(passes - 1) * (NEAR_PX,)):
        step = find_shift(_features(flat), _features(found.image), reach_px=reach_px)
        found = _moved(level, flat, _within_margin(found.shift_px + step))
    return Alignment(found.image * levelling.conj(), found.shift_px)


def align_repeats(repeats: NDArray[np.complexfloating]) -> list[Alignment]:
    """Bring repeats onto the first, by what all of them show.

    Each is registered onto the first, and then, `ROUNDS` times, onto the sum of all others: of a sample that
    drowns in the noise of one map, many show where it is.

    Parameters
    ----------
    repeats : ndarray, (repeat, row, column), complex
        Two or more.

    Returns
    -------
    list of Alignment
        Of each, with the shift onto the first.

    Raises
    ------
    InputError
        As of `without_relative_ramp`.
    """
    levelling = _levelling(repeats[0])
    first = repeats[0] * levelling
    with ThreadPoolExecutor(THREADS) as pool:
        level = list(pool.map(lambda image: without_relative_ramp(image, first), repeats))
        found = list(pool.map(lambda image: align(image, first), level))

        def onto_others(moving: Iterable[NDArray[np.complex128]], reach_px: int) -> list[NDArray[np.float64]]:
            total = np.sum([one.image for one in found], axis=0)
            others = [_features(total - one.image) for one in found]
            return list(pool.map(partial(find_shift, reach_px=reach_px), others, map(_features, moving)))

        def onto_first(shifts: list[NDArray[np.float64]]) -> list[Alignment]:
            relative = [_within_margin(shift - shifts[0]) for shift in shifts]
            return list(pool.map(lambda image, shift: _moved(image, first, shift), level, relative))

        for _ in range(ROUNDS):
            found = onto_first(onto_others(level, MARGIN_PX))
        rests = onto_others([one.image for one in found], NEAR_PX)
        found = onto_first([one.shift_px + rest for one, rest in zip(found, rests, strict=True)])
    return [Alignment(one.image * levelling.conj(), one.shift_px) for one in found]


def distinctness(image: NDArray[np.complexfloating], others: NDArray[np.complexfloating]) -> float:
    """Return how far the correlation of a map with others stands out where they lie on one another.

    Parameters
    ----------
    image, others : ndarray, (row, column), complex
        Registered.

    Returns
    -------
    float
        Its value there above its mean over the places that a search looks at, in standard deviations of
        those: of the plain correlation, or of the one in which all rings of spatial frequencies have the same
        power, whichever is more. The first tells sparse samples from noise, the second smooth ones, of
        which the plain correlation is wide; a sample of one smooth feature alone is not told from noise.
    """
    fixed, free = (windowed_transform(_features(one * _levelling(one))) for one in (others, image))
    cross, ring = fixed * free.conj(), fourier_rings(fixed.shape)
    power = np.bincount(ring.ravel(), np.abs(cross).ravel()) / np.bincount(ring.ravel())
    white = cross / np.maximum(power, LEAST_POWER * power.max())[ring]
    reach = _reach(cross.shape, MARGIN_PX)
    steps = np.arange(-reach, reach + 1)
    apart = np.hypot(*np.meshgrid(steps, steps, indexing="ij")) > NEAR_PX
    found = []
    for spectrum in (cross, white):
        correlation = _correlation(spectrum, (steps, steps))
        noise = correlation[apart]
        found.append(float((correlation[reach, reach] - noise.mean()) / noise.std()))
    return max(found)


def _within_margin(shift: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a shift, (row, column), no farther than to where it can be used."""
    return np.clip(shift, -MARGIN_PX, MARGIN_PX)


def _moved(
    level: NDArray[np.complex128], reference: NDArray[np.complexfloating], shift: NDArray[np.float64]
) -> Alignment:
    """Return a map without ramp, moved by a known shift onto a level reference."""
    return Alignment(without_relative_ramp(shifted(level, shift), reference), shift)


def _features(image: NDArray[np.complexfloating]) -> NDArray[np.float64]:
    """Return the phase of a level map within the margin, without mean and ramp."""
    return without_plane(np.angle(inner(image)))


def _levelling(image: NDArray[np.complexfloating]) -> NDArray[np.complex128]:
    """Return the wave that takes a map's own mean slopes and global phase away."""
    wave = _ramp(image.shape, *_mean_slopes(image))
    mean = np.vdot(wave.conj(), image)
    return np.asarray(wave * np.exp(-1j * np.angle(mean)))


def _axes(shape: tuple[int, ...]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return row and column coordinates about the centre of an image."""
    rows, columns = (np.arange(n, dtype=np.float64) - (n - 1) / 2 for n in shape)
    return rows, columns


def _ramp(shape: tuple[int, ...], row_slope: float, column_slope: float) -> NDArray[np.complex128]:
    """Return the wave that takes a phase of these slopes, in rad per pixel, away."""
    rows, columns = _axes(shape)
    wave: NDArray[np.complex128] = np.exp(-1j * (row_slope * rows[:, None] + column_slope * columns))
    return wave


def _mean_slopes(product: NDArray[np.complexfloating]) -> tuple[float, float]:
    """Return the mean phase difference of neighbours, in rad per pixel: no wrapping disturbs it."""
    along_rows = np.sum(product[1:] * product[:-1].conj())
    along_columns = np.sum(product[:, 1:] * product[:, :-1].conj())
    return float(np.angle(along_rows)), float(np.angle(along_columns))


def _fitted_slopes(phase: NDArray[np.floating]) -> tuple[float, float]:
    """Return the least-squares slopes of an unwrapped phase, in rad per pixel."""
    rows, columns = _axes(phase.shape)
    return float(rows @ phase.mean(axis=1) / (rows @ rows)), float(
        columns @ phase.mean(axis=0) / (columns @ columns)
    )
