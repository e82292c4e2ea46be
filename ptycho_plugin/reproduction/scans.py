"""One scan of the simulated experiment: which, of what, and how it is taken."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from ptycho_plugin.dataset import PtychoDataset
from ptycho_plugin.geometry import M_PER_UM
from ptycho_plugin.io.checks import mask_marks
from ptycho_plugin.orientation import crop_window
from ptycho_plugin.reproduction.options import Conditions, ReproductionOptions
from ptycho_plugin.simulation.samples import sample_at
from ptycho_plugin.simulation.specimens import FILM, HOLDER, TEST_SPECIMEN, Specimen
from ptycho_plugin.simulation.world import SimulatedWorld

UM_PER_NM = 1e-3


@dataclass(frozen=True, slots=True)
class Region:
    """A place on a sample."""

    sample: str
    area: str
    region: str

    @property
    def name(self) -> str:
        """Sample, area and region, as in PS-190-1-A."""
        return "-".join(asdict(self).values())

    def seed(self, conditions: Conditions) -> int:
        """Return what tells this place's octapods from any other's."""
        return _seed(conditions.seed, *asdict(self).values())

    def world(self, conditions: Conditions, seed: int) -> SimulatedWorld:
        """Return the beamline with the sample in its beam, whose noise has a seed."""
        sample = sample_at(self.sample, self.seed(conditions))
        holder = (Specimen(FILM, (0.0, 0.0), sample),)
        return SimulatedWorld(conditions.geometry, conditions.optic, conditions.beamline(seed), holder)


@dataclass(frozen=True, slots=True)
class Scan:
    """A repeat of a region, numbered from 1."""

    region: Region
    repeat: int

    @property
    def name(self) -> str:
        """Sample, area, region and repeat, as in PS-190-1-A-3."""
        return f"{self.region.name}-{self.repeat}"

    def drift_um(self, conditions: Conditions) -> tuple[float, float]:
        """Return how far (row, column) off the sample is: a random walk, a step before every repeat."""
        rng = np.random.default_rng(_seed("drift", self.region.seed(conditions)))
        steps = rng.normal(scale=conditions.drift_nm * UM_PER_NM, size=(self.repeat, 2))
        row, column = steps.sum(axis=0)
        return float(row), float(column)

    def take(self, conditions: Conditions) -> PtychoDataset:
        """Return the scan's frames, where the encoders saw the stage; without a probe."""
        world = self.region.world(conditions, _seed(conditions.seed, self.name))
        for axis, drift_um in zip(("row", "column"), self.drift_um(conditions), strict=True):
            world.move(f"coarse_{axis}", drift_um)
        return _taken(world, conditions, self.name)


def scans_of(options: ReproductionOptions) -> Iterator[Scan]:
    """Yield every scan, in the order of the published protocol."""
    for sample in options.samples:
        for place in options.matrix.places((0.0, 0.0)):
            for repeat in range(1, options.matrix.repeats + 1):
                yield Scan(Region(sample, place.area, place.region), repeat)


def calibration_scan(conditions: Conditions) -> PtychoDataset:
    """Return a scan of the test specimen that starts from the nominal zone plate's probe."""
    seed = _seed(conditions.seed, TEST_SPECIMEN)
    world = SimulatedWorld(conditions.geometry, conditions.optic, conditions.beamline(seed), HOLDER)
    for axis, place_um in zip(("row", "column"), world.places[TEST_SPECIMEN], strict=True):
        world.move(f"coarse_{axis}", place_um)
    scan = _taken(world, conditions, TEST_SPECIMEN)
    return scan.with_probe(conditions.optic.probe(conditions.geometry))


def _taken(world: SimulatedWorld, conditions: Conditions, source: str) -> PtychoDataset:
    side = conditions.geometry.frame_side
    crop = crop_window(world.beam_centre_px, side, world.detector_shape)
    world.set_shutter(True)
    frames, places_um = [], []
    for row, column in conditions.trajectory.offsets_um():
        world.move("stage_row", row)
        world.move("stage_column", column)
        exposure = world.expose(conditions.exposure_s)
        frames.append(exposure.frame[crop].copy())  # not a view, which keeps the whole frame
        places_um.append(exposure.position_um)
    stack: NDArray[np.int32] = np.stack(frames)
    mask, remarks = mask_marks(source, stack, np.ones((side, side), bool))
    return PtychoDataset(
        frames=stack,
        positions=np.array(places_um) * M_PER_UM,
        mask=mask,
        geometry=conditions.geometry,
        source=source,
        remarks=remarks,
    )


def _seed(*parts: object) -> int:
    """Return a number that any other parts would hardly give."""
    return int.from_bytes(hashlib.sha256(json.dumps(parts).encode()).digest()[:6])
