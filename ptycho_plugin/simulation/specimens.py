"""What is on the simulated sample holder, and where."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ptycho_plugin.simulation.octapods import OctapodFilm
from ptycho_plugin.simulation.siemens import SiemensStar


class Transmitter(Protocol):
    """Anything with a complex transmission."""

    def transmission(self, shape: tuple[int, int], pixel: float, energy_eV: float) -> NDArray[np.complex64]:
        """Return it, ``(row, column)``, on pixels of a side in metres; the centre at ``shape // 2``."""


@runtime_checkable
class RadiationSensitive(Transmitter, Protocol):
    """A transmitter that a dose can change."""

    def shrunk(self, size: float) -> Transmitter:
        """Return the same with features of ``size`` times their size, where they were."""


@runtime_checkable
class Thick(Transmitter, Protocol):
    """A transmitter that no projection describes: its transmission is the product of its slices'."""

    @property
    def slice_distance(self) -> float:
        """From one slice to the next, in metres."""

    def sliced(self, shape: tuple[int, int], pixel: float, energy_eV: float) -> NDArray[np.complex64]:
        """Return the slices' transmissions, ``(slice, row, column)`` in the order of the beam."""


@dataclass(frozen=True, slots=True)
class Specimen:
    """A specimen and the coarse stage's position (row, column) that brings its centre to the beam."""

    name: str
    place_um: tuple[float, float]
    sample: Transmitter


FILM = "film"
TEST_SPECIMEN = "test_specimen"
EMPTY = "empty"

HOLDER = (Specimen(FILM, (0.0, 0.0), OctapodFilm()), Specimen(TEST_SPECIMEN, (0.0, 10_000.0), SiemensStar()))
"""What is mounted by default."""

EMPTY_PLACE_UM = (0.0, 20_000.0)
"""Where nothing is in the beam."""


@dataclass(frozen=True, slots=True)
class Truth:
    """The true transmission of a specimen on the reconstruction's object pixels.

    A probe at position p (metres on the object, `PositionSign.to_probe_positions` of the stage's, with
    the coarse stage at the specimen's place) has its centre ``[side // 2, side // 2]`` on pixel
    ``(p - origin) / pixel`` of the transmission.
    """

    transmission: NDArray[np.complex64]
    """(row, column)"""
    pixel: float
    """Side of a pixel in metres: the geometry's `object_pixel`."""
    origin: tuple[float, float]
    """Position (row, column) in metres of the centre of pixel ``[0, 0]``."""

    def positions_px(self, positions: NDArray[np.float64], frame_side: int) -> NDArray[np.float64]:
        """Return the pixel of the transmission, with its fraction, of each frame's patch corner.

        Parameters
        ----------
        positions : ndarray, (frame, 2)
            Probe-on-object positions in metres.
        frame_side : int

        Returns
        -------
        ndarray, (frame, 2), float64
            exit wave = probe * transmission[r : r + side, c : c + side].
        """
        corners: NDArray[np.float64] = (positions - np.array(self.origin)) / self.pixel - frame_side // 2
        return corners
