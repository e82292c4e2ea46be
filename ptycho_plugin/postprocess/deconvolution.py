"""Deconvolution of a Gaussian point-spread function, regularised: the convex problem and its solver."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from ptycho_plugin.errors import InputError
from ptycho_plugin.postprocess.restoration_options import RestorationOptions
from ptycho_plugin.postprocess.seminorms import Bilateral, Seminorm, TotalVariation

STEP = 3.0
"""Dual step, times the map's standard deviation: fewest iterations from weak to strong regularisation."""
ITERATIONS_BETWEEN_CHECKS = 10
"""A check of convergence costs half an iteration."""

Image = NDArray[np.float64]


@dataclass(frozen=True, eq=False, slots=True)
class Solution:
    """Where the iterations ended.

    Parameters
    ----------
    image : ndarray, (row, column), float64
    residual : ndarray, (row, column), float64
        h*x - y.
    iterations : int
    objective : ndarray, (check,), float64
        One value before the first iteration, then one every `ITERATIONS_BETWEEN_CHECKS`.
    gap : float
        Share of the objective that a better map could at most gain: `Deconvolution.solve`.
    duals : list of list of ndarray
        Of the seminorms, in unit balls.
    """

    image: Image
    residual: Image
    iterations: int
    objective: NDArray[np.float64]
    gap: float
    duals: list[list[Image]]


class Deconvolution:
    """Minimise |h*x - y|^2 / 2 + lambda1 TV(x) + lambda2 B(x) over maps x.

    The norm is the sum over pixels, each with the same weight. h is a Gaussian, by its transfer function
    exp(-sigma^2 k^2 / 2), on a map that is mirrored at its borders: nothing wraps around or rings from
    there. TV is the total variation and B the bilateral regularisation of `seminorms`.

    Parameters
    ----------
    shape : (int, int)
        Of the maps.
    options : RestorationOptions

    Raises
    ------
    InputError
        If the maps are too small for their shifts.
    """

    def __init__(self, shape: tuple[int, ...], options: RestorationOptions) -> None:
        if len(shape) != 2 or min(shape) < 2 or min(shape) <= options.bilateral_reach_px:
            raise InputError(
                f"a map of {shape} px cannot be restored: give one of two dimensions "
                f"that is larger than bilateral_reach_px = {options.bilateral_reach_px}"
            )
        rows, columns = shape
        self._options = options
        frequencies = (np.pi * np.arange(n) / n for n in shape)
        row, column = (np.exp(-((options.psf_sigma_px * k) ** 2) / 2) for k in frequencies)
        self._transfer: Image = np.outer(row, column)
        self._terms: list[tuple[float, Seminorm]] = [(1.0, TotalVariation((rows, columns)))]
        if options.bilateral_ratio:
            reach, decay = options.bilateral_reach_px, options.bilateral_decay
            self._terms.append((options.bilateral_ratio, Bilateral((rows, columns), reach, decay)))

    def blurred(self, image: Image) -> Image:
        """Return h*x."""
        return _image(self._transfer * _coefficients(image))

    def objective(self, image: Image, data: Image, strength: float) -> float:
        """Return what is minimised, at lambda1 = strength."""
        residual = self.blurred(image) - data
        return 0.5 * float(np.vdot(residual, residual)) + strength * self._regularisation(image)

    def solve(self, data: Image, strength: float, start: Solution | None = None) -> Solution:
        """Minimise, from the data themselves or from another solution.

        Parameters
        ----------
        data : ndarray, (row, column), float64
            The y; not constant.
        strength : float
            lambda1, in the unit of the data; lambda2 is ``bilateral_ratio`` times that.
        start : Solution, optional
            For the same data at another strength.

        Returns
        -------
        Solution

        Notes
        -----
        The primal-dual method of Chambolle and Pock, J. Math. Imaging Vision 40, 120 (2011), preconditioned
        as by Pock and Chambolle, ICCV 2011, 1762. The metric of the image is the step times the operator
        of `Seminorm.spectrum`, which bounds the differences' and is diagonal in the cosine transform, as
        the blur is: the data term's step is exact, and it converges as the method of multipliers does.

        Any duals u = w v bound what another map x' could gain: with the regularisation R and the gradient
        g = h*(h*x - y) + K^T u, F(x) - F(x') <= R(x) - <u, K x> + <g, x - x'> - |h*(x - x')|^2 / 2. Whatever
        x' is, a frequency adds at most |g|^2 / (2 h^2) to that: the duality gap. Where h is all but 0 that
        says nothing; there the best map is taken to differ by no more than this one holds, which leaves
        |g| |x|. Iterations end when the sum is less than ``tolerance`` of F(x).
        """
        transfer, target = self._transfer, _coefficients(data)
        step = STEP / float(data.std())
        metric = step * strength * sum((weight * term.spectrum for weight, term in self._terms), 0.0)
        inverse = 1.0 / (transfer**2 + metric)
        duals = self._duals(start)
        image = data if start is None else start.image
        x, objective, gap = _coefficients(image), [], np.inf
        for iteration in range(self._options.max_iterations + 1):
            force = _coefficients(self._adjoint(duals, strength))
            residual = transfer * x - target
            gradient = transfer * residual + force
            if iteration % ITERATIONS_BETWEEN_CHECKS == 0 or iteration == self._options.max_iterations:
                regularisation = strength * self._regularisation(image)
                objective.append(0.5 * float(np.vdot(residual, residual)) + regularisation)
                slack = regularisation - float(np.vdot(force, x))
                gap = (slack + self._gain(gradient, x)) / objective[-1]
                # Another strength's solution may pass at once, and would hide what the strength changes.
                if iteration > 0 and gap < self._options.tolerance:
                    break
            x = x - inverse * gradient
            before, image = image, _image(x)
            for (_, term), dual in zip(self._terms, duals, strict=True):
                term.ascend(dual, 2 * image - before, step)
        return Solution(image, _image(residual), iteration, np.array(objective), gap, duals)

    def _gain(self, gradient: Image, x: Image) -> float:
        """Return what all frequencies together could still gain."""
        size = np.abs(gradient)
        return float(np.minimum(0.5 * (size / self._transfer) ** 2, size * np.abs(x)).sum())

    def _regularisation(self, image: Image) -> float:
        """Return TV(x) + ratio B(x)."""
        return sum(weight * term.value(image) for weight, term in self._terms)

    def _adjoint(self, duals: list[list[Image]], strength: float) -> Image:
        """Return K^T u."""
        total = np.zeros(self._transfer.shape)
        for (weight, term), dual in zip(self._terms, duals, strict=True):
            term.add_adjoint(dual, total, strength * weight)
        return total

    def _duals(self, start: Solution | None) -> list[list[Image]]:
        """Return duals that may be moved."""
        if start is None:
            return [term.new_dual() for _, term in self._terms]
        return [[v.copy() for v in dual] for dual in start.duals]


def _coefficients(image: Image) -> Image:
    return np.asarray(fft.dctn(image, norm="ortho"))


def _image(coefficients: Image) -> Image:
    return np.asarray(fft.idctn(coefficients, norm="ortho"))
