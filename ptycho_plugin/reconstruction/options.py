"""Options of a reconstruction: frozen, validated, stored verbatim as provenance."""

from __future__ import annotations

from typing import Annotated, Literal

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
    noise: Literal["poisson", "gaussian"] = "poisson"
    """Whose likelihood is refined: the variance of counts is the model's, or the counts' own."""
    overlap_tolerance: Annotated[float, Field(gt=0)] = 0.05
    """Passes over object and probe in one difference-map iteration end when the probe changes by less
    than this share of its norm."""
    probe_support: Annotated[float, Field(gt=0, json_schema_extra={"units": "m"})] | None = None
    """Diameter, in metres, of the disc in the middle of its window that the probe is confined to."""
    position_tolerance: Annotated[float, Field(ge=0, json_schema_extra={"units": "m"})] = 0.0
    """How far a frame may lie from its measured position, in metres; 0 trusts the stage."""
    refine_intensities: bool = False
    """Whether every frame may have had more or less beam than the mean."""
    probe_update_starts: Annotated[int, Field(ge=0)] = 2
    """Difference-map iterations during which the start probe is trusted as it is."""
    frames_to_start: Annotated[int, Field(ge=1)] = 30
    """Frames that must be there before a live reconstruction starts."""

    @property
    def refines_frames(self) -> bool:
        """Whether anything is refined that belongs to one frame alone."""
        return self.position_tolerance > 0 or self.refine_intensities

    @property
    def iterations(self) -> int:
        """Iterations of the whole recipe."""
        return self.difference_map_iterations + self.maximum_likelihood_iterations
