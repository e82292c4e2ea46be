"""From what a run recorded to what an engine takes: one path, live and years later."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ptycho_plugin.dataset import PtychoDataset
from ptycho_plugin.geometry import M_PER_UM
from ptycho_plugin.io.checks import mask_marks
from ptycho_plugin.metadata import ScanMetadata
from ptycho_plugin.orientation import crop_window
from ptycho_plugin.postprocess.registration import MARGIN_PX

WELL_LIT = 0.75
"""Part of a scan's shorter side that is looked at: beyond, the illumination is thin."""


class Measurement:
    """How one run's raw frames and stage readings become a `PtychoDataset`.

    Parameters
    ----------
    metadata : ScanMetadata
    detector_shape : (int, int)
        Rows and columns of a full raw frame.
    valid : ndarray of bool, (row, column), optional
        Of the full raw frame, True where a pixel can be trusted.
    source : str
        Named in errors and in the result's provenance.

    Raises
    ------
    InputError
        If the crop leaves the detector.
    """

    def __init__(
        self,
        metadata: ScanMetadata,
        detector_shape: tuple[int, ...],
        valid: NDArray[np.bool_] | None = None,
        source: str = "run",
    ) -> None:
        self._metadata = metadata
        self._source = source
        side = metadata.geometry.frame_side
        self.window = crop_window(metadata.beam_centre_px, side, detector_shape, metadata.orientation)
        """Rows and columns of a raw frame to read; nothing else of it is needed."""
        self._valid = np.ones((side, side), bool) if valid is None else valid[self.window]

    def dataset(self, raw: NDArray[Any], stage_um: ArrayLike) -> PtychoDataset:
        """Return frames in scattering orientation where the probe was.

        Parameters
        ----------
        raw : ndarray, (frame, side, side)
            The `window` of raw frames, with the detector's marks in it.
        stage_um : array, (frame, 2)
            Measured stage positions ``(row, column)`` in micrometres.

        Raises
        ------
        InputError
            If a position is not a number, a count is negative and no mark, or no pixel is valid.
        """
        frames = self._metadata.orientation.to_scattering(raw)
        mask, remarks = mask_marks(
            self._source, frames, self._metadata.orientation.to_scattering(self._valid)
        )
        return PtychoDataset(
            frames=frames,
            positions=_probe_positions(self._metadata, stage_um),
            mask=mask,
            geometry=self._metadata.geometry,
            source=self._source,
            remarks=remarks,
        )


def planned_positions(metadata: ScanMetadata) -> NDArray[np.float64]:
    """Return where the probe should go, ``(point, 2)`` in metres on the object."""
    return _probe_positions(metadata, metadata.trajectory.offsets_um() + np.array(metadata.centre_um))


def planned_centre(metadata: ScanMetadata) -> NDArray[np.float64]:
    """Return where the trajectory's centre is, ``(2,)`` in metres on the object."""
    return _probe_positions(metadata, metadata.centre_um)


def window_half_px(positions: NDArray[np.float64], pixel: float) -> int:
    """Return half the side, in object pixels, of the window about its centre that is looked at of a scan.

    Parameters
    ----------
    positions : ndarray, (frame, 2), float64
        Planned positions of the probe in metres.
    pixel : float
        In metres.
    """
    return round(WELL_LIT * float(np.ptp(positions, axis=0).min()) / pixel / 2) + MARGIN_PX


def _probe_positions(metadata: ScanMetadata, stage_um: ArrayLike) -> NDArray[np.float64]:
    return metadata.position_sign.to_probe_positions(stage_um) * M_PER_UM
