"""Options of a reconstruction: frozen, validated, stored verbatim as provenance."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from ptycho_plugin.checked_model import CheckedModel

MOST_PROBE_MODES = 20
"""A partly coherent beam is described by a few; each costs as much as the first."""


class ReconstructionOptions(CheckedModel):
    """The published recipe by default: 200 difference-map, then 100 likelihood iterations."""

    difference_map_iterations: Annotated[int, Field(ge=0)] = 200
    """Iterations of the difference map (Thibault 2009)."""
    maximum_likelihood_iterations: Annotated[int, Field(ge=0)] = 100
    """Iterations of the maximum-likelihood refinement (Thibault and Guizar-Sicairos 2012)."""
    probe_modes: Annotated[int, Field(ge=1, le=MOST_PROBE_MODES)] = 1
    """Mutually incoherent probe modes."""
    probe_update_starts: Annotated[int, Field(ge=0)] = 2
    """Difference-map iterations during which the start probe is trusted as it is."""
    frames_to_start: Annotated[int, Field(ge=1)] = 30
    """Frames that must be there before a live reconstruction starts."""

    @property
    def iterations(self) -> int:
        """Iterations of the whole recipe."""
        return self.difference_map_iterations + self.maximum_likelihood_iterations
