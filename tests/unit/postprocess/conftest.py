"""Series of maps of a film that dies: blurred as a reconstruction blurs, with noise as photons make it.

They are no reconstructions: those are in ``benchmarks/damage.py``.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from ptycho_plugin.geometry import Geometry
from ptycho_plugin.postprocess.registration import MARGIN_PX
from ptycho_plugin.postprocess.repeats import Repeat, RepeatSeries
from ptycho_plugin.simulation.degradation import CRITICAL_REPEATS, DegradingTransmission
from ptycho_plugin.simulation.octapods import OctapodFilm

SIDE = 96
GEOMETRY = Geometry.from_wavelength(0.2e-9, distance=2.236, detector_pixel=172e-6, frame_side=96)
BLUR_PX = 0.6
REPEAT_GY = 28e3
"""Of one repeat."""


@cache
def transmission(film):
    return film.transmission((SIDE + 2 * MARGIN_PX,) * 2, GEOMETRY.object_pixel, GEOMETRY.energy_eV)


@dataclass(frozen=True)
class Film:
    """One of a few films, each computed once."""

    film: OctapodFilm

    def transmission(self, shape, pixel, energy_eV):
        return transmission(self.film)

    def shrunk(self, size):
        return Film(self.film.shrunk(size))


@dataclass(frozen=True)
class DyingFilm:
    """One of five films, a critical dose, and the noise of one repeat's map over the fresh contrast."""

    seed: int
    critical: float | None = None
    noise: float = 0.5

    @property
    def critical_repeats(self):
        return self.critical or np.random.default_rng(self.seed).uniform(*CRITICAL_REPEATS)

    @property
    def film(self):
        return Film(OctapodFilm(density_per_um2=1500, seed=self.seed % 5))

    def lost(self, repeats):
        """The true loss after that many."""
        return 1 - np.exp(-repeats / self.critical_repeats)

    def repeats(self, number):
        """Map after map; the photons of a repeat see the sample on average as in its middle."""
        rng = np.random.default_rng((self.seed, 1))
        film = DegradingTransmission(
            self.film,
            (SIDE + 2 * MARGIN_PX,) * 2,
            GEOMETRY,
            np.full((4 * SIDE,) * 2, 0.5 / self.critical_repeats),
        )
        fresh = gaussian_filter(np.angle(film.transmission), BLUR_PX).std()
        for n in range(number):
            film.receive(np.array(film.transmission.shape) // 2, 1)
            phase = gaussian_filter(np.angle(film.transmission), BLUR_PX)
            phase = phase + self.noise * fresh * rng.normal(size=phase.shape)
            yield Repeat(np.exp(1j * phase), n * REPEAT_GY, (n + 1) * REPEAT_GY)
            film.receive(np.array(film.transmission.shape) // 2, 1)

    def series(self, number):
        return RepeatSeries(self.repeats(number))

    def truth(self):
        """Phase of the fresh film within the margin, blurred."""
        phase = gaussian_filter(np.angle(transmission(self.film.film)), BLUR_PX)
        return phase[MARGIN_PX:-MARGIN_PX, MARGIN_PX:-MARGIN_PX]


@pytest.fixture(scope="session")
def dying_film():
    """``dying_film(seed, critical=None, noise=0.5)``, see `DyingFilm`."""
    return DyingFilm
