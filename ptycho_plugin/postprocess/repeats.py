"""Repeated maps of one region, brought onto the first, with the dose that each was taken at."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from ptycho_plugin.errors import InputError
from ptycho_plugin.postprocess.registration import align, distinctness, inner, without_plane

DARK = 1e-3
"""Of the beam's brightest detector pixel: what is dimmer lies beyond the beam."""


@dataclass(frozen=True, slots=True)
class HighAngleSignal:
    """What a sample scatters beyond the direct beam, for one photon on the sample.

    Parameters
    ----------
    value, sigma : float
        With the standard uncertainty that counting leaves.
    """

    value: float
    sigma: float


@dataclass(frozen=True, slots=True)
class Repeat:
    """One map of a region.

    Parameters
    ----------
    transmission : ndarray, (row, column), complex
        The same window of the region in every repeat, to a few pixels: `window_about`.
    dose_before, dose_after : float
        Accumulated dose of the region in Gy when the repeat began and when it ended.
    high_angle : HighAngleSignal, optional

    Raises
    ------
    InputError
        If the dose did not grow.
    """

    transmission: NDArray[np.complexfloating]
    dose_before: float
    dose_after: float
    high_angle: HighAngleSignal | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.dose_before < self.dose_after < np.inf:
            raise InputError(
                f"a repeat from {self.dose_before:g} to {self.dose_after:g} Gy cannot be: "
                "give the accumulated dose before and after it, from the ledger"
            )


class RepeatSeries:
    """The repeats of one region, in the order of their dose.

    Parameters
    ----------
    repeats : iterable of Repeat
    """

    def __init__(self, repeats: Iterable[Repeat] = ()) -> None:
        self.repeats: list[Repeat] = []
        self._registered: list[NDArray[np.complex128]] = []
        for repeat in repeats:
            self.add(repeat)

    def __len__(self) -> int:
        return len(self.repeats)

    def add(self, repeat: Repeat) -> None:
        """Take in the next repeat, and bring its map onto the first one's.

        Raises
        ------
        InputError
            If its map is not as large as the first, or some of its dose is that of the one before.
        """
        if self.repeats and repeat.dose_before < self.repeats[-1].dose_after:
            raise InputError(
                f"a repeat from {repeat.dose_before:g} Gy follows one to {self.repeats[-1].dose_after:g} Gy: "
                "add repeats in the order of their dose"
            )
        first = self.repeats[0] if self.repeats else repeat
        self._registered.append(align(repeat.transmission, first.transmission).image)
        self.repeats.append(repeat)

    @property
    def registered(self) -> NDArray[np.complex128]:
        """Transmissions (repeat, row, column), registered, without the border that shifts may spoil."""
        return inner(np.stack(self._registered))

    def distinctness(self, index: int) -> float:
        """Return how far a repeat stands out of noise beside the first.

        See `ptycho_plugin.postprocess.registration.distinctness`.
        """
        return distinctness(self._registered[index], self._registered[0])

    @property
    def phases(self) -> NDArray[np.float64]:
        """Phases (repeat, row, column) in rad, without mean and ramp."""
        return np.stack([without_plane(np.angle(image)) for image in self.registered])

    @property
    def dose(self) -> NDArray[np.float64]:
        """Mean accumulated dose of each repeat's exposures (repeat,), in Gy."""
        return np.array([(repeat.dose_before + repeat.dose_after) / 2 for repeat in self.repeats])

    @property
    def dose_taken(self) -> NDArray[np.float64]:
        """Dose that each repeat itself took (repeat,), in Gy: its photons, in another unit."""
        return np.array([repeat.dose_after - repeat.dose_before for repeat in self.repeats])

    def pairs(self) -> Iterable[tuple[NDArray[np.float64], NDArray[np.float64]]]:
        """Return the phases of every two repeats."""
        return combinations(self.phases, 2)


def window_about(
    image: NDArray[np.complexfloating],
    positions_px: NDArray[np.float64],
    offsets_px: NDArray[np.float64],
    frame_side: int,
    half: int,
) -> NDArray[np.complexfloating]:
    """Return the square about a place that repeats have in common, to a pixel.

    Parameters
    ----------
    image : ndarray, (row, column), complex
        A reconstructed object.
    positions_px : ndarray, (frame, 2), float64
        Top-left pixel of each frame's patch in it.
    offsets_px : ndarray, (frame, 2), float64
        Where each frame's probe stood, from the place, in object pixels.
    frame_side : int
    half : int
        Half of the square's side, in pixels.

    Returns
    -------
    ndarray, (2 half, 2 half), complex

    Raises
    ------
    InputError
        If the object does not reach so far.
    """
    (row, column), side = fitting_window(image.shape, positions_px, offsets_px, frame_side, half)
    if side < 2 * half:
        raise InputError(
            f"an object of {image.shape[0]} x {image.shape[1]} px holds {side} px about the place, and not "
            f"{2 * half}: take a smaller window"
        )
    return image[row : row + side, column : column + side]


def fitting_window(
    shape: tuple[int, ...],
    positions_px: NDArray[np.float64],
    offsets_px: NDArray[np.float64],
    frame_side: int,
    half: int,
) -> tuple[tuple[int, int], int]:
    """Return first pixel (row, column) and side of a square about a place, as large as an object has it.

    Parameters
    ----------
    shape : (int, int)
        Of the object.
    positions_px, offsets_px, frame_side, half
        As for `window_about`.
    """
    place = np.rint(np.mean(positions_px - offsets_px, axis=0)).astype(int) + frame_side // 2
    fitting = min(half, *place.tolist(), *(np.array(shape) - place).tolist())
    row, column = place - fitting
    return (int(row), int(column)), 2 * fitting


def beyond_beam(probe: NDArray[np.complexfloating]) -> NDArray[np.bool_]:
    """Return the detector's pixels (row, column) that are dark without a sample, by the probe's far field.

    Parameters
    ----------
    probe : ndarray, (mode, row, column), complex
    """
    beam = np.sum(np.abs(np.fft.fftshift(np.fft.fft2(probe), axes=(-2, -1))) ** 2, axis=0)
    return np.asarray(beam < DARK * beam.max())


def high_angle_signal(
    frames: NDArray[np.integer], measured: NDArray[np.bool_], beyond: NDArray[np.bool_], photons: float
) -> HighAngleSignal:
    """Return the counts beyond the beam over the photons on the sample, by the monitor.

    For a weak object it goes with the square of the contrast. Turned rings have other positions, and
    with them another part of the sample at the scan's border.

    Parameters
    ----------
    frames : ndarray, (frame, row, column)
        Counts.
    measured : ndarray of bool, (row, column) or (frame, row, column)
        A scan's mask.
    beyond : ndarray of bool, (row, column)
        From `beyond_beam`.
    photons : float
        On the sample in all frames, whatever their unit.

    Raises
    ------
    InputError
        If there are no photons, or no measured pixel lies beyond the beam.
    """
    if not 0 < photons < np.inf:
        raise InputError(f"counts cannot be normalised by {photons} photons: give what the monitor says")
    looked_at = np.broadcast_to(measured & beyond, frames.shape)
    if not looked_at.any():
        raise InputError("no measured pixel lies beyond the beam: take larger frames")
    counts = float(np.sum(frames, where=looked_at, dtype=np.float64))
    return HighAngleSignal(counts / photons, float(np.sqrt(max(counts, 1.0))) / photons)
