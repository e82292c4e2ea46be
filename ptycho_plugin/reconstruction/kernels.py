"""Fused arithmetic on the frames of one block, compiled by numba.

Each kernel passes once over arrays that lie in the processor's cache. Shapes are named as in
`Block`: waves are ``(frame, mode, row, column)``, complex64. ``probes`` are P_j, the same but
for a first axis of 1 where all frames share one probe. O_j is the object's patch that begins at
``corners[j]``. Frames are taken one after the other, so a result does not depend on threads.

Sums over pixels are kept for each column in float64 and added up at the end: they are exact
enough to decide a step, and the loop over a row can be vectorised without reordering additions.
A literal would turn float32 into float64, hence `ZERO` and `ONE`.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

Waves = NDArray[np.complex64]
Reals = NDArray[np.float32]

ZERO, ONE = np.float32(0), np.float32(1)
TINY = np.finfo(np.float32).tiny

kernel = numba.njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract"})


@kernel
def _squared(z: np.complex64) -> np.float32:
    return z.real * z.real + z.imag * z.imag


@kernel
def _scaled(z: np.complex64, factor: np.float32) -> np.complex64:
    """Return factor z without the products with an imaginary part of 0."""
    return np.complex64(complex(z.real * factor, z.imag * factor))


@kernel
def _intensity(far: Waves, row: int, out: Reals) -> None:
    """Set out to sum_m |far_m|^2 along one row of one frame's ``(mode, row, column)``."""
    out[:] = 0
    for wave in far:
        line = wave[row]
        for c in range(out.size):
            out[c] += _squared(line[c])


@kernel
def shift(probe_far: Waves, shifts: Waves, out: Waves) -> None:
    """Set the far fields out_j = S_j F(P), for probes moved by fractions of a pixel.

    Parameters
    ----------
    probe_far : ndarray, (mode, row, column), complex64
    shifts : ndarray, (frame, 2, side), complex64
        Far-field factors S_j, as those of rows and of columns: see `shift_phases`.
    out : ndarray, (frame, mode, row, column), complex64
    """
    frames, modes, side, _ = out.shape
    for j in range(frames):
        columns = shifts[j, 1]
        for m in range(modes):
            for r in range(side):
                factor, source, target = shifts[j, 0, r], probe_far[m, r], out[j, m, r]
                for c in range(side):
                    target[c] = source[c] * (factor * columns[c])


@kernel
def add_shifted_back(far: Waves, shifts: Waves, total: Waves) -> None:
    """Add sum_j conj(S_j) far_j to ``total``, ``(mode, row, column)``: the adjoint of `shift`."""
    frames, modes, side, _ = far.shape
    for j in range(frames):
        columns = shifts[j, 1]
        for m in range(modes):
            for r in range(side):
                factor, source, target = shifts[j, 0, r], far[j, m, r], total[m, r]
                for c in range(side):
                    target[c] += source[c] * (factor * columns[c]).conjugate()


@kernel
def exit_waves(probes: Waves, object_: Waves, corners: NDArray[np.int64], out: Waves) -> None:
    """Set out_j = P_j O_j."""
    frames, modes, side, _ = out.shape
    for j in range(frames):
        k = min(j, len(probes) - 1)
        top, left = corners[j]
        for m in range(modes):
            for r in range(side):
                probe, patch, wave = probes[k, m, r], object_[top + r, left : left + side], out[j, m, r]
                for c in range(side):
                    wave[c] = probe[c] * patch[c]


@kernel
def reflect(probes: Waves, object_: Waves, corners: NDArray[np.int64], waves: Waves, out: Waves) -> None:
    """Set out_j = 2 P_j O_j - psi_j, the waves psi reflected at the overlap projection."""
    frames, modes, side, _ = waves.shape
    for j in range(frames):
        k = min(j, len(probes) - 1)
        top, left = corners[j]
        for m in range(modes):
            for r in range(side):
                probe, patch = probes[k, m, r], object_[top + r, left : left + side]
                wave, target = waves[j, m, r], out[j, m, r]
                for c in range(side):
                    projected = probe[c] * patch[c]
                    target[c] = projected + projected - wave[c]


