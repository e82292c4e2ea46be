"""What a reconstruction hands over."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ptycho_plugin.geometry import Geometry
from ptycho_plugin.reconstruction.map_verdict import MapVerdict
from ptycho_plugin.reconstruction.options import ReconstructionOptions


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a recipe stands after an iteration.

    Parameters
    ----------
    engine : str
        ``"difference map"``, ``"least squares"`` or ``"maximum likelihood"``.
    iteration, iterations : int
        Done, and to be done, of the whole recipe.
    frames : int
        Frames in use.
    error : float
        Of this iteration: see `Result.errors`.
    """

    engine: str
    iteration: int
    iterations: int
    frames: int
    error: float


@dataclass(frozen=True, slots=True, repr=False)
class Result:
    """An object, a probe, and how they were found; global phase and ramp removed.

    `ptycho_plugin.view.plots.figure_of_result` draws it.

    Parameters
    ----------
    slices : ndarray, (slice, row, column), complex64
        In the order of the beam, `ReconstructionOptions.slice_distance` apart; one where the sample
        is thin.
    probe : ndarray, (mode, row, column), complex64
        sum |probe|^2 is the photons of a frame.
    positions : ndarray, (frame, 2), float64
        ``(row, column)`` in metres, as used.
    positions_px : ndarray, (frame, 2), float64
        Top-left pixel, with its fraction, of each frame's patch in `object`, as used.
    positions_measured : ndarray, (frame, 2), float64
        ``(row, column)`` in metres, as given: the same unless they were refined.
    intensities : ndarray, (frame,), float64
        Of the beam, relative to their mean: 1 unless they were refined.
    background : float
        Counts that every pixel has besides the diffraction: 0 unless it was estimated.
    trusted : ndarray of bool, (row, column)
        Where the object was illuminated enough to be judged.
    errors : ndarray, (iteration,), float64
        Difference map: distance between its two constraint sets. Least squares and maximum likelihood: R.
    frames_used : ndarray, (iteration,), int64
        Of each iteration, in the order of `positions`: fewer while frames were still coming in.
    likelihood_from : int
        Index in `errors` of the first maximum-likelihood iteration.
    residual : float
        R = sqrt(sum (sqrt(I) - sqrt(n))^2 / sum n) of object and probe over measured pixels.
    geometry : Geometry
    options : ReconstructionOptions
    seconds : float
        Spent in the engines.
    device : str
        What computed it, and why that did.
    verdict : MapVerdict
        Whether the map can be believed, and what speaks against it.
    """

    slices: NDArray[np.complex64]
    probe: NDArray[np.complex64]
    positions: NDArray[np.float64]
    positions_px: NDArray[np.float64]
    positions_measured: NDArray[np.float64]
    intensities: NDArray[np.float64]
    background: float
    trusted: NDArray[np.bool_]
    errors: NDArray[np.float64]
    frames_used: NDArray[np.int64]
    likelihood_from: int
    residual: float
    geometry: Geometry
    options: ReconstructionOptions
    seconds: float
    device: str
    verdict: MapVerdict

    def __repr__(self) -> str:
        rows, columns = self.object.shape
        return (
            f"<Result of {len(self.positions)} frames, {len(self.errors)} iterations, R {self.residual:.4f}, "
            f"{rows} x {columns} pixels of {self.object_pixel * 1e9:.2f} nm>"
        )

    @property
    def object(self) -> NDArray[np.complex64]:
        """Transmission of the whole sample, ``(row, column)``: the product of its slices."""
        return np.prod(self.slices, axis=0)

    @property
    def mode_powers(self) -> NDArray[np.float64]:
        """Share of each probe mode, ``(mode,)``, in the photons of a frame."""
        powers = np.sum(np.abs(self.probe) ** 2, axis=(1, 2), dtype=np.float64)
        return np.asarray(powers / powers.sum())

    @property
    def at_tolerance(self) -> float:
        """Share of frames that would lie farther from where they were measured, if they were let.

        None of them is where refined positions can be believed. Many, with a low R or a high one, say
        that the orientation is wrong, or the tolerance too narrow.
        """
        return self.verdict.figures.at_tolerance

    @property
    def phase(self) -> NDArray[np.float32]:
        """Phase of the object in radians, negative where there is more matter."""
        return np.angle(self.object).astype(np.float32)

    @property
    def amplitude(self) -> NDArray[np.float32]:
        """Modulus of the object."""
        return np.abs(self.object)

    @property
    def object_pixel(self) -> float:
        """Side of an object pixel in metres."""
        return self.geometry.object_pixel
