"""What is measured, as far as a plan must know it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from ptycho_plugin.checked_model import CheckedModel
from ptycho_plugin.materials import PMMA, Material


class Sample(CheckedModel):
    """A sample's name, what absorbs in it, and its thickness."""

    name: str
    formula: str = PMMA.formula
    """Chemical formula of what takes the dose; by default PMMA."""
    density_kg_m3: Annotated[float, Field(gt=0, json_schema_extra={"units": "kg/m3"})] = PMMA.density
    thickness_um: Annotated[float, Field(gt=0, json_schema_extra={"units": "um"})] | None = None

    @property
    def material(self) -> Material:
        """What takes the dose."""
        return Material(self.formula, self.formula, self.density_kg_m3)
