"""What may end a region before its last repeat."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bluesky.utils import MsgGenerator

from ptycho_plugin.ledger import Exposures, Ledger, Region
from ptycho_plugin.plans.dose_account import RegionOnStage
from ptycho_plugin.postprocess.stopping import Verdict


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
        Largest dose in the region, in Gy in its budget's material, when the repeat began and when it ended.
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


def repeat_done(
    ledger: Ledger, region: Region, repeat: int, on_stage: Callable[[Exposures], RegionOnStage]
) -> RepeatDone:
    """Return what a stop rule is told of a repeat.

    Parameters
    ----------
    ledger : Ledger
    region : Region
    repeat : int
        With at least one exposure.
    on_stage : callable
        Returns the region's dose after some exposures.
    """
    runs = tuple(run.uid for run in ledger.scans.progress(region, repeat).runs)
    exposures = ledger.exposures(region)
    own = exposures.key[[uid in runs for uid in exposures.run_uid.tolist()]]
    before, after = exposures.key < own.min(), exposures.key <= own.max()
    doses = (on_stage(exposures.where(chosen)).dose.peak for chosen in (before, after))
    return RepeatDone(region, repeat, runs, *doses)
