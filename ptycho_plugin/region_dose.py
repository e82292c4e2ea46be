"""The dose of a region, kept as a map to which exposures are added one by one."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import NDArray

from ptycho_plugin.dose import DoseModel, Grid, fluence_map, illumination_of
from ptycho_plugin.geometry import M_PER_UM
from ptycho_plugin.ledger import Budget, Exposures, Region
from ptycho_plugin.materials import Material
from ptycho_plugin.orientation import PositionSign

ANY_DENSITY = 1000.0
"""In kg/m3: at the surface it does not matter."""


@dataclass(frozen=True, slots=True)
class Overdose:
    """What an exposure would do where it goes farthest beyond the budget, in Gy."""

    so_far: float
    by_exposure: float


class RegionDose:
    """Dose at the surface of a region in its budget's material, at every point that its photons reach.

    To add an exposure costs its own window only, and gives what `DoseModel.surface_dose` of the
    fluence of all exposures gives.

    Parameters
    ----------
    region : Region
    budget : Budget
    exposures : Exposures
        Of the region, so far.
    probe : ndarray, (mode, row, column), complex
        Any scale.
    pixel : float
        Side of a pixel of probe and map in metres.
    energy_eV : float
        Of the exposures to come; those so far have their own.
    electron_range : float
        In metres.
    position_sign : PositionSign
        Whether the stage carries the probe or the sample.
    """

    def __init__(
        self,
        region: Region,
        budget: Budget,
        exposures: Exposures,
        *,
        probe: NDArray[np.complexfloating],
        pixel: float,
        energy_eV: float,
        electron_range: float,
        position_sign: PositionSign,
    ) -> None:
        model = DoseModel(
            material=Material(budget.material, budget.formula, ANY_DENSITY),
            energy_eV=energy_eV,
            electron_range=electron_range,
        )
        self._illumination = illumination_of(probe)
        corners = np.array([-1.0, 1.0])[:, None, None] * np.full((2, 2), region.reach_um * M_PER_UM)
        self.budget = budget
        self.grid = Grid.covering(corners, self._illumination.shape, pixel, model.reach)
        self._sign = position_sign
        self._model = model
        self._dose = np.zeros(self.grid.shape)
        for at_eV in np.unique(exposures.energy_eV).tolist():
            then = exposures.where(exposures.energy_eV == at_eV)
            paths_um = np.stack([then.start_um, then.end_um], axis=1)
            self._dose += self._dose_of(paths_um, then.photons, at_eV)
        self._one_photon, self._centre = _dose_of_one_photon(self._illumination, model, pixel)

    @property
    def peak(self) -> float:
        """Largest dose so far, in Gy."""
        return float(self._dose.max())

    @property
    def dose(self) -> NDArray[np.float64]:
        """The map in Gy, (row, column), on `grid`, from the region's centre."""
        return self._dose.copy()

    def add(self, from_centre_um: tuple[float, float], photons: float) -> None:
        """Add an exposure at a position (row, column) from the region's centre."""
        here, added = self._window(from_centre_um)
        self._dose[here] += photons * added

    def overdose(self, from_centre_um: tuple[float, float], photons: float) -> Overdose | None:
        """Return what an exposure would do at the worst point, or None if it stays within the budget."""
        here, added = self._window(from_centre_um)
        after = self._dose[here] + photons * added
        if after.max(initial=0.0) <= self.budget.dose:
            return None
        worst = np.unravel_index(np.argmax(after), after.shape)
        return Overdose(float(self._dose[here][worst]), float(photons * added[worst]))

    def peak_with(self, from_centre_um: NDArray[np.float64], photons: float) -> float:
        """Return what the largest dose would be, in Gy, with so many photons more at each position."""
        if not len(from_centre_um):
            return self.peak
        paths_um = np.stack([from_centre_um, from_centre_um], axis=1)
        added = self._dose_of(paths_um, np.full(len(paths_um), photons), self._model.energy_eV)
        return float((self._dose + added).max())

    def _dose_of(
        self, paths_um: NDArray[np.float64], photons: NDArray[np.float64], energy_eV: float
    ) -> NDArray[np.float64]:
        paths = self._sign.to_probe_positions(paths_um) * M_PER_UM
        fluence = fluence_map(self._illumination, paths, photons, self.grid)
        model = self._model.model_copy(update={"energy_eV": energy_eV})
        return model.surface_dose(fluence, self.grid.pixel)

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
