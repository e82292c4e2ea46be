"""How each repeat of a series is scanned."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from bluesky.utils import MsgGenerator
from numpy.typing import NDArray
from rich.console import Console

from ptycho_plugin.devices import Beamline
from ptycho_plugin.ledger import Ledger, Region
from ptycho_plugin.metadata import ProbeSource
from ptycho_plugin.plans.guard import DoseGuard
from ptycho_plugin.plans.preflight import Preflight
from ptycho_plugin.plans.ready_scan import ReadyScan, made_ready, make
from ptycho_plugin.plans.sample import Sample
from ptycho_plugin.plans.series_work import Protocol
from ptycho_plugin.reconstruction.options import ReconstructionOptions

PLAN_NAME = "dose_series"
MIDDLE_UM = (0.0, 0.0)
"""Of the piezo stage: the coarse stage brings a region's centre there."""


@dataclass(eq=False)
class RepeatScan:
    """Scans repeats where the coarse stage stands, all of them in the same way.

    Parameters
    ----------
    beamline : Beamline
    ledger : Ledger
    protocol : Protocol
    source : ProbeSource
        Where the reconstructions start from.
    probe : ndarray, (mode, row, column), complex
        The same, on the object's pixels, for the dose.
    sample : Sample, optional
    options : ReconstructionOptions
    background_run : str, optional
    again : bool
        Whether to expose again what may have been exposed, or left no frame.
    """

    beamline: Beamline
    ledger: Ledger
    protocol: Protocol
    source: ProbeSource
    probe: NDArray[np.complexfloating]
    sample: Sample | None
    options: ReconstructionOptions
    background_run: str | None
    again: bool
    _told: set[str] = field(default_factory=set)
    """Warnings that a user has seen."""

    def check(self) -> MsgGenerator[None]:
        """Print what the preflight of the first repeat says, and raise what it refuses."""
        scan = yield from self._ready(1)
        self._tell(scan.report, always=True)
        scan.report.raise_refusals()

    def __call__(
        self,
        region: Region,
        repeat: int,
        md: Mapping[str, Any],
        last: Callable[[], MsgGenerator[str | None]],
    ) -> MsgGenerator[str]:
        """Scan what is left of a repeat, with a guard, and return the run's uid."""
        guard = DoseGuard(self.beamline, self.ledger, region, probe=self.probe, repeat=repeat)
        scan = yield from self._ready(repeat, guard)
        self._tell(scan.report)
        return (yield from make(self.beamline, scan, PLAN_NAME, md=md, guard=guard, last=last))

    def _ready(self, repeat: int, guard: DoseGuard | None = None) -> MsgGenerator[ReadyScan]:
        return (
            yield from made_ready(
                self.beamline,
                "scan",
                trajectory=self.protocol.trajectory_of(repeat),
                centre_um=MIDDLE_UM,
                exposure_s=self.protocol.exposure_s,
                probe=self.source,
                options=self.options,
                sample=self.sample,
                background_run=self.background_run,
                guard=guard,
                again=self.again and guard is not None,
            )
        )

    def _tell(self, report: Preflight, *, always: bool = False) -> None:
        """Print a preflight, where it warns of something that none before it did."""
        said = {finding.sentence for level in ("warning", "refusal") for finding in report.of_level(level)}
        if always or said - self._told:
            Console().print(report.table())
        self._told |= said
