"""Options of a reconstruction: frozen, validated, stored verbatim as provenance."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from ptycho_plugin.checked_model import CheckedModel
from ptycho_plugin.errors import InputError

Device = Literal["auto", "cpu", "gpu"]

MOST_PROBE_MODES = 20
"""A partly coherent beam is described by a few; each costs as much as the first."""
MOST_SLICES = 20
"""Slices closer than the depth of focus cannot be told apart."""


class ReconstructionOptions(CheckedModel):
    """The published recipe by default: 200 difference-map, then 100 likelihood iterations."""

    difference_map_iterations: Annotated[int, Field(ge=0)] = 200
    """Iterations of the difference map (Thibault 2009)."""
    least_squares_iterations: Annotated[int, Field(ge=0)] = 0
    """Iterations of least squares (Odstrcil 2018), the fast engine, which takes the difference map's place:
    while frames come in as well."""
    maximum_likelihood_iterations: Annotated[int, Field(ge=0)] = 100
    """Iterations of the maximum-likelihood refinement (Thibault and Guizar-Sicairos 2012)."""
    probe_modes: Annotated[int, Field(ge=1, le=MOST_PROBE_MODES)] = 1
    """Mutually incoherent probe modes."""
    noise: Literal["poisson", "gaussian"] = "poisson"
    """Whose likelihood is refined: the variance of counts is the model's, or the counts' own."""
    smoothness: Annotated[float, Field(ge=0)] = 0.0
    """1 / (2 d^2) where the maximum likelihood may expect neighbouring pixels of the transmission to differ
    by d, rms; 0 expects nothing. It belongs to the sample, and tells where photons are few."""
    estimate_background: bool = False
    """Whether every pixel may have counts besides the diffraction (scatter, dark counts), as many as the
    darkest part of a frame has on average; the engine before the maximum likelihood ignores it."""
    overlap_tolerance: Annotated[float, Field(gt=0)] = 0.05
    """Passes over object and probe in one difference-map iteration end when the probe changes by less
    than this share of its norm."""
    probe_support: Annotated[float, Field(gt=0, json_schema_extra={"units": "m"})] | None = None
    """Diameter, in metres, of the disc in the middle of its window that the probe is confined to."""
    position_tolerance: Annotated[float, Field(ge=0, json_schema_extra={"units": "m"})] = 0.0
    """How far a frame may lie from its measured position, in metres; 0 trusts the stage."""
    refine_intensities: bool = False
    """Whether every frame may have had more or less beam than the mean."""
    slices: Annotated[int, Field(ge=1, le=MOST_SLICES)] = 1
    """Slices of a thick sample; the difference map takes it for thin, the likelihood tells them apart."""
    slice_distance: Annotated[float, Field(ge=0, json_schema_extra={"units": "m"})] = 0.0
    """From one slice to the next, in metres."""
    probe_update_starts: Annotated[int, Field(ge=0)] = 2
    """First iterations, during which the start probe is trusted as it is."""
    frames_to_start: Annotated[int, Field(ge=1)] = 30
    """Frames that must be there before a live reconstruction starts."""
    frames_per_step: Annotated[int, Field(ge=1)] = 12
    """Frames that a live reconstruction then takes in at a time."""
    iterations_per_step: Annotated[int, Field(ge=1)] = 2
    """Iterations of a live reconstruction on each of these steps."""
    device: Device = "auto"
    """What computes: "auto" takes a graphics processor that works, else the processor."""

    @model_validator(mode="after")
    def _slices_are_apart(self) -> Self:
        if (self.slices > 1) != (self.slice_distance > 0):
            raise ValueError(
                f"slices = {self.slices} with slice_distance = {self.slice_distance:g} m: "
                "give several slices a distance in metres, or leave both out"
            )
        return self

    @model_validator(mode="after")
    def _likelihood_is_there(self) -> Self:
        its_own = ("slices", "smoothness", "position_tolerance", "refine_intensities")
        asked = [name for name in its_own if getattr(self, name) != type(self).model_fields[name].default]
        if asked and self.maximum_likelihood_iterations == 0:
            raise ValueError(
                f"{', '.join(asked)}: the maximum likelihood alone sees to it: "
                "give maximum_likelihood_iterations more than 0"
            )
        return self

    @model_validator(mode="after")
    def _one_engine_comes_first(self) -> Self:
        if self.difference_map_iterations and self.least_squares_iterations:
            raise ValueError(
                f"difference_map_iterations = {self.difference_map_iterations} with least_squares_iterations "
                f"= {self.least_squares_iterations}: one takes the other's place, set one of them to 0"
            )
        return self

    @property
    def first_engine(self) -> Literal["difference map", "least squares"]:
        """What iterates before maximum likelihood."""
        return "least squares" if self.least_squares_iterations else "difference map"

    @property
    def refines_frames(self) -> bool:
        """Whether anything is refined that belongs to one frame alone."""
        return self.position_tolerance > 0 or self.refine_intensities

    @property
    def first_iterations(self) -> int:
        """Iterations of the engine before maximum likelihood."""
        return self.difference_map_iterations + self.least_squares_iterations

    @property
    def iterations(self) -> int:
        """Iterations of the whole recipe."""
        return self.first_iterations + self.maximum_likelihood_iterations

    def check_near_field(self) -> None:
        """Refuse with `InputError` what cannot be found in near fields."""
        if self.estimate_background:
            raise InputError("estimate_background: no part of a near-field frame is dark; leave it out")
        if self.position_tolerance > 0:
            raise InputError("position_tolerance: positions are refined in the far field only; leave it out")
