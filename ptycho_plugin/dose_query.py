"""What a region has received so far, from the ledger: photons, dose, and what is left of its budget."""

from __future__ import annotations

from dataclasses import dataclass
from math import hypot, sqrt

import numpy as np
from numpy.typing import NDArray

from ptycho_plugin.dose import ELECTRON_RANGE, DoseModel, Photons
from ptycho_plugin.dose_map import DoseMap
from ptycho_plugin.errors import InputError
from ptycho_plugin.geometry import M_PER_UM
from ptycho_plugin.ledger import Budget, Exposures, Ledger, Region
from ptycho_plugin.materials import Material
from ptycho_plugin.region_dose import Illumination, RegionDose, budget_material

ANY_ENERGY_EV = 1e4
"""Of a region that was never exposed: its dose is 0 at any."""


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class DoseSoFar:
    """The dose of a region in one material, and what it is made of.

    Parameters
    ----------
    region : Region
    budget : Budget or None
    exposures : Exposures
        That count: all but those that were withdrawn.
    model : DoseModel
        With the material; its energy is that of the last exposure.
    illumination : Illumination
    map : DoseMap
        At the surface.
    fluence : ndarray, (row, column), float64
        Photons per m2 on the map's pixels.
    """

    region: Region
    budget: Budget | None
    exposures: Exposures
    model: DoseModel
    illumination: Illumination
    map: DoseMap
    fluence: NDArray[np.float64]

    @property
    def confirmed(self) -> Exposures:
        """Exposures that were done, and whose photons were counted."""
        return self.exposures.where(self.exposures.status == "done")

    @property
    def unconfirmed(self) -> Exposures:
        """Exposures that nobody has confirmed: they count at their upper bound."""
        return self.exposures.where(self.exposures.status != "done")

    @property
    def mean(self) -> float:
        """Dose at the surface in gray, averaged over the scanned field."""
        return float(self.map.dose[self._field].mean())

    @property
    def mean_fluence(self) -> float:
        """Photons per m2, averaged over the scanned field and, as the dose is, over the electrons' range."""
        spread = self.model.surface_dose(self.fluence, self.map.grid.pixel) / self.model.gray_per_fluence
        return float(spread[self._field].mean())

    @property
    def through_thickness(self) -> float | None:
        """The mean through the thickness over the dose at the surface; None where it is not stated.

        Of exposures of several energies, which go to different depths, it is that of their energy in all.
        """
        if self.model.thickness is None:
            return None
        energies, which = np.unique(self.exposures.energy_eV, return_inverse=True)
        models = [self.model.model_copy(update={"energy_eV": energy}) for energy in energies.tolist()]
        photons = np.bincount(which, self.exposures.photons, len(energies))
        left = photons * [model.gray_per_fluence for model in models]
        if not left.sum() > 0:
            return self.model.mean_to_surface
        return float(np.average([model.mean_to_surface for model in models], weights=left))

    @property
    def field_um(self) -> tuple[float, float]:
        """Height and width of the smallest rectangle that holds the points of all scans."""
        height, width = np.ptp(self._scanned, axis=0) / M_PER_UM
        return float(height), float(width)

    @property
    def _scanned(self) -> NDArray[np.float64]:
        """Points of the scans, (point, 2), or of whatever there is; the centre where there is nothing."""
        is_scan = self.exposures.kind == "scan"
        points = self.map.points[is_scan] if is_scan.any() else self.map.points
        return points if len(points) else np.zeros((1, 2))

    @property
    def _field(self) -> tuple[slice, slice]:
        return self.map.grid.rectangle(self._scanned)


def dose_so_far(
    ledger: Ledger,
    region: Region,
    illumination: Illumination,
    *,
    material: Material | None = None,
    thickness: float | None = None,
    electron_range: float = ELECTRON_RANGE,
) -> DoseSoFar:
    """Return what a region has received, as the guard counts it.

    Parameters
    ----------
    ledger : Ledger
        One that was opened to be read will do.
    region : Region
    illumination : Illumination
        `Illumination.point` where it is not known: the dose is then an upper bound.
    material : Material, optional
        By default the one of the region's budget.
    thickness : float, optional
        Of the sample in metres, for the mean through it; it needs a `material` with its density.
    electron_range : float
        In metres, as in `DoseModel`.

    Raises
    ------
    InputError
        If there is neither a material nor a budget, a thickness without a material, an unknown
        formula, or a point as illumination where no electrons blur it.
    LedgerError
        If the ledger cannot be read.
    """
    budget = ledger.samples.budget_or_none(region)
    if thickness is not None and material is None:
        raise InputError(f"the mean through {thickness:g} m of {region} needs a material and its density")
    if electron_range == 0 and illumination.probe.size == 1:
        raise InputError("a point of light that electrons do not blur has no largest dose: give a probe")
    if material is None:
        if budget is None:
            raise InputError(f"{region} has no budget that names a material: name one")
        material = budget_material(budget)
    found = ledger.exposures(region)
    exposures = found.where(found.status != "withdrawn")
    model = DoseModel(
        material=material,
        energy_eV=float(exposures.energy_eV[-1]) if len(exposures) else ANY_ENERGY_EV,
        thickness=thickness,
        electron_range=electron_range,
    )
    kept = RegionDose(region, model, exposures, illumination)
    return DoseSoFar(
        region=region,
        budget=budget,
        exposures=exposures,
        model=model,
        illumination=illumination,
        map=kept.map(exposures, budget),
        fluence=kept.fluence(exposures),
    )


def counted_photons(exposures: Exposures) -> Photons:
    """Return the photons of some exposures together, with their uncertainty.

    The error of a calibration is common to all that it counted: their shares of it add up linearly, those of
    several calibrations too, which have the detector's efficiency in common. Scatter and the shutter's
    jitter, which each exposure has of its own, add up in quadrature. Where the calibration's uncertainty
    is not known, or nobody has confirmed the exposure, all of its uncertainty counts as common.
    """
    all_common = np.isnan(exposures.calibration_sigma) | (exposures.status != "done")
    total = exposures.photons_uncertainty
    common = np.where(all_common, total, np.minimum(exposures.calibration_sigma * exposures.photons, total))
    own = np.sum(total**2 - common**2)
    return Photons(float(exposures.photons.sum()), hypot(float(common.sum()), sqrt(own)))
