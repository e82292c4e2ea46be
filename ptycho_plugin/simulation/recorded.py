"""A recorded scan as a world: the one behind the replayed beamline."""

from __future__ import annotations

from itertools import cycle

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from ptycho_plugin.dataset import PtychoDataset
from ptycho_plugin.errors import InputError
from ptycho_plugin.geometry import M_PER_UM, is_same_energy
from ptycho_plugin.simulation import pilatus
from ptycho_plugin.simulation.controls import Controls, Exposure, check_exposure
from ptycho_plugin.trajectory import typical_step

REPLAYED_EXPOSURE_S = 0.2
"""The exposure that a recorded frame stands for, where nothing says how long it took."""


class RecordedWorld(Controls):
    """A recorded scan as a world: the nearest recorded place wins.

    What was recorded more than once at a place is replayed in its order, then from the start.

    Parameters
    ----------
    dataset : PtychoDataset

    Raises
    ------
    InputError
        If a count is not a whole number that a camera could deliver.
    """

    def __init__(self, dataset: PtychoDataset) -> None:
        super().__init__()
        self.geometry = dataset.geometry
        self._frames = _camera_counts(dataset)
        self.positions_um: NDArray[np.float64] = dataset.positions / M_PER_UM
        """Stage positions (frame, 2) at which there is something to replay."""
        places, place_of_frame, visits = np.unique(
            self.positions_um, axis=0, return_inverse=True, return_counts=True
        )
        self._tree = cKDTree(places)
        by_place = np.split(np.argsort(place_of_frame, kind="stable"), np.cumsum(visits)[:-1])
        self._next_frame = [cycle(frames.tolist()) for frames in by_place]
        self._tolerance_um = typical_step(places) / 2 or dataset.geometry.object_pixel / M_PER_UM
        self.detector_shape: tuple[int, int] = self._frames.shape[1:]
        centre = dataset.geometry.frame_side // 2
        self.beam_centre_px = (centre, centre)
        counts = float(np.sum(dataset.frames, where=dataset.mask, dtype=np.float64))
        self.photons_per_second = counts / len(dataset) / REPLAYED_EXPOSURE_S
        self._photons_on_sample = 0.0

    @property
    def photons_on_sample(self) -> float:
        """Photons that have come onto the sample so far, where the detector had recorded every one."""
        return self._photons_on_sample

    def set_transmission(self, value: float) -> None:
        """Accept full transmission, the only one that was recorded."""
        if value != 1:
            raise InputError(f"a recorded scan cannot be attenuated to {value}: set the transmission to 1")

    def expose(self, exposure_s: float) -> Exposure:
        """Return a frame recorded nearest to where the stages stand, or zeros behind a closed shutter.

        Parameters
        ----------
        exposure_s : float
            Checked, and otherwise without effect.

        Raises
        ------
        InputError
            If nothing was recorded within half a step of here.
        """
        with self._lock:
            return self.expose_along(self._pair("stage")[None], exposure_s, float(self._open))

    def expose_along(self, path_um: NDArray[np.float64], exposure_s: float, beam: float) -> Exposure:
        """Return a frame recorded nearest to the middle of a path, or zeros without a beam.

        Parameters
        ----------
        path_um : ndarray, (place, 2)
            Stage positions (row, column) in micrometres.
        exposure_s, beam : float
            Their photons reach the sample at the rate of the recording; the frame is as it was recorded.

        Raises
        ------
        InputError
            If nothing was recorded within half a step of there.
        """
        check_exposure(exposure_s)
        with self._lock:
            coarse = self._pair("coarse")
            index = self._frame_at(coarse + path_um.mean(axis=0))
            self._photons_on_sample += self.photons_per_second * exposure_s * beam
        row, column = self.positions_um[index] - coarse
        frame = self._frames[index].copy() if beam > 0 else np.minimum(self._frames[index], 0)
        return Exposure(frame, (float(row), float(column)), float(frame[frame > 0].sum()))

    def shine(self, stage_um: tuple[float, float], seconds: float, beam: float) -> None:  # noqa: ARG002
        """Bring light onto the sample that no detector counts, wherever the stage is."""
        with self._lock:
            self._photons_on_sample += self.photons_per_second * seconds * beam

    def set_source(self, fwhm_nm: tuple[float, float]) -> None:
        """Accept any width of the source: a recording stays as coherent as it was."""

    def set_optics(self, energy_eV: float, defocus: float) -> None:  # noqa: ARG002
        """Accept the recording's energy alone; what it was recorded behind stays as it was.

        Raises
        ------
        InputError
            If the energy is another.
        """
        if not is_same_energy(energy_eV, self.geometry.energy_eV):
            raise InputError(
                f"a scan that was recorded at {self.geometry.energy_eV:.1f} eV cannot be replayed at "
                f"{energy_eV:.1f} eV: go back to its energy"
            )

    def _frame_at(self, here: NDArray[np.float64]) -> int:
        """Return the next frame of the nearest place, in micrometres."""
        distance, place = self._tree.query(here)
        if distance > self._tolerance_um:
            raise InputError(
                f"nothing was recorded at ({here[0]:.3f}, {here[1]:.3f}) um: the nearest frame is "
                f"{distance:.3f} um away, the limit {self._tolerance_um:.3f} um; go to recorded positions"
            )
        return next(self._next_frame[place])


def _camera_counts(dataset: PtychoDataset) -> NDArray[np.int32]:
    valid = np.broadcast_to(dataset.mask, dataset.frames.shape)
    measured = dataset.frames[valid]
    if np.any(measured != np.rint(measured)) or measured.max() > np.iinfo(np.int32).max:
        raise InputError(
            f"{dataset.source}: its counts are not whole numbers of photons, so no camera can replay them"
        )
    return np.where(valid, dataset.frames, pilatus.GAP).astype(np.int32)
