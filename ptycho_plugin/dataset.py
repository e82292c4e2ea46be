"""One ptychographic scan in memory, checked once, at the border."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ptycho_plugin.errors import InputError
from ptycho_plugin.geometry import Geometry

COUNTER_LIMIT = 2**20 - 1
"""Largest count of a Pilatus pixel, 20 bits deep: the value of bad and of saturated pixels."""

NOT_MEASURED = -1.0
"""Value of a pixel without a measurement in `PtychoDataset.intensities`."""


@dataclass(frozen=True, slots=True, repr=False)
class PtychoDataset:
    """Frames, where they were taken, and what is known of beam and detector.

    Parameters
    ----------
    frames : ndarray, (frame, row, column)
        Photon counts in scattering orientation, direct beam at ``[side//2, side//2]``.
    positions : ndarray, (frame, 2), float64
        Probe-on-object positions ``(row, column)`` in metres.
    mask : ndarray of bool, (row, column) or (frame, row, column)
        True where a count is a measurement.
    geometry : Geometry
    probe : ndarray, (mode, row, column), complex64, optional
        Start probe; its scale is free.
    source : str
        Where the data came from, for provenance.
    remarks : tuple of str
        What the reader noticed and a user should hear of.

    Raises
    ------
    InputError
        If shapes disagree, or a position or a valid count is not a finite number.
    """

    frames: NDArray[Any]
    positions: NDArray[np.float64]
    mask: NDArray[np.bool_]
    geometry: Geometry
    probe: NDArray[np.complex64] | None = None
    source: str = "memory"
    remarks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check_shapes(self)
        _check_values(self)

    @classmethod
    def joined(cls, repeats: Sequence[PtychoDataset]) -> PtychoDataset:
        """Return all frames of some repeats of a region as one scan, with the first one's probe.

        Reconstructed, it is one object that all photons tell of.

        Parameters
        ----------
        repeats : sequence of PtychoDataset
            Of one geometry and one mask, unless each frame has its own; positions in one frame.

        Raises
        ------
        InputError
            If there is none, or geometries or masks differ.
        """
        if not repeats:
            raise InputError("there is no scan to join: give at least one")
        first = repeats[0]
        for scan in repeats:
            _check_same_measurement(scan, first)
        masks = [scan.mask for scan in repeats]
        return replace(
            first,
            frames=np.concatenate([scan.frames for scan in repeats]),
            positions=np.concatenate([scan.positions for scan in repeats]),
            mask=first.mask if first.mask.ndim == 2 else np.concatenate(masks),
            source=" + ".join(scan.source for scan in repeats),
            remarks=tuple(dict.fromkeys(remark for scan in repeats for remark in scan.remarks)),
        )

    def __len__(self) -> int:
        return len(self.frames)

    def __repr__(self) -> str:
        side, probe = self.geometry.frame_side, "with" if self.probe is not None else "without"
        return (
            f"<PtychoDataset from {self.source}, {len(self)} frames of {side} x {side}, "
            f"{self.geometry.energy_eV:.0f} eV, {probe} start probe>"
        )

    def intensities(self) -> NDArray[np.float32]:
        """Return the counts as float32, `NOT_MEASURED` where the mask says so."""
        measured = self.frames.astype(np.float32)
        np.copyto(measured, np.float32(NOT_MEASURED), where=~np.broadcast_to(self.mask, measured.shape))
        return measured

    def mean_frame(self) -> NDArray[np.float64]:
        """Return the mean counts ``(row, column)``, those of all pixels where no frame has a measurement."""
        measured = np.broadcast_to(self.mask, self.frames.shape)
        total, times = np.sum(self.frames, axis=0, where=measured, dtype=np.float64), measured.sum(axis=0)
        return np.where(times > 0, total / np.maximum(times, 1), total.sum() / times.sum())

    def with_probe(self, probe: NDArray[np.complex64]) -> PtychoDataset:
        """Return the same scan with another start probe."""
        return replace(self, probe=probe)


def _check_same_measurement(scan: PtychoDataset, first: PtychoDataset) -> None:
    if scan.geometry != first.geometry:
        raise InputError(
            f"{scan.source}: its geometry ({scan.geometry}) is not that of {first.source} "
            f"({first.geometry}): join repeats of one measurement only"
        )
    per_frame = (scan.mask.ndim, first.mask.ndim) == (3, 3)
    if not (per_frame or np.array_equal(scan.mask, first.mask)):
        raise InputError(
            f"{scan.source}: its mask is not that of {first.source}: read both with the same mask, "
            "or give every frame its own"
        )


def _check_shapes(scan: PtychoDataset) -> None:
    side = scan.geometry.frame_side
    if scan.frames.ndim != 3 or scan.frames.shape[1:] != (side, side):
        raise InputError(
            f"{scan.source}: frames have shape {scan.frames.shape}, expected (frame, {side}, {side})"
        )
    if len(scan.frames) == 0:
        raise InputError(f"{scan.source}: there is no frame in it")
    if scan.positions.shape != (len(scan.frames), 2):
        raise InputError(
            f"{scan.source}: {len(scan.frames)} frames but positions of shape {scan.positions.shape}; "
            "give one (row, column) for each frame"
        )
    if scan.mask.shape not in ((side, side), scan.frames.shape):
        raise InputError(
            f"{scan.source}: mask has shape {scan.mask.shape}, expected {(side, side)} or {scan.frames.shape}"
        )
    if scan.probe is not None and (scan.probe.ndim != 3 or scan.probe.shape[1:] != (side, side)):
        raise InputError(
            f"{scan.source}: probe has shape {scan.probe.shape}, expected (mode, {side}, {side})"
        )


def _check_values(scan: PtychoDataset) -> None:
    if not np.isfinite(scan.positions).all():
        frame = int(np.argmin(np.isfinite(scan.positions).all(axis=1)))
        raise InputError(f"{scan.source}: the position of frame {frame} is not a finite number")
    valid = np.broadcast_to(scan.mask, scan.frames.shape)
    bad = valid & ~(np.isfinite(scan.frames) & (scan.frames >= 0))
    if bad.any():
        frame, row, column = (int(i) for i in np.unravel_index(int(bad.argmax()), bad.shape))
        raise InputError(
            f"{scan.source}: pixel ({row}, {column}) of frame {frame} counts "
            f"{scan.frames[frame, row, column]}; a count must be a finite number >= 0, "
            "or the mask must exclude it"
        )
    if not valid.any():
        raise InputError(f"{scan.source}: the mask excludes every pixel")
    if scan.probe is not None and not (np.isfinite(scan.probe).all() and np.any(scan.probe)):
        raise InputError(f"{scan.source}: the start probe is empty or holds a value that is not finite")
