"""A small scan with a known truth: 32 x 32 px frames, no package simulation involved."""

from dataclasses import dataclass
from importlib import import_module

import numpy as np
import pytest

from ptycho_plugin.dataset import PtychoDataset
from ptycho_plugin.geometry import Geometry
from ptycho_plugin.reconstruction import fourier
from ptycho_plugin.reconstruction.blocks import expected_noise, make_blocks
from ptycho_plugin.reconstruction.device import find_gpu
from ptycho_plugin.reconstruction.estimate import Estimate
from ptycho_plugin.reconstruction.forward import ForwardModel
from ptycho_plugin.reconstruction.machine import Namespace, Processor

SIDE = 32
GEOMETRY = Geometry.from_wavelength(0.2e-9, distance=2.236, detector_pixel=172e-6, frame_side=SIDE)


@dataclass(frozen=True)
class SmallScan:
    object: np.ndarray
    probe: np.ndarray
    positions_px: np.ndarray
    frames: np.ndarray
    geometry: Geometry = GEOMETRY

    def dataset(self, **changes):
        fields = {
            "frames": self.frames,
            "positions": self.positions_px * self.geometry.object_pixel,
            "mask": np.ones((SIDE, SIDE), bool),
            "geometry": self.geometry,
            "probe": start_probe(self.probe),
        }
        return PtychoDataset(**(fields | changes))


def start_probe(probe):
    """A start probe with an error: a little defocus too much, and another scale."""
    frequency = np.fft.fftfreq(SIDE)
    chirp = np.exp(-8j * (frequency[:, None] ** 2 + frequency**2))
    return (0.01 * np.fft.ifft2(np.fft.fft2(probe) * chirp)).astype(np.complex64)


def smooth_noise(rng, shape, cutoff):
    frequency = np.hypot(*np.meshgrid(*(np.fft.fftfreq(n) for n in shape), indexing="ij"))
    noise = np.fft.ifft2(np.fft.fft2(rng.standard_normal(shape)) * np.exp(-((frequency / cutoff) ** 2))).real
    return noise / noise.std()


def make_scan(
    *,
    photons=1e6,
    subpixel=False,
    noise=True,
    seed=0,
    matter=None,
    curvature=0.04,
    asymmetry=0.1,
    probe_diameter_px=np.inf,
):
    """With `matter`, the modulus falls with the phase by that factor; else it goes its own way."""
    rng = np.random.default_rng(seed)
    phase = 0.3 * smooth_noise(rng, (88, 88), 0.12)
    modulus = -0.02 * (1 + smooth_noise(rng, (88, 88), 0.1)) if matter is None else matter * phase
    object_ = np.exp(1j * phase + modulus)
    grid = np.arange(SIDE) - SIDE // 2
    radius2 = grid[:, None] ** 2 + grid**2
    probe = np.exp(-radius2 / 60 + 1j * curvature * radius2) * (1 + asymmetry * grid / SIDE)
    probe = probe[None].astype(complex)
    probe *= radius2 <= (probe_diameter_px / 2) ** 2
    probe *= np.sqrt(photons / np.sum(np.abs(probe) ** 2))
    rows, columns = np.meshgrid(np.arange(4, 54, 5), np.arange(4, 54, 5), indexing="ij")
    positions = np.column_stack([rows.ravel(), columns.ravel()]).astype(float)
    positions += rng.integers(-1, 2, positions.shape)
    if subpixel:
        positions += rng.uniform(-0.5, 0.5, positions.shape)
    frames = np.stack([frame(object_, probe, position) for position in positions])
    counts = rng.poisson(frames).astype(np.int32) if noise else frames.astype(np.float32)
    return SmallScan(object_, probe, positions, counts)


