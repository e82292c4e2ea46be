"""Where the regions of a series are: areas of a sample, and places in each of them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Annotated, NamedTuple, Self

from pydantic import Field, model_validator

from ptycho_plugin.checked_model import CheckedModel
from ptycho_plugin.ledger.records import Name, Position


class Place(NamedTuple):
    """A region that is to be, and where the stage brings its centre into the beam."""

    area: str
    region: str
    stage_um: Position
    """(row, column), the coarse and the piezo stage's added."""


class RegionMatrix(CheckedModel):
    """Areas of a sample, regions in each of them, and repeats of each region: in this order.

    The default is the published protocol: two areas 7 mm apart, in each five regions 50 um apart, each
    scanned five times in a row.

    Parameters
    ----------
    areas, regions : sequence of str
        Their names; each area has all the regions.
    repeats : int
        Scans of each region.
    area_step_um, region_step_um : (float, float)
        From one area, and from one region, to the next, as (row, column) of the stage.
    first_um : (float, float), optional
        Stage position (row, column) of the first region's centre; by default the beamline's place "sample".
    reach_um : float
        Half the side of the square in which exposures count as a region's: the scan's own half side,
        and as far as the probe reaches.
    """

    areas: Annotated[tuple[Name, ...], Field(min_length=1)] = ("1", "2")
    regions: Annotated[tuple[Name, ...], Field(min_length=1)] = ("A", "B", "C", "D", "E")
    repeats: Annotated[int, Field(ge=1)] = 5
    area_step_um: Position = (0.0, 7000.0)
    region_step_um: Position = (0.0, 50.0)
    first_um: Position | None = None
    reach_um: Annotated[float, Field(gt=0, json_schema_extra={"units": "um"})] = 4.0

    @model_validator(mode="after")
    def _every_region_is_another(self) -> Self:
        for what, names in (("areas", self.areas), ("regions", self.regions)):
            if len(set(names)) < len(names):
                raise ValueError(f"{what} {', '.join(names)} have a name twice: give each its own")
        places = [place.stage_um for place in self.places((0.0, 0.0))]
        if len(set(places)) < len(places):
            raise ValueError(
                f"steps of {self.area_step_um} um and {self.region_step_um} um bring two regions to the same "
                "place: give steps that lead to another one"
            )
        return self

    def places(self, first_um: Position) -> Iterator[Place]:
        """Yield every region's place, in the order of the series.

        Parameters
        ----------
        first_um : (float, float)
            Stage position (row, column) of the first one.
        """
        for (i, area), (j, region) in product(enumerate(self.areas), enumerate(self.regions)):
            row, column = (
                first + i * area_step + j * region_step
                for first, area_step, region_step in zip(
                    first_um, self.area_step_um, self.region_step_um, strict=True
                )
            )
            yield Place(area, region, (row, column))
