"""Free space behind the sample: the far field, the near field, and the gap between two slices.

Every propagation is linear and, up to its scale, unitary. `forth` leaves waves on the detector at `side`
times the scale of those that keep the power; `back` is the inverse for waves that the primitives have
divided by side^2, so that both fit the far field's bare transforms.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ptycho_plugin.geometry import Geometry
from ptycho_plugin.optics import fresnel_factors
from ptycho_plugin.reconstruction.fourier import detector_order
from ptycho_plugin.reconstruction.machine import Array, Machine


class Propagation(Protocol):
    """From one plane to another, in the waves' place."""

    def forth(self, waves: Array) -> Array:
        """Return waves ``(..., row, column)`` on the further plane."""

    def back(self, far: Array) -> Array:
        """Return waves of the further plane on the nearer one."""

    def frame_order(self, frames: NDArray[Any]) -> NDArray[Any]:
        """Return frames ``(..., row, column)`` in the order that waves on the detector have."""


class FarField:
    """Fraunhofer diffraction: a transform.

    Parameters
    ----------
    machine : Machine
    """

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    def forth(self, waves: Array) -> Array:
        """Return the bare transforms."""
        return self._machine.fourier(waves)

    def back(self, far: Array) -> Array:
        """Return the bare inverse transforms."""
        return self._machine.inverse_fourier(far)

    def frame_order(self, frames: NDArray[Any]) -> NDArray[Any]:
        """Return frames, whose direct beam is in the middle, in the transform's order."""
        return detector_order(frames)


class NearField:
    """Fresnel diffraction over a distance: a product between two transforms.

    Parameters
    ----------
    machine : Machine
    factors : ndarray, (side, side), complex64
        Of the waves' transform: see `fresnel_factors`.
    scale : float
        What `forth` and `back` multiply with each, besides what keeps the power.
    """

    def __init__(self, machine: Machine, factors: NDArray[np.complex64], scale: float = 1.0) -> None:
        self._machine = machine
        bare = scale / factors.shape[-1] ** 2
        self._forth = machine.array((bare * factors).astype(np.complex64))
        self._back = machine.array((bare * factors.conj()).astype(np.complex64))

    def forth(self, waves: Array) -> Array:
        """Return the waves some way downstream."""
        return self._filtered(waves, self._forth)

    def back(self, far: Array) -> Array:
        """Return the waves as far upstream."""
        return self._filtered(far, self._back)

    def frame_order(self, frames: NDArray[Any]) -> NDArray[Any]:
        """Return frames as they are: each of their pixels is one of the object's."""
        return frames

    def _filtered(self, waves: Array, factors: Array) -> Array:
        self._machine.primitives.multiply(self._machine.fourier(waves), factors)
        return self._machine.inverse_fourier(waves)


def to_detector(geometry: Geometry, machine: Machine) -> Propagation:
    """Return the propagation from the sample to the detector."""
    if geometry.focus_to_sample is None:
        return FarField(machine)
    return NearField(machine, _factors(geometry, geometry.effective_distance), scale=geometry.frame_side)


def through_space(geometry: Geometry, distance: float, machine: Machine) -> Propagation:
    """Return the propagation, which keeps the power, over a distance in metres behind the sample."""
    return NearField(machine, _factors(geometry, distance))


def _factors(geometry: Geometry, distance: float) -> NDArray[np.complex64]:
    return fresnel_factors(geometry.frame_side, geometry.object_pixel, geometry.wavelength, distance)
