"""What the process that judges is asked, apart from it: who asks need not load what answers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from ptycho_plugin.checked_model import CheckedModel
from ptycho_plugin.postprocess.stopping import StopCriteria
from ptycho_plugin.reconstruction.options import ReconstructionOptions

RECIPE = ReconstructionOptions(
    difference_map_iterations=0,
    least_squares_iterations=40,
    maximum_likelihood_iterations=20,
    probe_update_starts=0,
)
"""One for all repeats, so that what it gets wrong is alike in all."""


class MeasuredRepeat(CheckedModel):
    """Where a repeat's exposures are, and what the ledger says of its dose."""

    run: Path
    """Folder of its last run in the spool, which names those that it continues."""
    dose_before: float
    """Of the region when the repeat began, in Gy."""
    dose_after: float
    photons: Annotated[float, Field(gt=0)]
    """On the sample."""


class Question(CheckedModel):
    """Whether a region has had enough."""

    repeats: Annotated[tuple[MeasuredRepeat, ...], Field(min_length=1)]
    """All of the region so far, in order."""
    criteria: StopCriteria
    recipe: ReconstructionOptions = RECIPE
