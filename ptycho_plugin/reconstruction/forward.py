"""The forward model that every engine shares: from object and probe to frames, and its adjoint.

A frame's probe P_j is the probe moved by the fraction of a pixel that its corner leaves. The sample is
one slice, or several with free space D between them (Maiden, Humphry and Rodenburg, JOSA A 29, 1606
(2012), section 2):

    psi_j1 = P_j O_1j,    psi_j(s+1) = D(psi_js) O_(s+1)j,    frame_j = |to the detector(psi_jS)|^2.

What enters a slice is to it what the probe is to the first one, so the primitives are the same.
"""

from __future__ import annotations

from typing import NamedTuple

from ptycho_plugin.geometry import Geometry
from ptycho_plugin.reconstruction.blocks import Block
from ptycho_plugin.reconstruction.estimate import Estimate
from ptycho_plugin.reconstruction.machine import Array, Machine
from ptycho_plugin.reconstruction.propagation import Propagation, through_space, to_detector


class Sums(NamedTuple):
    """What frames say of object and probe, added up: an adjoint, and its weights.

    Parameters
    ----------
    object : array, (slice, row, column), complex64
        Receives sum_j conj(incoming_j) waves_j.
    illumination : array, (slice, row, column), float32
        Receives sum_j |incoming_j|^2.
    probe : array, (2, mode, row, column), complex64
        Receives sum_j conj(O_j) waves_j: of frames on the pixel grid, and as the far field of those
        that are first moved back to it.
    transmission : array, (row, column), float32
        Receives sum_j |O_j|^2.
    """

    object: Array
    illumination: Array
    probe: Array
    transmission: Array