@kernel
def nearest_measured(
    far: Waves, amplitudes: Reals, measured: NDArray[np.bool_], noise_power: Reals, dark: np.float32
) -> None:
    """Move far fields until their squared distance to the amplitudes is ``noise_power`` or less.

    Each modulus goes the same share of its way, 1 - sqrt(noise_power / distance), and each mode
    keeps its share of the modulus. Pixels that are not measured stay; a modulus below ``dark``
    hardly moves.
    """
    frames, modes, side, _ = far.shape
    moduli, factor = np.empty((side, side), np.float32), np.empty(side, np.float32)
    for j in range(frames):
        distances = np.zeros(side)
        for r in range(side):
            amplitude, valid, modulus = amplitudes[j, r], measured[j, r], moduli[r]
            _intensity(far[j], r, modulus)
            for c in range(side):
                modulus[c] = np.sqrt(modulus[c])
                excess = modulus[c] - amplitude[c]
                distances[c] += excess * excess if valid[c] else ZERO
        way = np.float32(1 - np.sqrt(min(1, noise_power[j] / max(distances.sum(), TINY))))
        for r in range(side):
            amplitude, valid, modulus = amplitudes[j, r], measured[j, r], moduli[r]
            for c in range(side):
                change = way * (modulus[c] - amplitude[c]) / max(modulus[c], dark)
                factor[c] = ONE - change if valid[c] else ONE
            for m in range(modes):
                wave = far[j, m, r]
                for c in range(side):
                    wave[c] = _scaled(wave[c], factor[c])


@kernel
def advance(
    waves: Waves,
    nearest: Waves,
    probes: Waves,
    object_: Waves,
    corners: NDArray[np.int64],
    overlap: Waves,
    illumination: Reals,
) -> float:
    """Take the steps psi_j += nearest_j - P_j O_j and add up what the next object needs.

    Parameters
    ----------
    waves, nearest : ndarray, (frame, mode, row, column), complex64
        psi, and Pi_F of the reflected waves.
    probes, object_, corners
        P_j, O and where its patches begin.
    overlap : ndarray, (row, column), complex64
        As large as the object: receives sum_jm conj(P_jm) psi_jm.
    illumination : ndarray, (row, column), float32
        Receives sum_jm |P_jm|^2.

    Returns
    -------
    float
        Sum of the steps' squared moduli.
    """
    frames, modes, side, _ = waves.shape
    distances = np.zeros(side)
    for j in range(frames):
        k = min(j, len(probes) - 1)
        top, left = corners[j]
        for m in range(modes):
            for r in range(side):
                window = slice(left, left + side)
                probe, patch = probes[k, m, r], object_[top + r, window]
                wave, target = waves[j, m, r], nearest[j, m, r]
                seen, light = overlap[top + r, window], illumination[top + r, window]
                for c in range(side):
                    step = target[c] - probe[c] * patch[c]
                    moved = wave[c] + step
                    wave[c] = moved
                    seen[c] += probe[c].conjugate() * moved
                    light[c] += _squared(probe[c])
                    distances[c] += _squared(step)
    return distances.sum()


@kernel
def add_overlap(
    waves: Waves, probes: Waves, corners: NDArray[np.int64], overlap: Waves, illumination: Reals
) -> None:
    """Add sum_jm conj(P_jm) waves_jm and sum_jm |P_jm|^2 to arrays as large as the object."""
    frames, modes, side, _ = waves.shape
    for j in range(frames):
        k = min(j, len(probes) - 1)
        top, left = corners[j]
        for m in range(modes):
            for r in range(side):
                window = slice(left, left + side)
                probe, wave = probes[k, m, r], waves[j, m, r]
                seen, light = overlap[top + r, window], illumination[top + r, window]
                for c in range(side):
                    seen[c] += probe[c].conjugate() * wave[c]
                    light[c] += _squared(probe[c])


