"""The engines' primitives, fused and compiled by numba.

Each kernel passes once over arrays that lie in the processor's cache. Shapes are named as in
`Block`: waves are ``(frame, mode, row, column)``, complex64 and contiguous. ``probes`` are P_j, the
same but for a first axis of 1 where all frames share one probe. O_j is the object's patch that begins
at ``corners[j]``. Far fields are as the bare transform leaves them, `side` times the orthonormal ones.
Frames are taken one after the other, so a result does not depend on threads. `plain` says the same in
whole arrays.

Inside, a row of complex numbers is a row of pairs of float32, which the compiler can vectorise. Sums
over the pixels of a frame are kept for each column in float32, then added up in float64: exact enough
to decide a step, and no addition is reordered. A literal would turn float32 into float64, hence
`ZERO` and its like.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

Waves = NDArray[np.complex64]
Reals = NDArray[np.float32]
Corners = NDArray[np.int64]

ZERO, ONE, MINUS_TWO_PI = np.float32(0), np.float32(1), np.float32(-2 * np.pi)
TINY = np.finfo(np.float32).tiny
DARK_COUNTS = np.float32(1e-2)
"""Counts a pixel always expects, background included: keeps the likelihood finite where the model is dark."""
DARK = np.sqrt(DARK_COUNTS)
"""Amplitude below which a far field has no phase to keep, and moves the less the darker it is."""

kernel = numba.njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract"})


@kernel
def _pairs(waves: Waves) -> Reals:
    """Return complex numbers as pairs of real ones along the last axis."""
    return waves.view(np.float32)


@kernel
def _add_intensity(wave: Reals, out: Reals) -> None:
    """Add |wave|^2 along one row of pairs."""
    for c in range(out.size):
        re, im = wave[2 * c], wave[2 * c + 1]
        out[c] += re * re + im * im


@kernel
def _scale(wave: Reals, factor: Reals, out: Reals) -> None:
    """Set out to factor times one row of pairs."""
    for c in range(factor.size):
        out[2 * c] = wave[2 * c] * factor[c]
        out[2 * c + 1] = wave[2 * c + 1] * factor[c]


@kernel
def shift(probe_far: Waves, shifts: Waves, out: Waves) -> None:
    """Set the far fields out_j = S_j F(P), for probes moved by fractions of a pixel.

    Parameters
    ----------
    probe_far : ndarray, (mode, row, column), complex64
    shifts : ndarray, (frame, 2, side), complex64
        Far-field factors S_j, as those of rows and of columns: see `shift_factors`.
    out : ndarray, (frame, mode, row, column), complex64
    """
    frames, modes, side, _ = out.shape
    far, factors, moved = _pairs(probe_far), _pairs(shifts), _pairs(out)
    for j in range(frames):
        rows, columns = factors[j]
        for m in range(modes):
            for r in range(side):
                source, target, rr, ri = far[m, r], moved[j, m, r], rows[2 * r], rows[2 * r + 1]
                for c in range(side):
                    cr, ci, re, im = columns[2 * c], columns[2 * c + 1], source[2 * c], source[2 * c + 1]
                    fr, fi = rr * cr - ri * ci, rr * ci + ri * cr
                    target[2 * c] = fr * re - fi * im
                    target[2 * c + 1] = fr * im + fi * re


@kernel
def add_shifted_back(far: Waves, shifts: Waves, total: Waves) -> None:
    """Add sum_j conj(S_j) far_j to ``total``, ``(mode, row, column)``: the adjoint of `shift`."""
    frames, modes, side, _ = far.shape
    moved, factors, sums = _pairs(far), _pairs(shifts), _pairs(total)
    for j in range(frames):
        rows, columns = factors[j]
        for m in range(modes):
            for r in range(side):
                source, target, rr, ri = moved[j, m, r], sums[m, r], rows[2 * r], rows[2 * r + 1]
                for c in range(side):
                    cr, ci, re, im = columns[2 * c], columns[2 * c + 1], source[2 * c], source[2 * c + 1]
                    fr, fi = rr * cr - ri * ci, rr * ci + ri * cr
                    target[2 * c] += fr * re + fi * im
                    target[2 * c + 1] += fr * im - fi * re


@kernel
def shift_changes(
    step_far: Waves, probe_far: Waves, shifts: Waves, ways: Reals, frequencies: Reals, out: Waves
) -> None:
    """Set the far fields out_j = S_j (F(dP) - 2 pi i (f . x_j) F(P)), for probes that change and move.

    Parameters
    ----------
    step_far, probe_far : ndarray, (mode, row, column), complex64
        F(dP) and F(P).
    shifts : ndarray, (frame, 2, side), complex64
        S_j, as for `shift`.
    ways : ndarray, (frame, 2), float32
        x_j, in pixels.
    frequencies : ndarray, (side,), float32
        f, in periods a pixel, of rows and of columns.
    out : ndarray, (frame, mode, row, column), complex64
    """
    frames, modes, side, _ = out.shape
    steps, far, factors, changes = _pairs(step_far), _pairs(probe_far), _pairs(shifts), _pairs(out)
    for j in range(frames):
        rows, columns = factors[j]
        down, along = ways[j]
        for m in range(modes):
            for r in range(side):
                step, source, target = steps[m, r], far[m, r], changes[j, m, r]
                rr, ri, turned = rows[2 * r], rows[2 * r + 1], down * frequencies[r]
                for c in range(side):
                    turn = MINUS_TWO_PI * (turned + along * frequencies[c])
                    re, im = step[2 * c] - turn * source[2 * c + 1], step[2 * c + 1] + turn * source[2 * c]
                    cr, ci = columns[2 * c], columns[2 * c + 1]
                    fr, fi = rr * cr - ri * ci, rr * ci + ri * cr
                    target[2 * c] = fr * re - fi * im
                    target[2 * c + 1] = fr * im + fi * re


@kernel
def slopes_along_ways(
    far: Waves, probe_far: Waves, shifts: Waves, frequencies: Reals, out: NDArray[np.float64]
) -> None:
    """Set out_j to Re sum conj(far_j) S_j (-2 pi i f) F(P): the adjoint of `shift_changes` in x_j.

    Parameters
    ----------
    far : ndarray, (frame, mode, row, column), complex64
    probe_far, shifts, frequencies
        As for `shift_changes`.
    out : ndarray, (frame, 2), float64
    """
    frames, modes, side, _ = far.shape
    gradient, probe, factors = _pairs(far), _pairs(probe_far), _pairs(shifts)
    down, along = np.empty(side, np.float32), np.empty(side, np.float32)
    for j in range(frames):
        rows, columns = factors[j]
        down[:], along[:] = 0, 0
        for m in range(modes):
            for r in range(side):
                slope, source, rr, ri = gradient[j, m, r], probe[m, r], rows[2 * r], rows[2 * r + 1]
                for c in range(side):
                    cr, ci, re, im = columns[2 * c], columns[2 * c + 1], source[2 * c], source[2 * c + 1]
                    fr, fi = rr * cr - ri * ci, rr * ci + ri * cr
                    turned = slope[2 * c] * (fr * im + fi * re) - slope[2 * c + 1] * (fr * re - fi * im)
                    down[c] += frequencies[r] * turned
                    along[c] += frequencies[c] * turned
        out[j, 0] = 2 * np.pi * down.astype(np.float64).sum()
        out[j, 1] = 2 * np.pi * along.astype(np.float64).sum()


@kernel
def multiply(waves: Waves, factors: Waves) -> None:
    """Multiply waves in place, each with the same factors ``(row, column)``."""
    frames, modes, side, _ = waves.shape
    psi, f = _pairs(waves), _pairs(factors)
    for j in range(frames):
        for m in range(modes):
            for r in range(side):
                wave, factor = psi[j, m, r], f[r]
                for c in range(side):
                    re, im, fr, fi = wave[2 * c], wave[2 * c + 1], factor[2 * c], factor[2 * c + 1]
                    wave[2 * c] = re * fr - im * fi
                    wave[2 * c + 1] = re * fi + im * fr


@kernel
def multiply_separable(waves: Waves, factors: Waves) -> None:
    """Multiply waves in place, each frame's with its own factors ``(frame, 2, side)`` of rows and columns."""
    frames, modes, side, _ = waves.shape
    psi, f = _pairs(waves), _pairs(factors)
    for j in range(frames):
        for m in range(modes):
            for r in range(side):
                wave, row_re, row_im, column = psi[j, m, r], f[j, 0, 2 * r], f[j, 0, 2 * r + 1], f[j, 1]
                for c in range(side):
                    fr = row_re * column[2 * c] - row_im * column[2 * c + 1]
                    fi = row_re * column[2 * c + 1] + row_im * column[2 * c]
                    re, im = wave[2 * c], wave[2 * c + 1]
                    wave[2 * c] = re * fr - im * fi
                    wave[2 * c + 1] = re * fi + im * fr


