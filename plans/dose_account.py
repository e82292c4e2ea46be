"""What a guard asks of the ledger, and writes into it: the dose of a target, exposure by exposure."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from time import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ptycho_plugin.devices import Beamline
from ptycho_plugin.dose_query import counted_photons
from ptycho_plugin.errors import InputError
from ptycho_plugin.geometry import is_same_energy
from ptycho_plugin.ledger import Budget, Delivered, Exposures, Intent, Ledger, Region
from ptycho_plugin.ledger.rigid import Position
from ptycho_plugin.plans.preflight_checks import Finding
from ptycho_plugin.plans.region_on_stage import RegionOnStage, region_on_stage
from ptycho_plugin.plans.regions_around import RegionsAround
from ptycho_plugin.plans.trajectory_light import TrajectoryLight
from ptycho_plugin.publishing.dose_documents import GUARDED_RUN, Reading, map_reading

logger = logging.getLogger(__name__)


class DoseAccount:
    """The dose of a region, or the exposures of a sample where no region is placed yet.

    It can be read like a device: what the exposures of the run so far have done.

    Parameters
    ----------
    beamline : Beamline
    ledger : Ledger
    target : Region or str
        A sample's name has no budget of its own: what falls into its regions is checked against theirs.
    probe : ndarray, (mode, row, column), complex
        On the object's pixels, at any scale.
    electron_range : float
        In metres.
    """

    name = "dose"
    parent = None

    def __init__(
        self,
        beamline: Beamline,
        ledger: Ledger,
        target: Region | str,
        probe: NDArray[np.complexfloating],
        electron_range: float,
    ) -> None:
        self._beamline = beamline
        self._ledger = ledger
        self._target = target
        self._probe = probe
        self._energy_eV = beamline.geometry.energy_eV
        """That the probe is of."""
        self._electron_range = electron_range
        self._run_uid = ""
        self._data_keys: dict[str, Any] = {}
        self._region: RegionOnStage | None = None
        self._around = RegionsAround(ledger, self._on_stage)
        self._last_exposure = 0
        """That the account knows of; a later one is of another session."""

    def update(self) -> dict[str, Any]:
        """Read the ledger anew, as a run begins, and return what its start document says of it.

        Raises
        ------
        InputError
            If the beamline has come to another energy, of which the probe is not.
        LedgerError
            If the ledger does not know the sample or where it lies, or the region has no budget.
        """
        now_eV = self._beamline.geometry.energy_eV
        if not is_same_energy(now_eV, self._energy_eV):
            raise InputError(
                f"this guard has the probe of {self._energy_eV:.1f} eV, and the beam has {now_eV:.1f} eV: "
                "make another guard"
            )
        self._last_exposure = self._ledger.last_exposure()
        if not isinstance(self._target, Region):
            self._around.update(self._target, None)
            return {"sample": self._target}
        region = self._target
        budget, exposures = self._ledger.samples.budget(region), self._ledger.exposures(region)
        self._region = self._on_stage(region, budget, exposures)
        self._around.update(region.sample, region)
        dose = {
            "peak_Gy": self._region.dose.peak,
            "budget_Gy": budget.dose,
            "material": budget.material,
            "electron_range_m": self._electron_range,
            "unplaced": exposures.unplaced,
            **_sums(exposures),
        }
        identity = {"sample": region.sample, "area": region.area, "region": region.name}
        return {**identity, "dose": dose, "tiled_specs": [GUARDED_RUN]}

    def check_scan(self, points_um: NDArray[np.float64], photons: float) -> Finding:
        """Return what a scan takes of the budget, as the account was last updated, or refuse it.

        Parameters
        ----------
        points_um : ndarray, (point, 2), float64
            Of the stages, as in the ledger.
        photons : float
            Expected on the sample in each exposure.

        Raises
        ------
        DoseRefusal
            If any region would go over its budget, or the one that is meant does not hold a point.
        """
        return self._check(points_um, lambda region: region.check_scan(points_um, photons))

    def check_light(self, light: TrajectoryLight, expected_per_s: float, most_per_s: float) -> Finding:
        """Return what a trajectory takes of the budget, or refuse it, as `check_scan` does.

        Parameters
        ----------
        light : TrajectoryLight
            In positions of the stages, as in the ledger.
        expected_per_s, most_per_s : float
            Photons on the sample in a second.
        """
        return self._check(
            light.paths_um.reshape(-1, 2),
            lambda region: region.check_light(light, expected_per_s, most_per_s),
        )

    def _check(self, points_um: NDArray[np.float64], check: Callable[[RegionOnStage], Finding]) -> Finding:
        if self._region is not None:
            self._region.check_reach(points_um)
        for other in self._around.holding(points_um):
            check(other)
        if self._region is not None:
            return check(self._region)
        sentence = f"what it exposes counts in every region of '{self._target}' that lies there, now or later"
        return Finding("budget", 0.0, "kGy", sentence)

    def edge_um(self) -> list[Position]:
        """Return stage positions in the middles of the region's four sides; none without a region."""
        return [] if self._region is None else self._region.edge_um()

    def begin_run(self, run_uid: str) -> None:
        """Say of which run the exposures to come are."""
        self._run_uid = run_uid

    def intend(self, intent: Intent, *, again: bool = False) -> int:
        """Write that an exposure is about to be made, and return its key: then the shutter may open.

        Parameters
        ----------
        intent : Intent
        again : bool
            As for `Ledger.intend`.

        Raises
        ------
        DoseRefusal
            If any point of a region that the exposure falls into would go over its budget.
        LedgerError
            As from `Ledger.intend`.
        """
        self._catch_up()
        if self._region is not None:
            self._region.check(intent)
        for other in self._around.holding(np.array([intent.start_um])):
            other.check(intent)
        key = self._ledger.intend(intent, again=again)
        self._last_exposure += 1  # not `key`: another session may have come in between
        return key

    def intend_all(
        self,
        intents: Sequence[Intent],
        light: TrajectoryLight,
        most_per_s: float,
        again: Collection[int] = (),
    ) -> list[int]:
        """Write that a trajectory is about to be made, and return the keys: then it may be armed.

        Parameters
        ----------
        intents : sequence of Intent
        light : TrajectoryLight
            What they are of.
        most_per_s : float
            Photons on the sample in a second, at most.
        again : collection of int
            As for `Ledger.intend_all`.

        Raises
        ------
        DoseRefusal, LedgerError
            As from `intend`.
        """
        self._catch_up()
        self.check_light(light, most_per_s, most_per_s)
        keys = self._ledger.intend_all(intents, again=again)
        self._last_exposure += len(keys)
        return keys

    def settle_all(self, outcomes: Mapping[int, Delivered | str]) -> None:
        """Write what parts of a trajectory were, or why they were never made; `update` adds them."""
        self._ledger.settle(outcomes)

    def confirm(self, key: int, delivered: Delivered) -> None:
        """Write what an exposure was; it says where."""
        assert delivered.start_um is not None  # noqa: S101
        self._ledger.confirm(key, delivered)
        self._add(delivered.start_um, delivered.photons)

    def withdraw(self, key: int, reason: str) -> None:
        """Write that an exposure was never made."""
        self._ledger.withdraw(key, reason)

    def leave_uncertain(self, intent: Intent) -> None:
        """Count an exposure that nobody can confirm at its upper bound."""
        self._add(intent.start_um, intent.photons_at_most)

    def read(self) -> dict[str, Any]:
        """Return the sums of the run so far, and the region's largest dose and its map."""
        values, self._data_keys = self._reading()
        now = time()
        return {key: {"value": value, "timestamp": now} for key, value in values.items()}

    def describe(self) -> dict[str, Any]:
        """Return the data keys of what was read last."""
        return self._data_keys

    def _catch_up(self) -> None:
        """Read the ledger anew where another session has exposed something."""
        if self._ledger.last_exposure() != self._last_exposure:
            self.update()

    def _reading(self) -> Reading:
        sums = _sums(self._ledger.exposures_of_run(self._run_uid))
        peak = {} if self._region is None else {"peak_Gy": self._region.dose.peak}
        values = {f"{self.name}_{key}": value for key, value in (sums | peak).items()}
        keys: dict[str, Any] = {
            key: {
                "source": f"ledger:{key}",
                "dtype": "integer" if isinstance(value, int) else "number",
                "shape": [],
            }
            for key, value in values.items()
        }
        of_map, keys_of_map = self._map_reading()
        return values | of_map, keys | keys_of_map

    def _map_reading(self) -> Reading:
        if self._region is None:
            return {}, {}
        exposures = self._ledger.exposures(self._region.region)
        try:
            return map_reading(self._region.dose.map(exposures, self._region.budget))
        except Exception:  # a picture must never end a scan
            logger.exception("the dose map of run %s is not kept", self._run_uid)
            return {}, {}

    def _add(self, stage_um: Position, photons: float) -> None:
        if self._region is not None:
            self._region.add(stage_um, photons)
        self._around.add(stage_um, photons)

    def _on_stage(self, region: Region, budget: Budget, exposures: Exposures) -> RegionOnStage:
        return region_on_stage(
            self._beamline, self._ledger, region, budget, exposures, self._probe, self._electron_range
        )


def _sums(exposures: Exposures) -> dict[str, Any]:
    """Return how many exposures there were, and their photons, those between them included."""
    counted = exposures.where(exposures.status != "withdrawn")
    photons, made = counted_photons(counted), counted.where(counted.kind != "transit")
    return {
        "exposures": len(made),
        "uncertain": int(np.sum(made.status != "done")),
        "photons": photons.number,
        "photons_uncertainty": photons.sigma,
    }
