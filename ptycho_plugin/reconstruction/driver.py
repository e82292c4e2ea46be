"""The recipe: difference map, then maximum likelihood, on frames that may still be coming in."""

from __future__ import annotations

import math
from collections.abc import Callable
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from ptycho_plugin.dataset import PtychoDataset
from ptycho_plugin.errors import InputError, ReconstructionError
from ptycho_plugin.geometry import Geometry
from ptycho_plugin.reconstruction.blocks import Block, expected_noise, make_blocks
from ptycho_plugin.reconstruction.difference_map import DifferenceMap
from ptycho_plugin.reconstruction.estimate import Estimate
from ptycho_plugin.reconstruction.field import Field
from ptycho_plugin.reconstruction.fourier import detector_order
from ptycho_plugin.reconstruction.frame_refinement import FrameRefinement
from ptycho_plugin.reconstruction.gauge import with_more_modes, with_orthogonal_modes, without_ramp
from ptycho_plugin.reconstruction.machine import Machine, Processor
from ptycho_plugin.reconstruction.maximum_likelihood import MaximumLikelihood, residual_of
from ptycho_plugin.reconstruction.options import ReconstructionOptions
from ptycho_plugin.reconstruction.result import Progress, Result
from ptycho_plugin.reconstruction.support import probe_support

Report = Callable[[Progress], None]

ITERATIONS_PER_REFINEMENT = 2
"""Object and probe settle between two refinements of the frames."""