@kernel
def exit_waves(probes: Waves, object_: Waves, corners: Corners, out: Waves) -> None:
    """Set out_j = P_j O_j."""
    frames, modes, side, _ = out.shape
    p, o, psi = _pairs(probes), _pairs(object_), _pairs(out)
    for j in range(frames):
        k = min(j, len(probes) - 1)
        top, left = corners[j]
        for m in range(modes):
            for r in range(side):
                probe, patch, wave = p[k, m, r], o[top + r, 2 * left : 2 * (left + side)], psi[j, m, r]
                for c in range(side):
                    pr, pi, qr, qi = probe[2 * c], probe[2 * c + 1], patch[2 * c], patch[2 * c + 1]
                    wave[2 * c] = pr * qr - pi * qi
                    wave[2 * c + 1] = pr * qi + pi * qr


@kernel
def reflect(probes: Waves, object_: Waves, corners: Corners, waves: Waves, out: Waves) -> None:
    """Set out_j = 2 P_j O_j - psi_j, the waves psi reflected at the overlap projection."""
    frames, modes, side, _ = waves.shape
    p, o, psi, reflected = _pairs(probes), _pairs(object_), _pairs(waves), _pairs(out)
    for j in range(frames):
        k = min(j, len(probes) - 1)
        top, left = corners[j]
        for m in range(modes):
            for r in range(side):
                probe, patch = p[k, m, r], o[top + r, 2 * left : 2 * (left + side)]
                wave, target = psi[j, m, r], reflected[j, m, r]
                for c in range(side):
                    pr, pi, qr, qi = probe[2 * c], probe[2 * c + 1], patch[2 * c], patch[2 * c + 1]
                    re, im = pr * qr - pi * qi, pr * qi + pi * qr
                    target[2 * c] = re + re - wave[2 * c]
                    target[2 * c + 1] = im + im - wave[2 * c + 1]


