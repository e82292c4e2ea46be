"""Free space behind the sample: the far field, the near field, and the gap between two slices.

Every propagation is linear and, up to its scale, unitary. To the detector, `forth` leaves waves at `side`
times the scale of those that keep the power, and `back` is its inverse for waves that the primitives have
divided by side^2, so that both fit the far field's bare transforms. Through a gap, `back` is the inverse.
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
    """From one plane to another, in the waves' place.

    ``shifts``, ``(frame, 2, side)`` complex64 or None, are `Block.shifts`: by these the waves were moved to
    the object's pixels, and on a detector that shows where they are, they must be moved back.
    """

    def forth(self, waves: Array, shifts: Array | None = None) -> Array:
        """Return waves ``(frame, mode, row, column)`` on the further plane."""

    def back(self, far: Array, shifts: Array | None = None) -> Array:
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

    def forth(self, waves: Array, shifts: Array | None = None) -> Array:  # noqa: ARG002  a far field's
        """Return the bare transforms: where a wave is, its far field does not show."""
        return self._machine.fourier(waves)

    def back(self, far: Array, shifts: Array | None = None) -> Array:  # noqa: ARG002  intensity is the same
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

    def forth(self, waves: Array, shifts: Array | None = None) -> Array:
        """Return the waves some way downstream."""
        return self._filtered(waves, self._forth, None if shifts is None else self._phases(shifts, -1))

    def back(self, far: Array, shifts: Array | None = None) -> Array:
        """Return the waves as far upstream."""
        return self._filtered(far, self._back, None if shifts is None else self._phases(shifts, +1))

    def frame_order(self, frames: NDArray[Any]) -> NDArray[Any]:
        """Return frames as they are: each of their pixels is one of the object's."""
        return frames

    def _filtered(self, waves: Array, factors: Array, phases: Array | None) -> Array:
        self._machine.primitives.multiply(self._machine.fourier(waves), factors)
        if phases is not None:
            self._machine.primitives.multiply_separable(waves, phases)
        return self._machine.inverse_fourier(waves)

    def _phases(self, shifts: Array, sign: int) -> Array:
        """Return the shifts' phases, or their conjugates: a beam that is stronger is not farther away."""
        xp = self._machine.xp
        phases = shifts / xp.abs(shifts)
        return phases if sign > 0 else xp.conj(phases)


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