class Reconstruction:
    """A reconstruction that takes in frames while it iterates.

    Parameters
    ----------
    geometry : Geometry
    probe : ndarray, (mode, row, column), complex64
        Start probe; its scale is free, since the frames' counts set the power.
    planned_positions : ndarray, (n, 2), float64
        Where frames are expected, ``(row, column)`` in metres and in their order: sizes the object
        once. Measured positions may have another zero: the first frames tell.
    options : ReconstructionOptions, optional
    machine : Machine, optional
        By default the processor.

    Examples
    --------
    >>> reconstruction = Reconstruction(geometry, probe, planned_positions)
    >>> reconstruction.add(intensities[:100], positions[:100])
    >>> reconstruction.iterate()
    >>> reconstruction.add(intensities[100:], positions[100:])
    >>> result = reconstruction.finish()
    """

    def __init__(
        self,
        geometry: Geometry,
        probe: NDArray[np.complex64],
        planned_positions: NDArray[np.float64],
        options: ReconstructionOptions | None = None,
        machine: Machine | None = None,
    ) -> None:
        self.geometry = geometry
        self._machine = machine or Processor()
        self.options = options or ReconstructionOptions()
        self._planned = planned_positions
        self._field = Field.around(planned_positions, geometry.object_pixel, geometry.frame_side)
        support = probe_support(probe, self.options.probe_support, geometry.object_pixel)
        self._support = self._machine.array(support)
        start = Estimate(
            self._machine.array(np.ones(self._field.shape, np.complex64)),
            self._machine.array(with_more_modes(support * probe, self.options.probe_modes)),
        )
        self._statistics = _MeanFrame(geometry.frame_side)
        self._map = DifferenceMap(
            start, self._machine, overlap_tolerance=self.options.overlap_tolerance, support=self._support
        )
        self._likelihood: MaximumLikelihood | None = None
        self._likelihood_from: int | None = None
        self._refinement: FrameRefinement | None = None
        self._blocks: list[Block] = []
        self._positions = np.zeros((0, 2))
        self._errors: list[float] = []
        self._seconds = 0.0

    @property
    def frames(self) -> int:
        """Frames taken in so far."""
        return len(self._positions)

    def add(self, intensities: NDArray[np.float32], positions: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Take in frames, except those outside the planned scan.

        Parameters
        ----------
        intensities : ndarray, (n, row, column), float32
            Counts, negative where not measured: `PtychoDataset.intensities`.
        positions : ndarray, (n, 2), float64
            ``(row, column)`` in metres.

        Returns
        -------
        ndarray of bool, (n,)
            Which frames were taken in.

        Raises
        ------
        ReconstructionError
            If the first frames hold no photon, or the maximum-likelihood part has begun.
        """
        self._refuse_when_done()
        began = perf_counter()
        if not self.frames:
            self._field = self._field.moved_to(positions, self._planned[: len(positions)])
        taken = self._field.covers(positions)
        intensities, positions = intensities[taken], positions[taken]
        if not len(positions):
            return taken
        if not (intensities > 0).any() and not self.frames:
            raise ReconstructionError("no pixel counted a photon; check the shutter and the mask")
        self._statistics.add(intensities)
        noise = expected_noise(self._statistics.mean)
        positions_px = self._field.to_px(positions)
        blocks = list(
            make_blocks(
                intensities,
                positions_px,
                noise,
                self.options.probe_modes,
                self._machine,
                movable=self.options.refines_frames,
            )
        )
        probe = self._machine.host(self._map.estimate.probe)
        self._map.add(blocks, power=self._statistics.photons(probe))
        self._blocks.extend(blocks)
        self._positions = np.concatenate([self._positions, positions])
        self._seconds += perf_counter() - began
        return taken

    def iterate(self) -> float:
        """Take one difference-map iteration on the frames there are; return its error.

        Raises
        ------
        ReconstructionError
            If it diverges, or the maximum-likelihood part has begun.
        """
        self._refuse_when_done()
        began = perf_counter()
        error = self._map.step(update_probe=len(self._errors) >= self.options.probe_update_starts)
        self._record(error, "difference map")
        self._seconds += perf_counter() - began
        return error

    def finish(self, report: Report | None = None) -> Result:
        """Run the whole recipe on all frames taken in, and return its result.

        Iterations made while frames were still coming in gave it a better start, no more.

        Raises
        ------
        ReconstructionError
            If there is no frame, or an engine diverges.
        """
        if not self.frames:
            raise ReconstructionError(
                "no frame lies in the planned scan; check the stage's unit and its zero"
            )
        for done in range(1, self.options.difference_map_iterations + 1):
            self._tell(report, "difference map", done, self.iterate())
        began = perf_counter()
        self._likelihood = MaximumLikelihood(
            self._map.estimate,
            self._blocks,
            self._machine,
            noise=self.options.noise,
            support=self._support,
        )
        self._likelihood_from = len(self._errors)
        for done in range(1, self.options.maximum_likelihood_iterations + 1):
            error = self._likelihood.step()
            self._record(error, "maximum likelihood")
            if self.options.refines_frames and done % ITERATIONS_PER_REFINEMENT == 0:
                self._refine_frames(self._likelihood)
            self._tell(report, "maximum likelihood", self.options.difference_map_iterations + done, error)
        self._seconds += perf_counter() - began
        return self.result()

    def _refine_frames(self, likelihood: MaximumLikelihood) -> None:
        if self._refinement is None:
            self._refinement = FrameRefinement(
                self._blocks,
                self._field.to_px(self._positions),
                tolerance_px=self.options.position_tolerance / self.geometry.object_pixel,
                intensities=self.options.refine_intensities,
                shape=self._field.shape,
                machine=self._machine,
            )
        self._refinement.step(likelihood.estimate, likelihood.model)

    def result(self) -> Result:
        """Return the state as it is, gauge removed."""
        estimate = self._map.estimate if self._likelihood is None else self._likelihood.estimate
        residual = residual_of(estimate, self._blocks, self._machine)
        estimate = Estimate(self._machine.host(estimate.object), self._machine.host(estimate.probe))
        measured_px = self._field.to_px(self._positions)
        refined = self._refinement
        positions_px = measured_px if refined is None else refined.positions_px
        trusted = self._field.trusted(estimate.probe, positions_px)
        estimate = with_orthogonal_modes(without_ramp(estimate, trusted))
        estimate = estimate.with_probe_power(self._statistics.photons(estimate.probe))
        return Result(
            object=estimate.object,
            probe=estimate.probe,
            positions=self._positions + (positions_px - measured_px) * self.geometry.object_pixel,
            positions_px=positions_px,
            positions_measured=self._positions,
            intensities=np.ones(self.frames) if refined is None else refined.intensities,
            trusted=trusted,
            errors=np.array(self._errors),
            likelihood_from=len(self._errors) if self._likelihood_from is None else self._likelihood_from,
            residual=residual,
            geometry=self.geometry,
            options=self.options,
            seconds=self._seconds,
            device=self._machine.describe(self.geometry.frame_side),
        )

    def _refuse_when_done(self) -> None:
        if self._likelihood is not None:
            raise ReconstructionError("the difference map has ended: start a new reconstruction")

    def _record(self, error: float, engine: str) -> None:
        if not math.isfinite(error):
            raise ReconstructionError(
                f"the {engine} diverged in iteration {len(self._errors) + 1} (error {error}); "
                "check the start probe, the mask and the positions"
            )
        self._errors.append(error)

    def _tell(self, report: Report | None, engine: str, done: int, error: float) -> None:
        if report is not None:
            report(Progress(engine, done, self.options.iterations, self.frames, error))


class _MeanFrame:
    """The mean of all frames so far, each pixel over the frames that measured it."""

    def __init__(self, side: int) -> None:
        self._counts = np.zeros((side, side))
        self._measurements = np.zeros((side, side))

    def add(self, intensities: NDArray[np.float32]) -> None:
        measured = intensities >= 0
        self._counts += np.sum(intensities, axis=0, where=measured, dtype=np.float64)
        self._measurements += measured.sum(axis=0)

    @property
    def mean(self) -> NDArray[np.float32]:
        return (self._counts / np.maximum(self._measurements, 1)).astype(np.float32)

    def photons(self, probe: NDArray[np.complex64]) -> float:
        """Return the photons of a frame, those expected on unmeasured pixels included."""
        far = np.sum(np.abs(np.fft.fft2(probe)) ** 2, axis=0)
        seen = detector_order(self._measurements.astype(np.float32)) > 0
        return float(self.mean.sum(dtype=np.float64) * far.sum() / far[seen].sum())


def reconstruct(
    dataset: PtychoDataset,
    options: ReconstructionOptions | None = None,
    report: Report | None = None,
) -> Result:
    """Reconstruct a whole scan.

    Parameters
    ----------
    dataset : PtychoDataset
        With a start probe.
    options : ReconstructionOptions, optional
    report : callable, optional
        Called with a `Progress` after each iteration.

    Raises
    ------
    InputError
        If the scan has no start probe.
    ReconstructionError
        If no pixel counted a photon, or an engine diverges.
    """
    if dataset.probe is None:
        raise InputError(
            f"{dataset.source}: there is no start probe; store one, or give the zone plate's parameters"
        )
    reconstruction = Reconstruction(dataset.geometry, dataset.probe, dataset.positions, options)
    reconstruction.add(dataset.intensities(), dataset.positions)
    return reconstruction.finish(report)
