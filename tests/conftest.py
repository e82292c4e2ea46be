"""What tests of every kind share."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from bluesky import RunEngine
from hypothesis import settings

from ptycho_plugin.dataset import PtychoDataset
from ptycho_plugin.geometry import Geometry
from ptycho_plugin.ioc.settings import client_environment, free_port
from ptycho_plugin.reconstruction.map_figures import MapFigures
from ptycho_plugin.reconstruction.map_verdict import judged
from ptycho_plugin.reconstruction.options import ReconstructionOptions
from ptycho_plugin.reconstruction.result import Result

# Channel Access reads its environment when ophyd is imported, which no import above does: this process
# sees one beamline at most, on the loopback interface and ports of its own.
os.environ.update(client_environment(port=free_port(), repeater_port=free_port()))

# A loaded machine is not a wrong result.
settings.register_profile("ptycho", deadline=None, max_examples=50)
settings.load_profile("ptycho")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real and simulated scans that lies beside the repository."""
    folder = Path(__file__).parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"the recorded scans are not at {folder}")
    return folder


@pytest.fixture
def engine() -> Iterator[RunEngine]:
    """A RunEngine whose thread has ended when the test has."""
    yield from _run_engine()


@pytest.fixture(scope="module")
def module_engine() -> Iterator[RunEngine]:
    """One for the fixtures of a module."""
    yield from _run_engine()


def _run_engine() -> Iterator[RunEngine]:
    engine = RunEngine({})
    yield engine
    if engine.state != "idle":
        engine.halt()
    engine.loop.call_soon_threadsafe(engine.loop.stop)
    engine._th.join()
    engine.loop.close()


@pytest.fixture
def small_scan() -> PtychoDataset:
    """Twelve frames of 16 x 16 counts on a grid of 100 nm steps, with a start probe."""
    rng = np.random.default_rng(1)
    geometry = Geometry(energy_eV=6200.0, distance=2.236, detector_pixel=172e-6, frame_side=16)
    steps = np.stack(np.meshgrid(np.arange(3), np.arange(4), indexing="ij"), axis=-1).reshape(-1, 2)
    probe = rng.normal(size=(1, 16, 16, 2)).view(np.complex128)[..., 0].astype(np.complex64)
    return PtychoDataset(
        frames=rng.poisson(20, (12, 16, 16)).astype(np.int32),
        positions=steps * 200e-9,
        mask=np.ones((16, 16), bool),
        geometry=geometry,
        probe=probe,
    )


@pytest.fixture
def small_figures() -> MapFigures:
    """What could be known of `small_result`: nothing speaks against it."""
    return MapFigures(
        stage="finished",
        frames=12,
        planned=12,
        r_factor=0.09,
        r_poisson=0.1,
        r_mean_frame=0.4,
        r_mean_frame_poisson=0.1,
        beam_off_px=(0, 0),
        likeness=0.99,
        likeness_gain=0,
        probe_overlap=0.95,
        at_tolerance=0,
        ill_fitting=0,
        standing_still=0,
        dark=0,
        curls=(1, 4, 5, 8),
        contrast=0.5,
        hot_pixels=0,
        clipped=0,
    )


@pytest.fixture
def small_result(small_scan: PtychoDataset, small_figures: MapFigures) -> Result:
    """What a reconstruction of `small_scan` could be: numbers of the right shapes."""
    rng = np.random.default_rng(2)
    return Result(
        slices=np.exp(1j * rng.normal(0, 0.1, (1, 40, 44))).astype(np.complex64),
        probe=small_scan.probe,
        positions=small_scan.positions,
        positions_px=small_scan.positions / small_scan.geometry.object_pixel,
        positions_measured=small_scan.positions,
        intensities=np.ones(len(small_scan)),
        background=0.02,
        trusted=np.ones((40, 44), bool),
        errors=np.array([0.4, 0.2, 0.1]),
        frames_used=np.array([8, 12, 12]),
        likelihood_from=2,
        residual=0.09,
        geometry=small_scan.geometry,
        options=ReconstructionOptions(),
        seconds=1.5,
        device="cpu",
        verdict=judged(small_figures),
    )
