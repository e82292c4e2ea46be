"""Series of maps of a film that dies: blurred as a reconstruction blurs, with noise as photons make it.

They are no reconstructions: those need a `SimulatedWorld` with `SimulationOptions.degrades`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from ptycho_plugin.geometry import Geometry
from ptycho_plugin.postprocess.registration import MARGIN_PX, inner
from ptycho_plugin.postprocess.repeats import Repeat, RepeatSeries
from ptycho_plugin.simulation.degradation import CRITICAL_REPEATS, DegradingTransmission
from ptycho_plugin.simulation.octapods import OctapodFilm

SIDE = 96
GEOMETRY = Geometry.from_wavelength(0.2e-9, distance=2.236, detector_pixel=172e-6, frame_side=96)
SHAPE = (SIDE + 2 * MARGIN_PX, SIDE + 2 * MARGIN_PX)
BLUR_PX = 0.6
REPEAT_GY = 28e3
"""Of one repeat."""


@cache
def _transmission(
    film: OctapodFilm, shape: tuple[int, int], pixel: float, energy_eV: float
) -> NDArray[np.complex64]:
    return film.transmission(shape, pixel, energy_eV)


@dataclass(frozen=True)
class Film:
    """A film that is computed once."""

    film: OctapodFilm

    def transmission(self, shape: tuple[int, int], pixel: float, energy_eV: float) -> NDArray[np.complex64]:
        """Return it, as the film does."""
        return _transmission(self.film, shape, pixel, energy_eV)

    def shrunk(self, size: float) -> Film:
        """Return the film with smaller octapods."""
        return Film(self.film.shrunk(size))


@dataclass(frozen=True)
class DyingFilm:
    """One of five films, a critical dose, and the noise of one repeat's map over the fresh contrast."""

    seed: int
    critical: float | None = None
    noise: float = 0.5

    @property
    def critical_repeats(self) -> float:
        """The critical dose; the seed draws it where it is not given."""
        return self.critical or np.random.default_rng(self.seed).uniform(*CRITICAL_REPEATS)

    @property
    def film(self) -> Film:
        """What dies."""
        return Film(OctapodFilm(density_per_um2=1500, seed=self.seed % 5))

    def lost(self, repeats: int) -> float:
        """Return the true loss after that many."""
        return 1 - np.exp(-repeats / self.critical_repeats)

    def repeats(self, number: int) -> Iterator[Repeat]:
        """Yield map after map; the photons of a repeat see the sample on average as in its middle."""
        rng = np.random.default_rng((self.seed, 1))
        film = DegradingTransmission(
            self.film,
            SHAPE,
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

    def series(self, number: int) -> RepeatSeries:
        """Return so many repeats."""
        return RepeatSeries(self.repeats(number))

    def truth(self) -> NDArray[np.float64]:
        """Return the phase of the fresh film within the margin, blurred."""
        transmission = self.film.transmission(SHAPE, GEOMETRY.object_pixel, GEOMETRY.energy_eV)
        phase = gaussian_filter(np.angle(transmission), BLUR_PX)
        return inner(phase).astype(np.float64)
