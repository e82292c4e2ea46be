"""Options of a restoration: frozen, validated, stored verbatim as provenance."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ptycho_plugin.checked_model import CheckedModel

Rule = Literal["discrepancy", "split_half"]


class RestorationOptions(CheckedModel):
    """The published point-spread function by default: a Gaussian of one pixel, FWHM 32 nm."""

    psf_sigma_px: Annotated[float, Field(ge=0, le=5, json_schema_extra={"units": "px"})] = 1.0
    """Standard deviation of the Gaussian point-spread function; 0 does not sharpen."""
    bilateral_ratio: Annotated[float, Field(ge=0)] = 0.1
    """Weight of the bilateral regularisation over that of the total variation; 0 leaves it out."""
    bilateral_reach_px: Annotated[int, Field(ge=1, le=5, json_schema_extra={"units": "px"})] = 2
    """Longest shift p, along rows and columns, at which pixels are compared."""
    bilateral_decay: Annotated[float, Field(gt=0, le=1)] = 0.5
    """The a of a^(|l| + |m|), by which a shift of (l, m) pixels counts."""
    rule: Rule = "split_half"
    """What chooses the strength: a residual as large as the noise, or how well two halves tell each other."""
    tolerance: Annotated[float, Field(gt=0, lt=1)] = 1e-3
    """Share of the objective that a better map could at most gain, at which iterations end."""
    max_iterations: Annotated[int, Field(ge=1)] = 500
    """After which they end in any case."""
