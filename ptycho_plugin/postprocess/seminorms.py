"""What a restoration keeps small: total variation and the bilateral regularisation, by their duals.

Each is a sum of weighted norms of differences of pixels, sum_i w_i |K_i x|, and so the greatest
<K_i x, w_i v_i> over duals v_i in unit balls. Pixels beyond the border are compared with none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cached_property
from itertools import product
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float64]
Window = tuple[slice, slice]

SIDES = slice(0, -1), slice(1, None)
"""Of each square of four pixels: the left and the right one, or the upper and the lower one."""


class Seminorm(Protocol):
    """What the solver asks of a regularisation; images are (row, column), float64."""

    @property
    def spectrum(self) -> Image:
        """Eigenvalues, in the cosine transform (DCT-II), of an operator that is at least sum_i w_i K_i^T K_i.

        It is that sum with pixels mirrored beyond the border: more differences, none negative.
        """
        ...

    def value(self, image: Image) -> float:
        """Return sum_i w_i |K_i x|."""
        ...

    def new_dual(self) -> list[Image]:
        """Return duals of zero."""
        ...

    def ascend(self, dual: list[Image], image: Image, step: float) -> None:
        """Move duals by step * K_i x, and back into their unit balls, in place."""
        ...

    def add_adjoint(self, dual: list[Image], out: Image, weight: float) -> None:
        """Add weight * sum_i w_i K_i^T v_i to an image."""
        ...


class TotalVariation:
    """Isotropic total variation: sum of sqrt((row difference)^2 + (column difference)^2).

    In each square of four pixels a row difference can be paired with a column difference in four ways.
    Forward differences take one of them, and favour one corner; this is the mean of all four, which no
    flip and no transposition changes.

    Parameters
    ----------
    shape : (int, int)
    """

    def __init__(self, shape: tuple[int, int]) -> None:
        self._shape = shape

    @cached_property
    def spectrum(self) -> Image:
        """As of `Seminorm`."""
        rows, columns = _cosines(self._shape, 1, 1)
        return np.asarray(4 - 2 * rows - 2 * columns)

    def value(self, image: Image) -> float:
        """As of `Seminorm`."""
        return 0.25 * sum(
            float(np.sqrt(down * down + right * right).sum()) for down, right in product(*_sides(image))
        )

    def new_dual(self) -> list[Image]:
        """As of `Seminorm`: for each pairing one array (row's or column's difference, row, column)."""
        rows, columns = self._shape
        return [np.zeros((2, rows - 1, columns - 1)) for _ in range(4)]

    def ascend(self, dual: list[Image], image: Image, step: float) -> None:
        """As of `Seminorm`."""
        along_rows, along_columns = _sides(step * image)
        for v, (down, right) in zip(dual, product(along_rows, along_columns), strict=True):
            v[0] += down
            v[1] += right
            length = np.sqrt(v[0] * v[0] + v[1] * v[1])
            v /= np.maximum(length, 1.0, out=length)

    def add_adjoint(self, dual: list[Image], out: Image, weight: float) -> None:
        """As of `Seminorm`."""
        for v, (columns, rows) in zip(dual, product(SIDES, SIDES), strict=True):
            down, right = v * (weight / 4)
            out[1:, columns] += down
            out[:-1, columns] -= down
            out[rows, 1:] += right
            out[rows, :-1] -= right


class Bilateral:
    """Sum over shifts l, m in -p..p of a^(|l| + |m|) |x - S(l, m) x|_1, after Farsiu et al. 2004.

    A shift and its opposite compare the same pixels: one of them is computed, with twice the weight.

    Parameters
    ----------
    shape : (int, int)
    reach : int
        The p.
    decay : float
        The a.
    """

    def __init__(self, shape: tuple[int, int], reach: int, decay: float) -> None:
        self._shape = shape
        self._weights = {
            (down, right): 2 * decay ** (down + abs(right))
            for down in range(reach + 1)
            for right in range(-reach, reach + 1)
            if (down, right) > (0, 0)
        }
        self._pairs = [self._pair(*shift) for shift in self._weights]

    @cached_property
    def spectrum(self) -> Image:
        """As of `Seminorm`: shifts (l, m) and (l, -m) together are diagonal in the cosine transform."""
        total = np.zeros(self._shape)
        for shift, weight in self._weights.items():
            rows, columns = _cosines(self._shape, *shift)
            total += weight * (2 - 2 * rows * columns)
        return total

    def value(self, image: Image) -> float:
        """As of `Seminorm`."""
        return sum(weight * float(np.abs(d).sum()) for weight, d in self._weighted(self._differences(image)))

    def new_dual(self) -> list[Image]:
        """As of `Seminorm`: one array for each shift."""
        return [np.zeros_like(difference) for difference in self._differences(np.zeros(self._shape))]

    def ascend(self, dual: list[Image], image: Image, step: float) -> None:
        """As of `Seminorm`."""
        for v, difference in zip(dual, self._differences(step * image), strict=True):
            v += difference
            np.clip(v, -1.0, 1.0, out=v)

    def add_adjoint(self, dual: list[Image], out: Image, weight: float) -> None:
        """As of `Seminorm`."""
        for (here, there), (own, v) in zip(self._pairs, self._weighted(dual), strict=True):
            flow = v * (weight * own)
            out[there] += flow
            out[here] -= flow

    def _differences(self, image: Image) -> Iterator[Image]:
        return (image[there] - image[here] for here, there in self._pairs)

    def _weighted(self, arrays: Iterable[Image]) -> zip[tuple[float, Image]]:
        return zip(self._weights.values(), arrays, strict=True)

    def _pair(self, down: int, right: int) -> tuple[Window, Window]:
        """Return the part of the map that has a neighbour at a shift, and that neighbour's."""
        rows, columns = self._shape
        left, width = max(0, -right), columns - abs(right)
        here = slice(0, rows - down), slice(left, left + width)
        there = slice(down, rows), slice(left + right, left + right + width)
        return here, there


def _sides(image: Image) -> tuple[list[Image], list[Image]]:
    """Return differences at the sides of each square of four pixels.

    Along rows at its left and its right side, and along columns at its upper and its lower one.
    """
    down, right = np.diff(image, axis=0), np.diff(image, axis=1)
    return [down[:, side] for side in SIDES], [right[side] for side in SIDES]


def _cosines(shape: tuple[int, int], down: int, right: int) -> tuple[Image, Image]:
    """Return cos(frequency * shift) of the cosine transform's frequencies along rows and columns."""
    rows, columns = (
        np.cos(np.pi * shift * np.arange(n) / n) for n, shift in zip(shape, (down, right), strict=True)
    )
    return rows[:, None], columns
