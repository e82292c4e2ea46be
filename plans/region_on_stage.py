"""A region's dose, where it lies on the stage now."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ptycho_plugin.devices import Beamline
from ptycho_plugin.dose import ELECTRON_RANGE, GY_PER_KGY, DoseModel
from ptycho_plugin.errors import DoseRefusal
from ptycho_plugin.ledger import Budget, Exposures, Intent, Ledger, Region
from ptycho_plugin.ledger.rigid import Position, RigidTransform
from ptycho_plugin.plans.preflight_checks import Finding
from ptycho_plugin.plans.trajectory_light import TrajectoryLight
from ptycho_plugin.region_dose import Illumination, RegionDose, budget_material

LAST_EXPOSURE = 0.2
"""Part of an exposure's dose by which its upper bound may lie above what is expected of it. A scan that is
planned without this room would be refused at its last points, and the dose of all others be wasted."""


@dataclass(frozen=True, slots=True)
class RegionOnStage:
    """A region's dose, where it lies on the stage now."""

    region: Region
    budget: Budget
    dose: RegionDose
    transform: RigidTransform

    def from_centre_um(self, stage_um: Position) -> Position:
        """Return a stage position (row, column) along the sample's axes, from the region's centre."""
        row, column = self._places(np.array([stage_um]))[0].tolist()
        return row, column

    def edge_um(self) -> list[Position]:
        """Return where the middles of the region's four sides lie on the stage."""
        (row, column), reach = self.region.centre_um, self.region.reach_um
        sides = ((row - reach, column), (row + reach, column), (row, column - reach), (row, column + reach))
        return [self.transform.to_stage(side) for side in sides]

    def add(self, stage_um: Position, photons: float) -> None:
        """Add an exposure."""
        self.dose.add(self.from_centre_um(stage_um), photons)

    def check_reach(self, points_um: NDArray[np.float64]) -> None:
        """Raise `DoseRefusal` for a scan that leaves the region."""
        farthest = float(np.abs(self._places(points_um)).max(initial=0.0))
        if farthest > self.region.reach_um:
            row, column = self.transform.to_stage(self.region.centre_um)
            raise DoseRefusal(
                f"the scan goes {farthest:.2f} um from the centre of {self.region}, which reaches "
                f"{self.region.reach_um:g} um: bring the region into the beam, with coarse and piezo stage "
                f"together at ({row:g}, {column:g}) um, or scan a smaller field"
            )

    def check_scan(self, points_um: NDArray[np.float64], photons: float) -> Finding:
        """Return what a scan's exposures in the region take, or raise `DoseRefusal` if it is too much."""
        budget = self.budget
        peak = self.peak_with(self.within_reach(points_um), photons)
        before, after, allowed, kept = (
            dose / GY_PER_KGY for dose in (self.dose.peak, peak, budget.dose, self.kept_back(photons))
        )
        if peak > self.spendable(photons):
            raise DoseRefusal(
                f"the scan would take {self.region} to {after:.4g} kGy, from {before:.4g} kGy so far, and "
                f"{allowed:.4g} kGy in {budget.material} are allowed, {kept:.2g} of them for what its last "
                "exposure may exceed: expose shorter, attenuate, or set another budget"
            )
        sentence = (
            f"it takes {self.region} from {before:.4g} to {after:.4g} kGy, {allowed:.4g} kGy in "
            f"{budget.material} are allowed"
        )
        return Finding("budget", after, "kGy", sentence, allowed, "ok")

    def check_light(self, light: TrajectoryLight, expected_per_s: float, most_per_s: float) -> Finding:
        """Return what of a trajectory falls into the region, or raise `DoseRefusal` if it may be too much.

        It cannot be held up between two points to ask again: the budget has room for its upper bound.

        Parameters
        ----------
        light : TrajectoryLight
            In stage positions.
        expected_per_s, most_per_s : float
            Photons on the sample in a second, as expected, and at most.
        """
        inside = np.any(
            [fall_into(self.region, self.transform, ends) for ends in light.paths_um.swapaxes(0, 1)], axis=0
        )
        places = self._places(light.paths_um[inside].reshape(-1, 2)).reshape(-1, 2, 2)
        before, after, most, allowed = (
            dose / GY_PER_KGY
            for dose in (
                self.dose.peak,
                *(
                    self.dose.peak_along(places, per_s * light.seconds[inside])
                    for per_s in (expected_per_s, most_per_s)
                ),
                self.budget.dose,
            )
        )
        if most > allowed:
            raise DoseRefusal(
                f"the trajectory may take {self.region} to {most:.4g} kGy, from {before:.4g} kGy so far, and "
                f"{allowed:.4g} kGy in {self.budget.material} are allowed; {light.seconds.sum():.3g} s with "
                f"an open shutter are reserved, {light.transit_s:.3g} s of them between its points: expose "
                "shorter, attenuate, scan point by point, or set another budget"
            )
        sentence = (
            f"it takes {self.region} from {before:.4g} to {after:.4g} kGy, of which up to {most:.4g} are "
            f"reserved; {allowed:.4g} kGy in {self.budget.material} are allowed"
        )
        return Finding("budget", after, "kGy", sentence, allowed, "ok")

    def spendable(self, photons: float) -> float:
        """Return what of the budget, in Gy, exposures of so many photons may be planned with."""
        return self.budget.dose - self.kept_back(photons)

    def kept_back(self, photons: float) -> float:
        """Return what of the budget, in Gy, is kept for the upper bound of the last exposure."""
        return LAST_EXPOSURE * self.dose.of_one(photons)

    def peak_with(self, points_um: NDArray[np.float64], photons: float) -> float:
        """Return the largest dose, in Gy, with so many photons more at each stage position (point, 2)."""
        return self.dose.peak_with(self._places(points_um), photons)

    def within_reach(self, points_um: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return those of some stage positions (point, 2) whose exposures count as the region's."""
        return points_um[fall_into(self.region, self.transform, points_um)]

    def _places(self, points_um: NDArray[np.float64]) -> NDArray[np.float64]:
        return _from_centre_um(self.region, self.transform, points_um)

    def check(self, intent: Intent) -> None:
        """Raise `DoseRefusal` for an exposure that would go over the budget."""
        place = self.from_centre_um(intent.start_um)
        overdose = self.dose.overdose(place, intent.photons_at_most, self.budget)
        if overdose is not None:
            so_far, more, budget = (
                f"{gray / GY_PER_KGY:.4g} kGy"
                for gray in (overdose.so_far, overdose.by_exposure, self.budget.dose)
            )
            raise DoseRefusal(
                f"point {intent.point} would take {self.region} over its budget in "
                f"{self.budget.material}: {so_far} so far, up to {more} by this exposure, {budget} "
                "allowed; expose elsewhere, or set another budget"
            )


def fall_into(region: Region, transform: RigidTransform, points_um: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which stage positions (point, 2) hold exposures that count as a region's, (point,)."""
    from_centre_um = np.abs(_from_centre_um(region, transform, points_um))
    return np.asarray(from_centre_um.max(axis=1, initial=0.0) <= region.reach_um)


def _from_centre_um(
    region: Region, transform: RigidTransform, points_um: NDArray[np.float64]
) -> NDArray[np.float64]:
    places = [transform.to_sample((row, column)) for row, column in points_um.tolist()]
    return np.array(places).reshape(-1, 2) - region.centre_um


def region_on_stage(
    beamline: Beamline,
    ledger: Ledger,
    region: Region,
    budget: Budget,
    exposures: Exposures,
    probe: NDArray[np.complexfloating],
    electron_range: float = ELECTRON_RANGE,
) -> RegionOnStage:
    """Return the dose of a region after some exposures, where it lies on a beamline's stage now."""
    transform = ledger.samples.mounting(region.sample).located()
    model = DoseModel(
        material=budget_material(budget),
        energy_eV=beamline.geometry.energy_eV,
        electron_range=electron_range,
    )
    illumination = Illumination(
        probe=probe, pixel=beamline.geometry.object_pixel, position_sign=beamline.position_sign
    )
    return RegionOnStage(region, budget, RegionDose(region, model, exposures, illumination), transform)
