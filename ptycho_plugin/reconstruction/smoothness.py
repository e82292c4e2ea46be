"""A prior for the object: neighbouring pixels are alike.

Where photons are few the likelihood alone turns their noise into structure. Thibault and
Guizar-Sicairos, New J. Phys. 14, 063004 (2012), section 3.4, add to it

    w G,    G = sum over neighbouring pixels r, r' of |O_r - O_r'|^2.

Here w is the logarithm's own scale: it is what a Gaussian distribution of the differences contributes to
-log p where 1 / (2 w) is their mean square, as differences are that lie along one direction in the complex
plane, those of a weak phase. So it belongs to the sample alone, whatever the photons.
"""

from __future__ import annotations

from ptycho_plugin.reconstruction.estimate import inner
from ptycho_plugin.reconstruction.machine import Array

NEIGHBOURS = 4
"""Of a pixel: the curvature of G along it."""


def roughness_gradient(object_: Array) -> Array:
    """Return dG / d conj(O), ``(slice, row, column)``: what a pixel has more than its neighbours."""
    rows, columns = _differences(object_)
    gradient = object_ * 0
    gradient[..., 1:, :] += rows
    gradient[..., :-1, :] -= rows
    gradient[..., :, 1:] += columns
    gradient[..., :, :-1] -= columns
    return gradient


def roughness_expansion(object_: Array, step: Array) -> tuple[float, float]:
    """Return slope and curvature of G along a step of the object; they are exact."""
    pairs = list(zip(_differences(object_), _differences(step), strict=True))
    slope = sum(inner(difference, change) for difference, change in pairs)
    curvature = sum(inner(change, change) for _, change in pairs)
    return 2 * slope, 2 * curvature


def _differences(object_: Array) -> tuple[Array, Array]:
    """Return those along rows, and along columns."""
    return object_[..., 1:, :] - object_[..., :-1, :], object_[..., :, 1:] - object_[..., :, :-1]
