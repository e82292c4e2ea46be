"""What may end a region before its last repeat."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from bluesky.utils import MsgGenerator, RunEngineControlException
from numpy.typing import NDArray
from rich.console import Console
from rich.markup import escape

from ptycho_plugin.devices import Beamline
from ptycho_plugin.errors import InputError
from ptycho_plugin.ledger import Exposures, Ledger, Region
from ptycho_plugin.plans.region_on_stage import region_on_stage
from ptycho_plugin.postprocess.stopping import Verdict

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RepeatDone:
    """A repeat whose last exposure is made.

    Parameters
    ----------
    region : Region
    repeat : int
    run_uids : tuple of str
        Of its runs, in their order: several, if it was interrupted. The last one may still be open.
    dose_before, dose_after : float
        Mean dose of the field that the first repeat scans, in Gy in its budget's material, when this one
        began and when it ended.
    photons : float
        On the sample, in the repeat.
    """

    region: Region
    repeat: int
    run_uids: tuple[str, ...]
    dose_before: float
    dose_after: float
    photons: float


StopRule = Callable[[RepeatDone], MsgGenerator[Verdict]]
"""A plan that says whether a region has had enough.

It is asked before the repeat's run is closed, so that its reason is in the stop document. Each call of
`dose_series` asks about all complete repeats of a region again, from the first on, before it adds one: what a
rule remembers of a region begins anew with a repeat that it knows already.
"""


class Watch:
    """Asks a stop rule, and closes regions in the ledger that have had enough.

    That a rule failed is told aloud, and it is not asked again: a view never ends a scan.

    Parameters
    ----------
    rule : StopRule or None
    beamline : Beamline
    ledger : Ledger
    probe : ndarray, (mode, row, column), complex
        On the object's pixels, at any scale.
    """

    def __init__(
        self,
        rule: StopRule | None,
        beamline: Beamline,
        ledger: Ledger,
        probe: NDArray[np.complexfloating],
    ) -> None:
        self._rule = rule
        self._beamline = beamline
        self._ledger = ledger
        self._probe = probe

    def judge(self, region: Region, repeat: int) -> MsgGenerator[str | None]:
        """Return why a region is closed after a repeat, or what became of the rule; None if it goes on."""
        if self._rule is None:
            return None
        try:
            done = self._repeat_done(region, repeat)
            reason = yield from _reason(self._rule(done))
        except RunEngineControlException:
            raise
        except Exception as error:
            self._rule = None
            logger.exception("the stop rule failed after repeat %d of %s", repeat, region)
            said = f"the stop rule failed: {type(error).__name__}: {error}"
            Console(stderr=True).print(
                escape(
                    f"After repeat {repeat} of {region} {said}.\nThe series goes on WITHOUT it: nothing "
                    "watches for damage any more, and the budget alone limits the dose."
                ),
                style="bold red",
            )
            return said
        if reason is not None:
            if self._ledger.scans.closed(region) is None:  # somebody may have, while the rule thought
                self._ledger.scans.close(region, reason, run_uid=done.run_uids[-1])
            Console().print(escape(f"Closed after repeat {repeat}: {region}. {reason}"))
        return reason

    def _repeat_done(self, region: Region, repeat: int) -> RepeatDone:
        exposures, budget = self._ledger.exposures(region), self._ledger.samples.budget(region)

        def made_in(runs: tuple[str, ...]) -> Exposures:
            return exposures.where(np.isin(exposures.run_uid, runs) & (exposures.status != "withdrawn"))

        def dose_of(chosen: NDArray[np.bool_]) -> float:
            these = exposures.where(chosen)
            so_far = region_on_stage(self._beamline, self._ledger, region, budget, these, self._probe)
            return so_far.dose.mean_over(field_um)

        runs, first_runs = self._runs(region, repeat), self._runs(region, 1)
        of_repeat, field_um = made_in(runs), made_in(first_runs or runs).start_um
        before, after = exposures.key < of_repeat.key.min(), exposures.key <= of_repeat.key.max()
        photons = float(of_repeat.photons.sum())
        return RepeatDone(region, repeat, runs, dose_of(before), dose_of(after), photons)

    def _runs(self, region: Region, repeat: int) -> tuple[str, ...]:
        return tuple(run.uid for run in self._ledger.scans.progress(region, repeat).runs)


def _reason(asked: MsgGenerator[Verdict]) -> MsgGenerator[str | None]:
    """Return why a rule stops, or None if it does not."""
    verdict = yield from asked
    if verdict.stop and not verdict.reason:
        raise InputError("it stops for no reason")
    return verdict.reason if verdict.stop else None
