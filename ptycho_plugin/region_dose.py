"""The dose of a region, kept as a map to which exposures are added one by one."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import NDArray

from ptycho_plugin.dose import DoseModel, Grid, fluence_map, illumination_of
from ptycho_plugin.dose_map import DoseMap
from ptycho_plugin.geometry import M_PER_UM
from ptycho_plugin.ledger import Budget, Exposures, Region
from ptycho_plugin.materials import Material
from ptycho_plugin.orientation import PositionSign

ANY_DENSITY = 1000.0
"""In kg/m3: at the surface it does not matter."""
POINT_PIXEL = 25e-9
"""Of a map whose illumination is a point: much less than electrons travel."""


def budget_material(budget: Budget) -> Material:
    """Return the material that a budget is for, of any density: it says nothing about what is below."""
    return Material(budget.material, budget.formula, ANY_DENSITY)


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class Illumination:
    """How the photons of an exposure are shared among object pixels, and on which side of the centre.

    Parameters
    ----------
    probe : ndarray, (mode, row, column), complex
        Any scale.
    pixel : float
        Side of a pixel of probe and map in metres.
    position_sign : PositionSign
        Whether the stage carries the probe or the sample.
    source : str
        Where it is from, as a report says it.
    """

    probe: NDArray[np.complexfloating]
    pixel: float
    position_sign: PositionSign = PositionSign.PROBE
    source: str = ""

    @property
    def is_point(self) -> bool:
        """Whether all photons fall on the centre: then each dose is an upper bound."""
        return self.probe.shape[-2:] == (1, 1)

    @classmethod
    def point(cls, position_sign: PositionSign = PositionSign.PROBE) -> Illumination:
        """Return one in which all photons fall on the centre, where the illumination is not known.

        No dose is larger with the true one: a mean over places is at most what the worst place takes.
        """
        return cls(
            probe=np.ones((1, 1, 1), np.complex64),
            pixel=POINT_PIXEL,
            position_sign=position_sign,
            source="a point, for want of a stated one, so that each dose is an upper bound",
        )


@dataclass(frozen=True, slots=True)
class Overdose:
    """What an exposure would do where it goes farthest beyond the budget, in Gy."""

    so_far: float
    by_exposure: float


class RegionDose:
    """Dose at the surface of a region in one material, at every point that its photons reach.

    To add an exposure costs its own window only, and gives what `DoseModel.surface_dose` of the
    fluence of all exposures gives.

    Parameters
    ----------
    region : Region
    model : DoseModel
        The material, and the energy of the exposures to come; those so far have their own.
    exposures : Exposures
        Of the region, so far.
    illumination : Illumination
    """

    def __init__(
        self, region: Region, model: DoseModel, exposures: Exposures, illumination: Illumination
    ) -> None:
        self._illumination = illumination_of(illumination.probe)
        corners = np.array([-1.0, 1.0])[:, None, None] * np.full((2, 2), region.reach_um * M_PER_UM)
        self.grid = Grid.covering(corners, self._illumination.shape, illumination.pixel, model.reach)
        self._sign = illumination.position_sign
        self._model = model
        self._dose = np.zeros(self.grid.shape)
        for at_eV in np.unique(exposures.energy_eV).tolist():
            then = exposures.where(exposures.energy_eV == at_eV)
            self._dose += self._dose_of(_paths_um(then), then.photons, at_eV)
        self._one_photon, self._centre = _dose_of_one_photon(self._illumination, model, illumination.pixel)

    @property
    def peak(self) -> float:
        """Largest dose so far, in Gy."""
        return float(self._dose.max())

    @property
    def dose(self) -> NDArray[np.float64]:
        """The map in Gy, (row, column), on `grid`, from the region's centre."""
        return self._dose.copy()

    def mean_over(self, from_centre_um: NDArray[np.float64]) -> float:
        """Return the mean dose, in Gy, of the smallest rectangle that holds some places (place, 2)."""
        places = self._sign.to_probe_positions(from_centre_um) * M_PER_UM
        return float(self._dose[self.grid.rectangle(places)].mean())

    def of_one(self, photons: float) -> float:
        """Return the largest dose of one exposure, in Gy."""
        return photons * float(self._one_photon.max())

    def fluence(self, exposures: Exposures) -> NDArray[np.float64]:
        """Return the photons per m2 that some exposures brought to each pixel of the grid."""
        if not len(exposures):
            return np.zeros(self.grid.shape)
        return self._fluence(_paths_um(exposures), exposures.photons)

    def map(self, exposures: Exposures, budget: Budget | None) -> DoseMap:
        """Return the map as it is drawn, with the places of the exposures that it is of."""
        counted = exposures.where(exposures.status != "withdrawn")
        return DoseMap(
            dose=self.dose,
            grid=self.grid,
            points=self._sign.to_probe_positions(counted.positions_um) * M_PER_UM,
            peak=self.peak,
            material=self._model.material.name,
            electron_range=self._model.electron_range,
            budget=budget.dose if budget else None,
        )

    def add(self, from_centre_um: tuple[float, float], photons: float) -> None:
        """Add an exposure at a position (row, column) from the region's centre."""
        here, added = self._window(from_centre_um)
        self._dose[here] += photons * added

    def overdose(
        self, from_centre_um: tuple[float, float], photons: float, budget: Budget
    ) -> Overdose | None:
        """Return what an exposure would do at the worst point, or None if it stays within the budget."""
        here, added = self._window(from_centre_um)
        after = self._dose[here] + photons * added
        if after.max(initial=0.0) <= budget.dose:
            return None
        worst = np.unravel_index(np.argmax(after), after.shape)
        return Overdose(float(self._dose[here][worst]), float(photons * added[worst]))

    def peak_with(self, from_centre_um: NDArray[np.float64], photons: float) -> float:
        """Return what the largest dose would be, in Gy, with so many photons more at each position."""
        paths_um = np.stack([from_centre_um, from_centre_um], axis=1)
        return self.peak_along(paths_um, np.full(len(paths_um), photons))

    def peak_along(self, paths_um: NDArray[np.float64], photons: NDArray[np.float64]) -> float:
        """Return what the largest dose would be, in Gy, with more photons along paths (path, 2, 2)."""
        if not len(paths_um):
            return self.peak
        return float((self._dose + self._dose_of(paths_um, photons, self._model.energy_eV)).max())

    def _dose_of(
        self, paths_um: NDArray[np.float64], photons: NDArray[np.float64], energy_eV: float
    ) -> NDArray[np.float64]:
        model = self._model.model_copy(update={"energy_eV": energy_eV})
        return model.surface_dose(self._fluence(paths_um, photons), self.grid.pixel)

    def _fluence(self, paths_um: NDArray[np.float64], photons: NDArray[np.float64]) -> NDArray[np.float64]:
        paths = self._sign.to_probe_positions(paths_um) * M_PER_UM
        return fluence_map(self._illumination, paths, photons, self.grid)

    def _window(self, from_centre_um: tuple[float, float]) -> tuple[tuple[slice, slice], NDArray[np.float64]]:
        """Return the part of the map that a photon there reaches, and the dose that it leaves."""
        place = self._sign.to_probe_positions(from_centre_um) * M_PER_UM
        place_px = (place - self.grid.corner) / self.grid.pixel
        nearest = np.floor(place_px)
        added = _shifted(self._one_photon, *(place_px - nearest).tolist())
        first = (nearest - self._centre).astype(np.int64)
        begin = np.clip(first, 0, self.grid.shape)
        end = np.clip(first + added.shape, 0, self.grid.shape)
        on_map, inside = (
            (slice(low[0], high[0]), slice(low[1], high[1]))
            for low, high in ((begin, end), (begin - first, end - first))
        )
        return on_map, added[inside]


def _paths_um(exposures: Exposures) -> NDArray[np.float64]:
    """Return where exposures began and ended, (exposure, 2, 2), from the origin that was asked about."""
    return np.stack([exposures.start_um, exposures.end_um], axis=1)


def _dose_of_one_photon(
    illumination: NDArray[np.float64], model: DoseModel, pixel: float
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the dose of one photon in Gy, with a rim of zeros, and the pixel that it is centred on."""
    rim = ceil(model.reach / pixel) + 1
    one_photon = model.surface_dose(np.pad(illumination, rim) / pixel**2, pixel)
    one_photon[[0, -1]] = one_photon[:, [0, -1]] = 0.0
    return one_photon, np.array(illumination.shape) // 2 + rim


def _shifted(image: NDArray[np.float64], row: float, column: float) -> NDArray[np.float64]:
    """Return an image with a rim of zeros, shared among pixels as in `fluence_map`, a part of a pixel on."""
    rows = image.copy()
    rows[1:] += row * (image[:-1] - image[1:])
    both = rows.copy()
    both[:, 1:] += column * (rows[:, :-1] - rows[:, 1:])
    return both
