"""The difference map of Thibault et al., Ultramicroscopy 109, 338 (2009).

The exit waves psi_j are the iterate. Two sets are known: waves that agree with the measured
amplitudes (projection Pi_F), and waves that factor into one probe and one object (projection
Pi_O). One iteration with beta = 1 (their equation 9) is

    psi <- psi + Pi_F(2 Pi_O(psi) - psi) - Pi_O(psi).

Photon noise sets the two sets apart. Without more, the iterate then runs off along the gap, a
little farther with every iteration, and takes object and probe with it. So Pi_F asks only for
agreement within the noise: see `noise_power`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ptycho_plugin.reconstruction import kernels
from ptycho_plugin.reconstruction.blocks import Block
from ptycho_plugin.reconstruction.estimate import Estimate, add_probes, in_order, probes_of, room_for
from ptycho_plugin.reconstruction.fourier import to_detector, to_sample
from ptycho_plugin.reconstruction.parallel import for_each_share

FLOOR = 1e-3
"""Share of the largest illumination that regularises a division by the illumination."""

DARK = np.float32(1e-6)
"""Amplitude below which a wave has no phase to keep, and stays dark."""


class DifferenceMap:
    """The difference map on the frames that were added so far.

    Parameters
    ----------
    start : Estimate
    """

    def __init__(self, start: Estimate) -> None:
        self.estimate = start
        self._power = 0.0
        self._blocks: list[Block] = []
        self._waves = np.zeros_like(start.object)
        self._illumination = np.zeros(start.object.shape, np.float32)

    def add(self, blocks: Sequence[Block], *, power: float) -> None:
        """Take in blocks; their exit waves start from the estimate.

        Parameters
        ----------
        blocks : sequence of Block
        power : float
            sum |probe|^2 to hold from here on, the photons of a frame.
        """
        self._set_power(power)
        probe_far = to_detector(self.estimate.probe.copy())

        def enter(share: Sequence[Block]) -> tuple[NDArray[np.complex64], NDArray[np.float32]]:
            waves, illumination = np.zeros_like(self._waves), np.zeros_like(self._illumination)
            room = room_for(self.estimate.probe)
            for block in share:
                probes = probes_of(block, probe_far, room)
                kernels.exit_waves(probes, self.estimate.object, block.corners, block.exit_waves)
                kernels.add_overlap(block.exit_waves, probes, block.corners, waves, illumination)
            return waves, illumination

        waves, illumination = in_order(for_each_share(enter, blocks))
        self._waves += waves
        self._illumination += illumination
        self._blocks.extend(blocks)

    def step(self, *, update_probe: bool) -> float:
        """Take one iteration.

        Returns
        -------
        float
            ||Pi_F(2 Pi_O psi - psi) - Pi_O psi|| / ||measured amplitudes||: how far the two sets
            still are from one another.
        """
        object_ = self._nearest_object()
        probe = self._nearest_probe(object_) if update_probe else self.estimate.probe
        self.estimate = Estimate(object_, probe).with_probe_power(self._power)
        return self._reflect()

    def _set_power(self, power: float) -> None:
        """Rescale probe and exit waves: the object's scale stays."""
        factor = np.float32(np.sqrt(power / self.estimate.probe_power))
        for block in self._blocks:
            np.multiply(block.exit_waves, factor, out=block.exit_waves)
        self._waves *= factor**2
        self._illumination *= factor**2
        self.estimate = replace(self.estimate, probe=self.estimate.probe * factor)
        self._power = power

    def _nearest_object(self) -> NDArray[np.complex64]:
        """Return O = sum_j conj(P_j) psi_j / sum_j |P_j|^2 (equation 6); unseen parts stay as they are."""
        floor = np.float32(FLOOR * self._illumination.max())
        return (self._waves + floor * self.estimate.object) / (self._illumination + floor)

    def _nearest_probe(self, object_: NDArray[np.complex64]) -> NDArray[np.complex64]:
        """Return P = sum_j conj(O_j) psi_j / sum_j |O_j|^2 (equation 7), moved back to one pixel grid."""

        def project(share: Sequence[Block]) -> tuple[NDArray[np.complex64], NDArray[np.float32]]:
            far = np.zeros_like(self.estimate.probe)
            transmission = np.zeros(far.shape[-2:], np.float32)
            room = room_for(far)
            for block in share:
                add_probes(block, block.exit_waves, object_, far, transmission, room)
            return far, transmission

        far, transmission = in_order(for_each_share(project, self._blocks))
        return to_sample(far) / np.maximum(transmission, np.float32(FLOOR * transmission.max()))

    def _reflect(self) -> float:
        """Move the exit waves, and collect the overlap sums of the next iteration on the way."""
        probe_far = to_detector(self.estimate.probe.copy())

        def move(share: Sequence[Block]) -> tuple[NDArray[np.complex64], NDArray[np.float32], float, float]:
            waves, illumination = np.zeros_like(self._waves), np.zeros_like(self._illumination)
            distance = power = 0.0
            probes_room, reflected_room = room_for(self.estimate.probe), room_for(self.estimate.probe)
            for block in share:
                probes = probes_of(block, probe_far, probes_room)
                overlap = probes, self.estimate.object, block.corners
                reflected = reflected_room[: block.frames]
                kernels.reflect(*overlap, block.exit_waves, reflected)
                nearest = to_sample(nearest_measured(to_detector(reflected), block))
                distance += kernels.advance(block.exit_waves, nearest, *overlap, waves, illumination)
                power += block.power
            return waves, illumination, distance, power

        self._waves, self._illumination, distance, power = in_order(for_each_share(move, self._blocks))
        return float(np.sqrt(distance / power))


def nearest_measured(far: NDArray[np.complex64], block: Block) -> NDArray[np.complex64]:
    """Return the far fields, overwritten, moved to agree with the measurement: Pi_F.

    The amplitudes' squared distance to the measured ones shrinks to `Block.noise_power`, the
    distance that photon noise alone explains, and no further (the power bound of Giewekemeyer et
    al., PNAS 107, 529 (2010), supplement). Pixels without a measurement stay as they are.

    Parameters
    ----------
    far : ndarray, (frame, mode, row, column), complex64
    block : Block
    """
    kernels.nearest_measured(far, block.amplitudes, block.measured, block.noise_power, DARK)
    return far