@kernel
def modulus(far: Waves, amplitudes: Reals, noise_power: Reals) -> None:
    """Move far fields until their squared distance to the amplitudes is ``noise_power`` or less.

    Each modulus goes the same share of its way, 1 - sqrt(noise_power / distance), and each mode
    keeps its share of the modulus. Pixels that were not measured, whose amplitude is negative, stay;
    a modulus below `DARK` hardly moves. What is left is divided by side^2, so that the bare inverse
    transform gives waves.
    """
    frames, modes, side, _ = far.shape
    waves = _pairs(far)
    norm = np.float32(1 / side)
    excesses, distances = np.empty((side, side), np.float32), np.empty(side, np.float32)
    for j in range(frames):
        distances[:] = 0
        for r in range(side):
            amplitude, relative = amplitudes[j, r], excesses[r]
            relative[:] = 0
            for m in range(modes):
                _add_intensity(waves[j, m, r], relative)
            for c in range(side):
                model = norm * np.sqrt(relative[c])
                excess = model - amplitude[c] if amplitude[c] >= ZERO else ZERO
                distances[c] += excess * excess
                relative[c] = excess / max(model, DARK)
        distance = max(distances.astype(np.float64).sum(), TINY)
        way = np.float32(1 - np.sqrt(min(1, noise_power[j] / distance)))
        for r in range(side):
            factor = excesses[r]
            for c in range(side):
                factor[c] = norm * norm * (ONE - way * factor[c])
            for m in range(modes):
                _scale(waves[j, m, r], factor, waves[j, m, r])