class ForwardModel:
    """How an estimate makes frames.

    Parameters
    ----------
    machine : Machine
    geometry : Geometry
    slice_distance : float
        From one slice to the next, in metres.

    Attributes
    ----------
    detector : Propagation
        From the sample to the detector.
    """

    def __init__(self, machine: Machine, geometry: Geometry, slice_distance: float = 0.0) -> None:
        self.machine = machine
        self.detector: Propagation = to_detector(geometry, machine)
        self._gap: Propagation = through_space(geometry, slice_distance, machine)

    def probe_far(self, estimate: Estimate) -> Array:
        """Return the probe's far field, ``(mode, row, column)``."""
        far = self.machine.waves(estimate.probe.shape)
        far[...] = estimate.probe
        return self.machine.fourier(far)

    def probes(self, block: Block, estimate: Estimate, far: Array, room: str = "probes") -> Array:
        """Return P_j, ``(frame or 1, mode, row, column)``: one for all frames on the pixel grid.

        Parameters
        ----------
        block : Block
        estimate : Estimate
        far : array, (mode, row, column), complex64
            The probe's far field.
        room : str
            Name of the room that holds the result.
        """
        if block.shifts is None:
            return estimate.probe[None, ...]
        probes = self.machine.room(room, (block.frames, *far.shape))
        self.machine.primitives.shift(far, block.shifts, probes)
        return self.machine.inverse_fourier(probes)

    def exit_waves(self, block: Block, probes: Array, object_: Array, out: Array) -> list[Array]:
        """Set ``out`` to the exit waves psi_jS; return what enters each slice: see `entering`."""
        incoming = self.entering(block, probes, object_)
        self.machine.primitives.exit_waves(incoming[-1], object_[-1, ...], block.corners, out)
        return incoming

    def entering(self, block: Block, probes: Array, object_: Array) -> list[Array]:
        """Return what enters each slice: P_j, and ``(frame, mode, row, column)`` for those behind."""
        incoming = [probes]
        for number in range(object_.shape[0] - 1):
            waves = self.machine.room(f"behind slice {number}", block.exit_waves.shape)
            self.machine.primitives.exit_waves(incoming[number], object_[number, ...], block.corners, waves)
            incoming.append(self._gap.forth(waves))
        return incoming

    def far_fields(self, block: Block, probes: Array, object_: Array, room: str) -> Array:
        """Return the waves on the detector, ``(frame, mode, row, column)``, in a room of that name."""
        waves = self.machine.room(room, block.exit_waves.shape)
        self.exit_waves(block, probes, object_, waves)
        return self.to_detector(block, waves)

    def to_detector(self, block: Block, waves: Array) -> Array:
        """Return exit waves ``(frame, mode, row, column)`` on the detector, in their place."""
        return self.detector.forth(waves, block.shifts)

    def to_sample(self, block: Block, far: Array) -> Array:
        """Return waves on the detector back behind the sample, in their place: the adjoint."""
        return self.detector.back(far, block.shifts)

    def change_of_exit_waves(
        self,
        block: Block,
        incoming: list[Array],
        probe_steps: Array,
        object_: Array,
        steps: Array,
        out: Array,
    ) -> None:
        """Set ``out`` to the change, to first order, of the exit waves with probes and object.

        Parameters
        ----------
        block : Block
        incoming : list of array
            What enters each slice: see `entering`.
        probe_steps : array, (frame or 1, mode, row, column), complex64
        object_, steps : array, (slice, row, column), complex64
            The object, and its change.
        out : array, (frame, mode, row, column), complex64
        """
        changes, last = probe_steps, object_.shape[0] - 1
        for number, entering in enumerate(incoming):
            waves = out if number == last else self.machine.room(f"change {number}", out.shape)
            self.machine.primitives.change_of_exit_waves(
                entering, changes, object_[number, ...], steps[number, ...], block.corners, waves
            )
            changes = waves if number == last else self._gap.forth(waves)

    def collect(self, block: Block, waves: Array, incoming: list[Array], object_: Array, sums: Sums) -> None:
        """Add up what waves behind the sample say of object and probe: the adjoint of `exit_waves`.

        Parameters
        ----------
        block : Block
        waves : array, (frame, mode, row, column), complex64
        incoming : list of array
            What enters each slice: see `entering`.
        object_ : array, (slice, row, column), complex64
        sums : Sums
        """
        for number in reversed(range(len(incoming))):
            total, light = sums.object[number, ...], sums.illumination[number, ...]
            self.machine.primitives.to_object(waves, incoming[number], block.corners, total, light)
            if number:
                waves = self._gap.back(self._times_slice(block, waves, object_[number, ...], number))
        self.add_to_probe(block, waves, object_[0, ...], sums.probe, sums.transmission)

    def add_to_probe(
        self, block: Block, waves: Array, slice_: Array, total: Array, transmission: Array
    ) -> None:
        """Add up what waves behind the first slice say of the probe: the adjoint of psi_j = P_j O_1j.

        Parameters
        ----------
        block : Block
        waves : array, (frame, mode, row, column), complex64
        slice_ : array, (row, column), complex64
        total, transmission : array
            As in `Sums`.
        """
        machine = self.machine
        if block.shifts is None:
            machine.primitives.to_probe(waves, slice_, block.corners, total[0, ...], transmission)
            return
        products = machine.room("products", waves.shape)
        machine.primitives.to_probes(waves, slice_, block.corners, products, transmission)
        machine.primitives.add_shifted_back(machine.fourier(products), block.shifts, total[1, ...])

    def summed_probe(self, total: Array) -> Array:
        """Return the probe, ``(mode, row, column)``, that `add_to_probe` has added up."""
        return total[0, ...] + self.machine.inverse_fourier(total[1, ...])

    def _times_slice(self, block: Block, waves: Array, slice_: Array, number: int) -> Array:
        """Return conj(O_j) waves_j, in a room of that slice's own."""
        products = self.machine.room(f"before slice {number}", waves.shape)
        unused = self.machine.xp.zeros(waves.shape[-2:], dtype=self.machine.xp.float32)
        self.machine.primitives.to_probes(waves, slice_, block.corners, products, unused)
        return products
