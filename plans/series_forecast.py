"""What a series will cost: dose, time and data, said before anything moves."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ptycho_plugin.devices import Beamline
from ptycho_plugin.dose import GY_PER_KGY
from ptycho_plugin.errors import DoseRefusal
from ptycho_plugin.ledger import Budget, Ledger, Region
from ptycho_plugin.ledger.rigid import Position
from ptycho_plugin.plans.preflight_checks import BYTES_PER_PIXEL, DOSES_KGY, TIMES, in_unit
from ptycho_plugin.plans.region_on_stage import RegionOnStage, region_on_stage
from ptycho_plugin.plans.series_work import RegionWork

if TYPE_CHECKING:
    from rich.table import Table

DATA = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"))


@dataclass(frozen=True, slots=True)
class RegionForecast:
    """What is to come in one region.

    Parameters
    ----------
    region : Region
    budget : Budget
    repeats, points : int
        That are to be exposed.
    dose_before, dose_after : float
        Largest dose at any point, in Gy.
    fit : int
        How many of these repeats fit the budget, the last exposure at its upper bound.
    seconds : float
        Of its exposures, readouts and moves of the piezo stage.
    note : str
        Why something of it is not to be done.
    """

    region: Region
    budget: Budget
    repeats: int
    points: int
    dose_before: float
    dose_after: float
    fit: int
    seconds: float
    note: str

    @property
    def is_over(self) -> bool:
        """Whether it cannot end within its budget."""
        return self.fit < self.repeats


@dataclass(frozen=True, slots=True)
class SeriesForecast:
    """What is to come in a series.

    Parameters
    ----------
    sample : str
    regions : tuple of RegionForecast
        In their order.
    coarse_s : float
        Seconds that the coarse stage moves.
    without : tuple of str
        Stages whose speed the beamline does not know.
    bytes_at_most : float
        Of the frames, before compression.
    """

    sample: str
    regions: tuple[RegionForecast, ...]
    coarse_s: float
    without: tuple[str, ...]
    bytes_at_most: float

    @property
    def repeats(self) -> int:
        """That are to be exposed."""
        return sum(region.repeats for region in self.regions)

    @property
    def points(self) -> int:
        """That are to be exposed."""
        return sum(region.points for region in self.regions)

    @property
    def seconds(self) -> float:
        """Of exposures, readouts, and moves as far as they are known."""
        return self.coarse_s + sum(region.seconds for region in self.regions)

    def raise_refusal(self) -> None:
        """Raise `DoseRefusal` if a region cannot end within its budget, with what would fit."""
        over = [region for region in self.regions if region.is_over]
        if not over:
            return
        worst = min(over, key=lambda region: region.fit)
        before, after, budget = map(_dose, (worst.dose_before, worst.dose_after, worst.budget.dose))
        fit = f"{worst.fit} of them would fit" if worst.fit else "not one of them would fit"
        others = f" (and {len(over) - 1} more of the regions)" if len(over) > 1 else ""
        raise DoseRefusal(
            f"the series would take {worst.region}{others} to {after} in {worst.repeats} repeats, from "
            f"{before} so far, and {budget} in {worst.budget.material} are allowed, with room for what the "
            f"last exposure may exceed: {fit}; make fewer repeats, expose shorter, attenuate, or set another "
            "budget"
        )

    def to_metadata(self) -> dict[str, Any]:
        """Return it as JSON values."""
        regions = [
            {
                "area": one.region.area,
                "region": one.region.name,
                "repeats": one.repeats,
                "points": one.points,
                "peak_before_Gy": one.dose_before,
                "peak_after_Gy": one.dose_after,
                "budget_Gy": one.budget.dose,
                "material": one.budget.material,
                "note": one.note,
            }
            for one in self.regions
        ]
        return {
            "regions": regions,
            "repeats": self.repeats,
            "points": self.points,
            "seconds": self.seconds,
            "seconds_without_moves_of": list(self.without),
            "bytes_at_most": self.bytes_at_most,
        }

    def table(self) -> Table:
        """Return it for a terminal."""
        from rich.table import Table

        materials = ", ".join(sorted({region.budget.material for region in self.regions}))
        moves = (
            f"without moves of the {' and the '.join(self.without)} stage" if self.without else "and moves"
        )
        caption = (
            f"Largest dose at any point, in {materials}; time of exposures, readout {moves}; "
            f"at most {in_unit(self.bytes_at_most, DATA)} of frames, before compression"
        )
        table = Table(
            title=f"Dose series of '{self.sample}'",
            title_justify="left",
            caption=caption if self.points else "Nothing is left to be done",
            caption_justify="left",
            show_footer=True,
        )
        table.add_column("region", "total")
        for header, footer in (
            ("repeats", str(self.repeats)),
            ("points", str(self.points)),
            ("so far", ""),
            ("then", _dose(max(region.dose_after for region in self.regions))),
            ("budget", ""),
            ("time", in_unit(self.seconds, TIMES)),
        ):
            table.add_column(header, footer, justify="right", no_wrap=True)
        if any(region.note for region in self.regions):
            table.add_column("remark")
        for one in self.regions:
            table.add_row(
                f"{one.region.area} {one.region.name}",
                str(one.repeats),
                str(one.points),
                *(_dose(dose) for dose in (one.dose_before, one.dose_after, one.budget.dose)),
                in_unit(one.seconds, TIMES),
                *([one.note] if one.note else []),
                style="bold red" if one.is_over else "none",
            )
        return table


def forecast(
    beamline: Beamline,
    ledger: Ledger,
    work: tuple[RegionWork, ...],
    *,
    exposure_s: float,
    photons: float,
    coarse_um: Position,
    probe: NDArray[np.complexfloating],
) -> SeriesForecast:
    """Estimate what a series will cost, from its planned points.

    Parameters
    ----------
    beamline : Beamline
    ledger : Ledger
    work : tuple of RegionWork
        At least one.
    exposure_s : float
    photons : float
        Expected on the sample in each exposure.
    coarse_um : (float, float)
        Where the coarse stage (row, column) stands.
    probe : ndarray, (mode, row, column), complex
        On the object's pixels, at any scale.

    Raises
    ------
    DoseRefusal
        If a scan leaves its region.
    """
    regions = []
    for one in work:
        exposures = ledger.exposures(one.region)
        so_far = region_on_stage(beamline, ledger, one.region, one.budget, exposures, probe)
        so_far.check_reach(one.on_stage_um)
        others = [other.on_stage_um for other in work if other is not one]
        reaching = so_far.within_reach(np.concatenate([np.empty((0, 2)), *others]))
        regions.append(_region_forecast(beamline, one, so_far, reaching, exposure_s, photons))
    places = np.array([coarse_um, *(one.stage_um for one in work if one.repeats)])
    rows, columns = beamline.detector.frame_shape
    stages = {"piezo": beamline.stage_timing, "coarse": beamline.coarse_timing}
    return SeriesForecast(
        sample=work[0].region.sample,
        regions=tuple(regions),
        coarse_s=beamline.coarse_timing.path_s(places) if beamline.coarse_timing else 0.0,
        without=tuple(name for name, timing in stages.items() if timing is None),
        bytes_at_most=sum(one.points for one in regions) * rows * columns * BYTES_PER_PIXEL,
    )


def _region_forecast(
    beamline: Beamline,
    work: RegionWork,
    so_far: RegionOnStage,
    reaching_um: NDArray[np.float64],
    exposure_s: float,
    photons: float,
) -> RegionForecast:
    """Return what is to come in a region, into which exposures of its neighbours may reach."""

    def peak_after(repeats: int) -> float:
        own_um = replace(work, repeats=work.repeats[:repeats]).on_stage_um
        return so_far.peak_with(np.concatenate([own_um, reaching_um]), photons)

    repeats, peak = len(work.repeats), peak_after(len(work.repeats))
    fit, peak_of_fit = repeats, peak
    while fit and peak_of_fit > so_far.spendable(photons):
        fit -= 1
        peak_of_fit = peak_after(fit)
    return RegionForecast(
        region=work.region,
        budget=work.budget,
        repeats=repeats,
        points=len(work.points_um),
        dose_before=so_far.dose.peak,
        dose_after=peak,
        fit=fit,
        seconds=_seconds(beamline, work.points_um, exposure_s),
        note=work.note,
    )


def _seconds(beamline: Beamline, points_um: NDArray[np.float64], exposure_s: float) -> float:
    """Return how long points take, from the first exposure to the last."""
    shutter = beamline.shutter_timing
    cycle_s = shutter.commanded_s(exposure_s) + shutter.closing_lag_s + beamline.detector_limits.readout_s
    exposures_s = len(points_um) * max(cycle_s, beamline.trigger_period_s or 0.0)
    return exposures_s + (beamline.stage_timing.path_s(points_um) if beamline.stage_timing else 0.0)


def _dose(gray: float) -> str:
    return in_unit(gray / GY_PER_KGY, DOSES_KGY)
