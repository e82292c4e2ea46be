"""The regions that an exposure falls into, whichever it is meant for: each has a budget of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from ptycho_plugin.ledger import Budget, Exposures, Ledger, Region
from ptycho_plugin.ledger.rigid import Position, RigidTransform
from ptycho_plugin.plans.region_on_stage import RegionOnStage, fall_into


class RegionsAround:
    """Regions of a sample that have a budget; the dose of each is read when an exposure first falls into it.

    Parameters
    ----------
    ledger : Ledger
    on_stage : callable
        Returns a region's dose after some exposures.
    """

    def __init__(
        self, ledger: Ledger, on_stage: Callable[[Region, Budget, Exposures], RegionOnStage]
    ) -> None:
        self._ledger = ledger
        self._on_stage = on_stage
        self._transform: RigidTransform | None = None
        self._budgets: dict[Region, Budget] = {}
        self._known: dict[Region, RegionOnStage] = {}

    def update(self, sample: str, target: Region | None) -> None:
        """Read anew which regions there are besides the one that is meant.

        Where the sample was mounted again, and its marks are not found yet, nobody knows what falls into a
        region.
        """
        samples = self._ledger.samples
        self._transform = samples.mounting(sample).transform
        budgets = ((region, samples.budget_or_none(region)) for region in samples.regions(sample))
        self._budgets = {region: budget for region, budget in budgets if budget and region != target}
        self._known = {}

    def holding(self, points_um: NDArray[np.float64]) -> Iterator[RegionOnStage]:
        """Yield the regions that some stage positions (point, 2) fall into."""
        for region in self._holding(points_um):
            if region not in self._known:
                exposures = self._ledger.exposures(region)
                self._known[region] = self._on_stage(region, self._budgets[region], exposures)
            yield self._known[region]

    def add(self, stage_um: Position, photons: float) -> None:
        """Add an exposure that the ledger has; a region that was not read yet will find it there."""
        for region in self._holding(np.array([stage_um])):
            if region in self._known:
                self._known[region].add(stage_um, photons)

    def _holding(self, points_um: NDArray[np.float64]) -> Iterator[Region]:
        if self._transform is None:
            return
        for region in self._budgets:
            if fall_into(region, self._transform, points_um).any():
                yield region