@kernel
def add_transmission(
    waves: Waves, object_: Waves, corners: NDArray[np.int64], out: Waves, transmission: Reals
) -> None:
    """Set out_j = conj(O_j) waves_j and add sum_j |O_j|^2 to ``transmission``, ``(row, column)``.

    Where ``out`` has one frame only, it receives the sum over frames. It may be ``waves``.
    """
    frames, modes, side, _ = waves.shape
    for j in range(frames):
        k = min(j, len(out) - 1)
        top, left = corners[j]
        for r in range(side):
            patch, weight = object_[top + r, left : left + side], transmission[r]
            for c in range(side):
                weight[c] += _squared(patch[c])
            for m in range(modes):
                wave, target = waves[j, m, r], out[k, m, r]
                if k < j:
                    for c in range(side):
                        target[c] += patch[c].conjugate() * wave[c]
                else:
                    for c in range(side):
                        target[c] = patch[c].conjugate() * wave[c]


@kernel
def compare(
    far: Waves, amplitudes: Reals, measured: NDArray[np.bool_], dark_counts: np.float32, out: Waves
) -> float:
    """Compare the intensities I = sum_m |far_m|^2 with the measured counts n.

    Parameters
    ----------
    far : ndarray, (frame, mode, row, column), complex64
    amplitudes, measured : ndarray, (frame, row, column)
        sqrt(n), and where it is known.
    dark_counts : float32
        Added to I.
    out : ndarray, (frame, mode, row, column), complex64
        Receives dL/d conj(far) = (1 - n / I) far, 0 where nothing was measured. It may be ``far``.

    Returns
    -------
    float
        Sum of (sqrt(I) - sqrt(n))^2 over measured pixels.
    """
    frames, modes, side, _ = far.shape
    distances = np.zeros(side)
    model, slope = np.empty(side, np.float32), np.empty(side, np.float32)
    for j in range(frames):
        for r in range(side):
            amplitude, valid = amplitudes[j, r], measured[j, r]
            _intensity(far[j], r, model)
            for c in range(side):
                excess = np.sqrt(model[c]) - amplitude[c]
                distances[c] += excess * excess if valid[c] else ZERO
                slope[c] = ONE - amplitude[c] * amplitude[c] / (model[c] + dark_counts) if valid[c] else ZERO
            for m in range(modes):
                wave, target = far[j, m, r], out[j, m, r]
                for c in range(side):
                    target[c] = _scaled(wave[c], slope[c])
    return distances.sum()


@kernel
def change_of_exit_waves(
    probes: Waves,
    probe_steps: Waves,
    object_: Waves,
    object_step: Waves,
    corners: NDArray[np.int64],
    out: Waves,
) -> None:
    """Set out_j = P_j dO_j + dP_j O_j."""
    frames, modes, side, _ = out.shape
    for j in range(frames):
        k = min(j, len(probes) - 1)
        top, left = corners[j]
        for m in range(modes):
            for r in range(side):
                window = slice(left, left + side)
                probe, patch_step = probes[k, m, r], object_step[top + r, window]
                probe_step, patch = probe_steps[k, m, r], object_[top + r, window]
                target = out[j, m, r]
                for c in range(side):
                    target[c] = probe[c] * patch_step[c] + probe_step[c] * patch[c]


@kernel
def expand(
    far: Waves,
    change: Waves,
    amplitudes: Reals,
    measured: NDArray[np.bool_],
    dark_counts: np.float32,
) -> tuple[float, float]:
    """Expand L along a change of the far fields: I' = 2 Re sum_m conj(far_m) change_m.

    Returns
    -------
    slope, curvature : float
        Sums of (1 - n / I) I' and of I'^2 / I over measured pixels.
    """
    frames, modes, side, _ = far.shape
    slopes, curvatures = np.zeros(side), np.zeros(side)
    model, growth = np.empty(side, np.float32), np.empty(side, np.float32)
    for j in range(frames):
        for r in range(side):
            amplitude, valid = amplitudes[j, r], measured[j, r]
            _intensity(far[j], r, model)
            growth[:] = 0
            for m in range(modes):
                wave, step = far[j, m, r], change[j, m, r]
                for c in range(side):
                    half = wave[c].real * step[c].real + wave[c].imag * step[c].imag
                    growth[c] += half + half
            for c in range(side):
                expected = model[c] + dark_counts
                slope = ONE - amplitude[c] * amplitude[c] / expected
                slopes[c] += slope * growth[c] if valid[c] else ZERO
                curvatures[c] += growth[c] * growth[c] / expected if valid[c] else ZERO
    return slopes.sum(), curvatures.sum()
