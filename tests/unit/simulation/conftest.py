from dataclasses import dataclass

import numpy as np
import pytest

from ptycho_plugin.geometry import Geometry
from ptycho_plugin.simulation.options import OpticError, SimulationOptions
from ptycho_plugin.simulation.siemens import SiemensStar
from ptycho_plugin.simulation.specimens import FILM, Specimen

BLOBS = ((0.1, 0.5, 0.3, 0.9), (-0.6, 0.2, 0.2, 0.5), (0.3, -0.7, 0.25, 0.7))
"""Row, column and width in um, and phase in rad."""


@dataclass(frozen=True)
class Blobs:
    """A smooth, weak object without any symmetry."""

    def transmission(self, shape, pixel, energy_eV):
        y, x = ((np.arange(n) - n // 2) * pixel * 1e6 for n in shape)
        phase = np.zeros(shape)
        for row, column, width, height in BLOBS:
            phase -= height * np.exp(-((y[:, None] - row) ** 2 + (x - column) ** 2) / (2 * width**2))
        return np.exp((1j + 0.2) * phase).astype(np.complex64)


@pytest.fixture(scope="session")
def geometry():
    """The published field of view in few pixels."""
    return Geometry.from_wavelength(2e-10, distance=2.236, detector_pixel=172e-6, frame_side=64)


@pytest.fixture(scope="session")
def holder():
    return (Specimen(FILM, (0.0, 0.0), Blobs()),)


@pytest.fixture(scope="session")
def star_holder():
    """Strong and sharp contrast."""
    return (Specimen(FILM, (0.0, 0.0), SiemensStar()),)


@pytest.fixture
def ideal():
    """No noise, no bad pixel, no optic error, and enough photons for counts to be exact."""
    return SimulationOptions(
        poisson=False,
        bad_pixels=0,
        photons_per_second=1e8,
        optic_error=OpticError(defocus_um=0, astigmatism_um=0),
        field_um=6,
    )
