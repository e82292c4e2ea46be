"""A world that remembers its exposures, for devices and plans."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from ptycho_plugin.devices.assembly import assemble
from ptycho_plugin.devices.beamline import Beamline
from ptycho_plugin.errors import PublishingError
from ptycho_plugin.flux import FluxCalibration
from ptycho_plugin.geometry import Geometry
from ptycho_plugin.metadata import ScanMetadata
from ptycho_plugin.optics import ZonePlate
from ptycho_plugin.publishing.calibrations import ProbeRecord
from ptycho_plugin.simulation.controls import Controls, Exposure

SHAPE = (60, 52)


class CountingWorld(Controls):
    """Frame number n holds n everywhere; the measured position is 1 nm off."""

    detector_shape = SHAPE
    beam_centre_px = (30, 26)

    def __init__(self) -> None:
        super().__init__()
        self.exposures: list[tuple[tuple[float, float], bool]] = []
        self.light: list[tuple[tuple[float, float], float, float]] = []
        self.fails_at: int | None = None

    @property
    def is_open(self) -> bool:
        return self._open

    @property
    def transmission(self) -> float:
        return self._attenuator_transmission

    def expose(self, exposure_s: float) -> Exposure:
        with self._lock:
            row, column = (float(value) for value in self._pair("stage"))
            self.exposures.append(((row, column), self._open))
            number = len(self.exposures)
        if number == self.fails_at:
            raise RuntimeError("the camera died")
        return Exposure(np.full(SHAPE, number, np.int32), (row + 1e-3, column + 1e-3), 1000.0 * number)

    def shine(self, stage_um: tuple[float, float], seconds: float, beam: float) -> None:
        self.light.append((stage_um, seconds, beam))


@pytest.fixture
def world() -> CountingWorld:
    return CountingWorld()


MakeBeamline = Callable[..., Beamline]


@pytest.fixture
def make_beamline(world: CountingWorld, tmp_path: Any) -> MakeBeamline:
    """Return a beamline on the counting world; keyword arguments change its facts."""

    def make(time_factor: float = 0.0, **facts: Any) -> Beamline:
        return assemble(
            world,
            tmp_path / "frames",
            time_factor,
            ((-5.0, 5.0), (-5.0, 5.0)),
            **{
                "name": "counting",
                "geometry": Geometry.from_wavelength(
                    0.2e-9, distance=2.236, detector_pixel=172e-6, frame_side=48
                ),
                "optic": ZonePlate(diameter=80e-6, outermost_zone=100e-9, central_stop=0.0),
                "photons_per_second": 1e5,
                "places": {"sample": (0.0, 0.0), "specimen": (0.0, 900.0), "empty": (0.0, -900.0)},
                **facts,
            },
        )

    return make


class MemoryStore:
    """Calibrations without Tiled."""

    def __init__(self) -> None:
        self.probes: dict[str, ProbeRecord] = {}
        self.masks: dict[str, Any] = {}
        self.fluxes: list[FluxCalibration] = []
        self.runs: dict[str, tuple[ScanMetadata, tuple[int, int]]] = {}

    def store_probe(self, probe: Any, *, geometry: Any, date: datetime | None = None, **md: Any) -> str:
        uid = f"probe-{len(self.probes)}"
        self.probes[uid] = ProbeRecord(uid, probe, geometry, None, date or datetime.now(UTC), md)
        return uid

    def probe(self, uid: str) -> ProbeRecord:
        return self.probes[uid]

    def latest_probe(self) -> ProbeRecord:
        return max(self.probes.values(), key=lambda record: record.date)

    def store_mask(self, mask: Any) -> str:
        version = f"mask-{len(self.masks)}"
        self.masks[version] = mask
        return version

    def mask(self, version: str) -> Any:
        return self.masks[version]

    def store_flux(self, calibration: FluxCalibration) -> str:
        self.fluxes.append(calibration)
        return f"flux-{len(self.fluxes) - 1}"

    def latest_flux(self) -> FluxCalibration:
        if not self.fluxes:
            raise PublishingError("there is no flux calibration")
        return max(self.fluxes, key=lambda calibration: calibration.date)

    def run(self, uid: str) -> tuple[ScanMetadata, tuple[int, int]]:
        if uid not in self.runs:
            raise PublishingError(f"there is no run {uid}")
        return self.runs[uid]

    def keep_run(self, start: dict[str, Any]) -> None:
        """Do what a raw run's writer does, as far as calibrations look at it."""
        self.runs[start["uid"]] = ScanMetadata.from_start(start), SHAPE


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()
