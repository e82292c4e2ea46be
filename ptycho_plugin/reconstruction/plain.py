"""The engines' primitives in whole arrays, for any array namespace: what `kernels` does, said plainly.

Shapes, scales and meanings are those of `kernels`; one test holds the two equal.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import pi
from typing import Any

import numpy as np

from ptycho_plugin.reconstruction.kernels import DARK, DARK_COUNTS, Corners

Array = Any


class Plain:
    """The primitives of an array namespace.

    Parameters
    ----------
    xp : array namespace
        Of the array API standard (2024.12), with assignment to slices.
    """

    def __init__(self, xp: Any) -> None:
        self._xp = xp

    def shift(self, probe_far: Array, shifts: Array, out: Array) -> None:
        """Set out_j = S_j F(P)."""
        out[...] = probe_far[None, ...] * _factors(shifts)

    def add_shifted_back(self, far: Array, shifts: Array, total: Array) -> None:
        """Add sum_j conj(S_j) far_j."""
        total += self._xp.sum(far * self._xp.conj(_factors(shifts)), axis=0)

    def shift_changes(
        self,
        step_far: Array,
        probe_far: Array,
        shifts: Array,
        ways: Array,
        frequencies: Array,
        out: Array,
    ) -> None:
        """Set out_j = S_j (F(dP) - 2 pi i (f . x_j) F(P))."""
        f = frequencies
        turns = ways[:, :1, None] * f[:, None] + ways[:, 1:, None] * f
        out[...] = (step_far[None, ...] - 2j * pi * turns[:, None, ...] * probe_far) * _factors(shifts)

    def slopes_along_ways(
        self, far: Array, probe_far: Array, shifts: Array, frequencies: Array, out: Array
    ) -> None:
        """Set out_j to Re sum conj(far_j) S_j (-2 pi i f) F(P)."""
        xp, f = self._xp, frequencies
        turned = xp.sum(xp.imag(xp.conj(far) * _factors(shifts) * probe_far[None, ...]), axis=1)
        for axis, along in enumerate((turned * f[:, None], turned * f)):
            out[:, axis] = 2 * pi * xp.sum(along, axis=(-2, -1), dtype=xp.float64)

    def multiply(self, waves: Array, factors: Array) -> None:
        """Multiply waves in place, each with the same factors."""
        waves *= factors

    def multiply_separable(self, waves: Array, factors: Array) -> None:
        """Multiply waves in place, each frame's with its own factors of rows and columns."""
        waves *= _factors(factors)

    def exit_waves(self, probes: Array, object_: Array, corners: Corners, out: Array) -> None:
        """Set out_j = P_j O_j."""
        out[...] = probes * self._patches(object_, corners, out.shape[-1])

    def reflect(self, probes: Array, object_: Array, corners: Corners, waves: Array, out: Array) -> None:
        """Set out_j = 2 P_j O_j - psi_j."""
        out[...] = 2 * probes * self._patches(object_, corners, out.shape[-1]) - waves

    def modulus(self, far: Array, amplitudes: Array, noise_power: Array) -> None:
        """Move far fields until their squared distance to the amplitudes is the noise power or less."""
        xp, side = self._xp, far.shape[-1]
        model = xp.sqrt(self._intensity(far))
        excess = xp.where(amplitudes >= 0, model - amplitudes, xp.zeros_like(model))
        distance = xp.sum(excess**2, axis=(-2, -1))
        share = xp.where(distance > noise_power, noise_power / xp.where(distance > 0, distance, 1.0), 1.0)
        way = (1 - xp.sqrt(share))[:, None, None]
        factor = 1 - way * excess / xp.where(model > float(DARK), model, float(DARK))
        far *= xp.astype(factor / side**2, xp.float32)[:, None, :, :]

    def advance(
        self,
        waves: Array,
        nearest: Array,
        probes: Array,
        object_: Array,
        corners: Corners,
        overlap: Array,
        illumination: Array,
    ) -> float:
        """Take the steps psi_j += nearest_j - P_j O_j and add up what the next object needs."""
        step = nearest - probes * self._patches(object_, corners, waves.shape[-1])
        waves += step
        self.to_object(waves, probes, corners, overlap, illumination)
        return float(self._xp.sum(_squared(step, self._xp)))

    def to_object(
        self, waves: Array, probes: Array, corners: Corners, overlap: Array, illumination: Array
    ) -> None:
        """Add sum_jm conj(P_jm) waves_jm and sum_jm |P_jm|^2."""
        xp, side = self._xp, waves.shape[-1]
        seen = xp.sum(xp.conj(probes) * waves, axis=1)
        light = xp.sum(_squared(probes, xp), axis=1)
        # One after the other: to scatter them all at once would be atomic additions, in no fixed order.
        for j, window in enumerate(windows(corners, side)):
            overlap[window] += seen[j, ...]
            illumination[window] += light[min(j, light.shape[0] - 1), ...]

    def to_probe(
        self, waves: Array, object_: Array, corners: Corners, total: Array, transmission: Array
    ) -> None:
        """Add sum_j conj(O_j) waves_j and sum_j |O_j|^2."""
        products = self._xp.empty_like(waves)
        self.to_probes(waves, object_, corners, products, transmission)
        total += self._xp.sum(products, axis=0)

    def to_probes(
        self, waves: Array, object_: Array, corners: Corners, out: Array, transmission: Array
    ) -> None:
        """Set out_j = conj(O_j) waves_j, and add sum_j |O_j|^2."""
        xp = self._xp
        patches = self._patches(object_, corners, waves.shape[-1])
        out[...] = xp.conj(patches) * waves
        transmission += xp.sum(_squared(patches, xp), axis=(0, 1))

    def compare(self, far: Array, amplitudes: Array, background: float, poisson: bool, out: Array) -> float:
        """Compare the expected counts with the measured ones."""
        xp, side = self._xp, far.shape[-1]
        light, counts = self._intensity(far), amplitudes**2
        measured = amplitudes >= 0
        distance = xp.sum(xp.where(measured, (xp.sqrt(light + float(background)) - amplitudes) ** 2, 0.0))
        expected = light + _besides(background)
        slope = (expected - counts) / self._variance(expected, counts, poisson)
        slope = xp.where(measured, slope, xp.zeros_like(slope)) / side**2
        out[...] = far * slope[:, None, :, :]
        return float(distance)

    def change_of_exit_waves(
        self,
        probes: Array,
        probe_steps: Array,
        object_: Array,
        object_step: Array,
        corners: Corners,
        out: Array,
    ) -> None:
        """Set out_j = P_j dO_j + dP_j O_j."""
        side = out.shape[-1]
        out[...] = probes * self._patches(object_step, corners, side) + probe_steps * self._patches(
            object_, corners, side
        )

    def expand(
        self, far: Array, change: Array, amplitudes: Array, background: float, poisson: bool
    ) -> tuple[float, float]:
        """Expand L along a change of the far fields."""
        xp, side = self._xp, far.shape[-1]
        expected, counts = self._intensity(far) + _besides(background), amplitudes**2
        gained = 2 * xp.sum(xp.real(xp.conj(far) * change), axis=1) / side**2
        relative = gained / self._variance(expected, counts, poisson)
        relative = xp.where(amplitudes >= 0, relative, xp.zeros_like(relative))
        slope = xp.sum((expected - counts) * relative)
        return float(slope), float(xp.sum(gained * relative))

    def _intensity(self, far: Array) -> Array:
        return self._xp.sum(_squared(far, self._xp), axis=1) / far.shape[-1] ** 2

    def _variance(self, expected: Array, counts: Array, poisson: bool) -> Array:
        if poisson:
            return expected
        return self._xp.where(counts > 1, counts, self._xp.ones_like(counts))

    def _patches(self, object_: Array, corners: Corners, side: int) -> Array:
        """Return O_j, ``(frame, 1, row, column)``."""
        rows, columns = (self._xp.asarray(first[:, None] + np.arange(side)) for first in corners.T)
        return object_[rows[:, None, :, None], columns[:, None, None, :]]


def _besides(background: float) -> float:
    return max(float(background), float(DARK_COUNTS))


def _factors(shifts: Array) -> Array:
    return (shifts[:, 0, :, None] * shifts[:, 1, None, :])[:, None, :, :]


def _squared(waves: Array, xp: Any) -> Array:
    return xp.real(waves) ** 2 + xp.imag(waves) ** 2


def windows(corners: Corners, side: int) -> Iterator[tuple[slice, slice]]:
    """Yield rows and columns of the patches ``(side, side)`` that begin at some pixels."""
    for top, left in corners.tolist():
        yield slice(top, top + side), slice(left, left + side)
