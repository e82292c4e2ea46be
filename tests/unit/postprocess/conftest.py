"""Repeats of a film of octapods, as a reconstruction would give them: shifted, ramped, noisy."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from ptycho_plugin.postprocess.pipeline import RegionMaps
from ptycho_plugin.postprocess.registration import shifted
from ptycho_plugin.simulation.dying_film import DyingFilm
from ptycho_plugin.simulation.octapods import OctapodFilm

PIXEL = 13.54e-9
ENERGY_eV = 6199.2
SIDE = 240
BLUR_PX = 1.0
DRIFT_PX = [(0.0, 0.0), (0.4, -1.3), (1.2, 0.7), (-0.6, 2.1), (2.3, -1.9)]


@pytest.fixture(scope="session")
def dying_film():
    """``dying_film(seed, critical=None, noise=0.5)``: maps that are blurred and noisy, no reconstructions."""
    return DyingFilm


@pytest.fixture(scope="session")
def truth() -> np.ndarray:
    """The transmission of a film, blurred by a pixel."""
    film = OctapodFilm(seed=3)
    transmission = film.transmission((SIDE, SIDE), PIXEL, ENERGY_eV)
    frequency = np.fft.fftfreq(SIDE)
    blur = np.exp(-2 * (np.pi * BLUR_PX) ** 2 * (frequency[:, None] ** 2 + frequency**2))
    return np.fft.ifft2(np.fft.fft2(transmission) * blur)


def map_noise(rng: np.random.Generator, sigma: float) -> np.ndarray:
    """Noise that neighbouring pixels share a little, as a reconstruction's does."""
    noise = gaussian_filter(rng.normal(size=(SIDE, SIDE)), 0.6, mode="wrap")
    return noise * (sigma / noise.std())


@pytest.fixture(scope="session")
def noisy(truth: np.ndarray) -> Callable[..., np.ndarray]:
    """``noisy(seed, shift_px=(0, 0), sigma=0.013)``: a repeat of it."""

    def make(seed: int, shift_px: tuple[float, float] = (0.0, 0.0), sigma: float = 0.013) -> np.ndarray:
        rng = np.random.default_rng(seed)
        rows, columns = np.indices(truth.shape)
        row, column = rng.normal(scale=0.002, size=2)
        ramp = row * rows + column * columns + rng.uniform(-np.pi, np.pi)
        return shifted(truth, np.array(shift_px)) * np.exp(1j * (map_noise(rng, sigma) + ramp))

    return make


@pytest.fixture(scope="session")
def region_maps(noisy: Callable[..., np.ndarray]) -> RegionMaps:
    """Five repeats that drift by `DRIFT_PX`; the third has half the photons."""
    photons = np.array([1.0, 1.0, 0.5, 1.0, 1.0])
    repeats = [noisy(seed, shift, 0.013 / photons[seed] ** 0.5) for seed, shift in enumerate(DRIFT_PX)]
    sources = tuple(f"run {number}" for number in range(len(photons)))
    return RegionMaps(
        transmissions=np.stack(repeats), photons=photons, sources=sources, pixel=PIXEL, energy_eV=ENERGY_eV
    )


@pytest.fixture(scope="session")
def drift_px() -> np.ndarray:
    """By which those lie away from the first."""
    return np.array(DRIFT_PX)
