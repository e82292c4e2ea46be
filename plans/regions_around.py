"""The regions that an exposure falls into, whichever it is meant for: each has a budget of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from ptycho_plugin.ledger import Budget, Ledger, Region
from ptycho_plugin.ledger.rigid import Position, RigidTransform
from ptycho_plugin.plans.region_on_stage import RegionOnStage


class RegionsAround:
    """Regions of a sample that have a budget; the dose of each is read when an exposure first falls into it.

    Parameters
    ----------
    ledger : Ledger
    read : callable
        Returns a region's dose so far.
    """

    def __init__(self, ledger: Ledger, read: Callable[[Region, Budget], RegionOnStage]) -> None:
        self._ledger = ledger
        self._read = read
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
                self._known[region] = self._read(region, self._budgets[region])
            yield self._known[region]

    def add(self, stage_um: Position, photons: float) -> None:
        """Add an exposure that the ledger has; a region that was not read yet will find it there."""
        for region in self._holding(np.array([stage_um])):
            if region in self._known:
                self._known[region].add(stage_um, photons)

    def _holding(self, points_um: NDArray[np.float64]) -> Iterator[Region]:
        if self._transform is None:
            return
        places = [self._transform.to_sample((row, column)) for row, column in points_um.tolist()]
        for region in self._budgets:
            from_centre_um = np.abs(np.subtract(places, region.centre_um))
            if (from_centre_um.max(axis=1, initial=0.0) <= region.reach_um).any():
                yield region