def frame(object_, probe, position):
    """|fftshift(fft2(exit))|^2 with the probe moved by the fraction of a pixel."""
    corner = np.floor(position + 0.5).astype(int)
    frequency = np.fft.fftfreq(SIDE)
    ramp = np.exp(
        -2j * np.pi * ((position - corner)[0] * frequency[:, None] + (position - corner)[1] * frequency)
    )
    moved = np.fft.ifft2(np.fft.fft2(probe) * ramp)
    exits = moved * object_[corner[0] : corner[0] + SIDE, corner[1] : corner[1] + SIDE]
    return np.sum(np.abs(np.fft.fftshift(np.fft.fft2(exits, norm="ortho"), axes=(-2, -1))) ** 2, axis=0)


@pytest.fixture(scope="session")
def simulate():
    """The simulation itself: ``simulate(photons=..., subpixel=..., ...)``, see `make_scan`."""
    return make_scan


@pytest.fixture(scope="session")
def known_scan():
    return make_scan()


@pytest.fixture(scope="session")
def known_estimate(known_scan):
    """The truth as the engines hold it."""
    return Estimate(known_scan.object[None].astype(np.complex64), known_scan.probe.astype(np.complex64))


@pytest.fixture(scope="session")
def processor():
    return Processor()


@pytest.fixture(scope="session")
def forward(processor):
    """The far field of one slice."""
    return ForwardModel(processor, GEOMETRY)


@pytest.fixture(params=["numpy", "array_api_strict", *["cupy"][: find_gpu()[0] is not None]])
def machine(request):
    """The machine of every array namespace that runs here."""
    return Namespace(import_module(request.param))


@pytest.fixture
def cache_home(tmp_path, monkeypatch):
    """A user's cache, empty at first, that this process has read nothing of."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    fourier._wisdom.cache_clear()
    yield tmp_path
    fourier._wisdom.cache_clear()


@pytest.fixture
def known_blocks(known_scan, forward, blocks_of):
    frames = known_scan.frames.astype(np.float32)
    return blocks_of(forward, frames, known_scan.positions_px, expected_noise(frames.mean(axis=0)))


@pytest.fixture(scope="session")
def blocks_of():
    """Blocks of frames: ``blocks_of(forward, frames, positions_px, noise=0, modes=1, movable=False)``."""

    def blocks(forward, frames, positions_px, noise=0, modes=1, movable=False):
        noise = np.broadcast_to(np.float32(noise), frames.shape[1:])
        where = forward.machine, forward.detector
        return list(make_blocks(frames, positions_px, noise, modes, *where, movable=movable))

    return blocks


@pytest.fixture(scope="session")
def modelled_frames():
    """Expected counts: ``modelled_frames(forward, estimate, block)``, ``(frame, row, column)``."""

    def model(forward, estimate, block):
        probes = forward.probes(block, estimate, forward.probe_far(estimate))
        far = forward.far_fields(block, probes, estimate.object, "modelled")
        return np.sum(np.abs(far / estimate.side) ** 2, axis=1)

    return model


@pytest.fixture(scope="session")
def phase_error():
    """Spread of a map's phase about the truth over the scan's inside, what frames cannot fix removed.

    That is a global phase, a ramp, and a shift of object and probe, here by less than a pixel.
    """

    def measure(result, scan):
        first = np.s_[:25]
        offsets = result.positions_px[first] - scan.positions_px[first]
        shift = np.rint(np.median(offsets, axis=0)).astype(int)
        inside = np.s_[22:62, 22:62]
        found = result.object[22 + shift[0] : 62 + shift[0], 22 + shift[1] : 62 + shift[1]]
        truth = np.angle(scan.object)
        difference = found * scan.object[inside].conj()
        phase = np.angle(difference * np.exp(-1j * np.angle(difference.sum())))
        changes = [np.ones(truth.shape), *np.indices(truth.shape), *np.gradient(truth)]
        design = np.stack([change[inside].ravel() for change in changes], axis=1)
        left = phase.ravel() - design @ np.linalg.lstsq(design, phase.ravel(), rcond=None)[0]
        return left.std() / truth[inside].std()

    return measure