@kernel
def advance(
    waves: Waves,
    nearest: Waves,
    probes: Waves,
    object_: Waves,
    corners: Corners,
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
    p, o, psi, near, sums = _pairs(probes), _pairs(object_), _pairs(waves), _pairs(nearest), _pairs(overlap)
    distances, total = np.empty(side, np.float32), 0.0
    for j in range(frames):
        k = min(j, len(probes) - 1)
        top, left = corners[j]
        distances[:] = 0
        for m in range(modes):
            for r in range(side):
                window = slice(2 * left, 2 * (left + side))
                probe, patch, wave, target = p[k, m, r], o[top + r, window], psi[j, m, r], near[j, m, r]
                seen, light = sums[top + r, window], illumination[top + r, left : left + side]
                for c in range(side):
                    pr, pi, qr, qi = probe[2 * c], probe[2 * c + 1], patch[2 * c], patch[2 * c + 1]
                    step_re = target[2 * c] - (pr * qr - pi * qi)
                    step_im = target[2 * c + 1] - (pr * qi + pi * qr)
                    re, im = wave[2 * c] + step_re, wave[2 * c + 1] + step_im
                    wave[2 * c], wave[2 * c + 1] = re, im
                    seen[2 * c] += pr * re + pi * im
                    seen[2 * c + 1] += pr * im - pi * re
                    light[c] += pr * pr + pi * pi
                    distances[c] += step_re * step_re + step_im * step_im
        total += distances.astype(np.float64).sum()
    return total


@kernel
def to_object(waves: Waves, probes: Waves, corners: Corners, overlap: Waves, illumination: Reals) -> None:
    """Add sum_jm conj(P_jm) waves_jm and sum_jm |P_jm|^2 to arrays as large as the object."""
    frames, modes, side, _ = waves.shape
    p, psi, sums = _pairs(probes), _pairs(waves), _pairs(overlap)
    for j in range(frames):
        k = min(j, len(probes) - 1)
        top, left = corners[j]
        for m in range(modes):
            for r in range(side):
                probe, wave = p[k, m, r], psi[j, m, r]
                seen = sums[top + r, 2 * left : 2 * (left + side)]
                light = illumination[top + r, left : left + side]
                for c in range(side):
                    pr, pi, re, im = probe[2 * c], probe[2 * c + 1], wave[2 * c], wave[2 * c + 1]
                    seen[2 * c] += pr * re + pi * im
                    seen[2 * c + 1] += pr * im - pi * re
                    light[c] += pr * pr + pi * pi


@kernel
def to_probe(waves: Waves, object_: Waves, corners: Corners, total: Waves, transmission: Reals) -> None:
    """Add sum_j conj(O_j) waves_j and sum_j |O_j|^2 to ``(mode, row, column)`` and ``(row, column)``."""
    frames, modes, side, _ = waves.shape
    o, psi, sums = _pairs(object_), _pairs(waves), _pairs(total)
    for j in range(frames):
        top, left = corners[j]
        for r in range(side):
            patch = o[top + r, 2 * left : 2 * (left + side)]
            _add_intensity(patch, transmission[r])
            for m in range(modes):
                wave, target = psi[j, m, r], sums[m, r]
                for c in range(side):
                    qr, qi, re, im = patch[2 * c], patch[2 * c + 1], wave[2 * c], wave[2 * c + 1]
                    target[2 * c] += qr * re + qi * im
                    target[2 * c + 1] += qr * im - qi * re


@kernel
def to_probes(waves: Waves, object_: Waves, corners: Corners, out: Waves, transmission: Reals) -> None:
    """Set out_j = conj(O_j) waves_j, and add sum_j |O_j|^2 to ``transmission``, ``(row, column)``."""
    frames, modes, side, _ = waves.shape
    o, psi, products = _pairs(object_), _pairs(waves), _pairs(out)
    for j in range(frames):
        top, left = corners[j]
        for r in range(side):
            patch = o[top + r, 2 * left : 2 * (left + side)]
            _add_intensity(patch, transmission[r])
            for m in range(modes):
                wave, target = psi[j, m, r], products[j, m, r]
                for c in range(side):
                    qr, qi, re, im = patch[2 * c], patch[2 * c + 1], wave[2 * c], wave[2 * c + 1]
                    target[2 * c] = qr * re + qi * im
                    target[2 * c + 1] = qr * im - qi * re


@kernel
def compare(far: Waves, amplitudes: Reals, background: np.float32, poisson: bool, out: Waves) -> float:
    """Compare the expected counts I = sum_m |far_m|^2 / side^2 + background with the counts n.

    Parameters
    ----------
    far : ndarray, (frame, mode, row, column), complex64
    amplitudes : ndarray, (frame, row, column), float32
        sqrt(n), negative where nothing was measured.
    background : float32
        Counts that every pixel has besides.
    poisson : bool
        Whether the variance of the counts is I; else it is max(n, 1).
    out : ndarray, (frame, mode, row, column), complex64
        Receives (I - n) / variance * far / side^2, 0 where nothing was measured, whose bare inverse
        transform is dL/d conj(wave). It may be ``far``.

    Returns
    -------
    float
        Sum of (sqrt(I) - sqrt(n))^2 over measured pixels.
    """
    frames, modes, side, _ = far.shape
    waves, slopes = _pairs(far), _pairs(out)
    norm, besides = np.float32(1 / side**2), max(background, DARK_COUNTS)
    distances, total = np.empty(side, np.float32), 0.0
    model, slope = np.empty(side, np.float32), np.empty(side, np.float32)
    for j in range(frames):
        distances[:] = 0
        for r in range(side):
            amplitude = amplitudes[j, r]
            model[:] = 0
            for m in range(modes):
                _add_intensity(waves[j, m, r], model)
            for c in range(side):
                light, counts = model[c] * norm, amplitude[c] * amplitude[c]
                excess = np.sqrt(light + background) - amplitude[c]
                distances[c] += excess * excess if amplitude[c] >= ZERO else ZERO
                expected = light + besides
                variance = expected if poisson else max(counts, ONE)
                pull = norm * (expected - counts) / variance
                slope[c] = pull if amplitude[c] >= ZERO else ZERO
            for m in range(modes):
                _scale(waves[j, m, r], slope, slopes[j, m, r])
        total += distances.astype(np.float64).sum()
    return total


@kernel
def change_of_exit_waves(
    probes: Waves, probe_steps: Waves, object_: Waves, object_step: Waves, corners: Corners, out: Waves
) -> None:
    """Set out_j = P_j dO_j + dP_j O_j."""
    frames, modes, side, _ = out.shape
    p, dp, o, do, psi = (
        _pairs(probes),
        _pairs(probe_steps),
        _pairs(object_),
        _pairs(object_step),
        _pairs(out),
    )
    for j in range(frames):
        k = min(j, len(probes) - 1)
        top, left = corners[j]
        for m in range(modes):
            for r in range(side):
                window = slice(2 * left, 2 * (left + side))
                probe, patch_step = p[k, m, r], do[top + r, window]
                probe_step, patch, wave = dp[k, m, r], o[top + r, window], psi[j, m, r]
                for c in range(side):
                    pr, pi, er, ei = probe[2 * c], probe[2 * c + 1], patch_step[2 * c], patch_step[2 * c + 1]
                    sr, si, qr, qi = probe_step[2 * c], probe_step[2 * c + 1], patch[2 * c], patch[2 * c + 1]
                    wave[2 * c] = pr * er - pi * ei + sr * qr - si * qi
                    wave[2 * c + 1] = pr * ei + pi * er + sr * qi + si * qr


@kernel
def expand(
    far: Waves, change: Waves, amplitudes: Reals, background: np.float32, poisson: bool
) -> tuple[float, float]:
    """Expand L along a change of the far fields: I' = 2 Re sum_m conj(far_m) change_m / side^2.

    Parameters
    ----------
    far, change : ndarray, (frame, mode, row, column), complex64
    amplitudes, background, poisson
        As for `compare`.

    Returns
    -------
    slope, curvature : float
        Sums of (I - n) I' / variance and of I'^2 / variance over measured pixels.
    """
    frames, modes, side, _ = far.shape
    waves, steps = _pairs(far), _pairs(change)
    norm, besides = np.float32(1 / side**2), max(background, DARK_COUNTS)
    slopes, curvatures = np.empty(side, np.float32), np.empty(side, np.float32)
    model, growth = np.empty(side, np.float32), np.empty(side, np.float32)
    slope = curvature = 0.0
    for j in range(frames):
        slopes[:], curvatures[:] = 0, 0
        for r in range(side):
            amplitude = amplitudes[j, r]
            model[:], growth[:] = 0, 0
            for m in range(modes):
                wave, step = waves[j, m, r], steps[j, m, r]
                _add_intensity(wave, model)
                for c in range(side):
                    growth[c] += wave[2 * c] * step[2 * c] + wave[2 * c + 1] * step[2 * c + 1]
            for c in range(side):
                expected, counts = model[c] * norm + besides, amplitude[c] * amplitude[c]
                variance = expected if poisson else max(counts, ONE)
                gained = norm * (growth[c] + growth[c])
                relative = gained / variance if amplitude[c] >= ZERO else ZERO
                slopes[c] += (expected - counts) * relative
                curvatures[c] += gained * relative
        slope += slopes.astype(np.float64).sum()
        curvature += curvatures.astype(np.float64).sum()
    return slope, curvature
