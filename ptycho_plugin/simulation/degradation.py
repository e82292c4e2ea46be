"""A simulated sample that dies of radiation: what it transmits falls with the dose that it received."""

from __future__ import annotations

from math import ceil

import numpy as np
from numpy.typing import NDArray

from ptycho_plugin.dose import DoseModel
from ptycho_plugin.geometry import Geometry
from ptycho_plugin.simulation.specimens import RadiationSensitive

PUBLISHED_FLUENCE = 324 * 1e6 / (4e-6) ** 2
"""Photons per m2 of one repeat of the published scan: what a dose of one repeat comes from."""
CRITICAL_REPEATS = (10.0, 60.0)
"""Range of the critical dose: a tenth of the contrast is gone after one to six repeats."""
SIZE_LOST = 0.1
"""Part of the features' size that is gone at the critical dose."""
STEP = 0.5
"""Critical doses from one computed size of the features to the next; between two, their logarithms are
interpolated. On the film in the standard geometry that is wrong by 0.3 % of the contrast, rms."""
LAST_STEP = 18
"""Features do not vanish: beyond nine critical doses, where contrast is 1e-4, they shrink no more."""


def critical_repeats(rng: np.random.Generator) -> float:
    """Return a critical dose in repeats of the published scan, drawn evenly from `CRITICAL_REPEATS`."""
    return float(rng.uniform(*CRITICAL_REPEATS))


def repeats_per_photon(
    illumination: NDArray[np.float64], pixel: float, model: DoseModel
) -> NDArray[np.float64]:
    """Return the dose of an exposure of one photon, in repeats of the published scan.

    Parameters
    ----------
    illumination : ndarray, (row, column), float64
        Part of the photons on each pixel, from `illumination_of`.
    pixel : float
        In metres.
    model : DoseModel
        Its electrons spread the dose; its material does not matter, as every repeat has the same.

    Returns
    -------
    ndarray, (row, column), float64
        Dose on the illumination's own window: 0.1 % of the standard geometry's, carried out of it by
        electrons, is left out.
    """
    dose = model.surface_dose(illumination / pixel**2, pixel)
    return dose / (model.gray_per_fluence * PUBLISHED_FLUENCE)


class DegradingTransmission:
    """The transmission of a sample whose contrast falls as exp(-D/Dc), its features' size as 1 - D/(10 Dc).

    D is the dose of each pixel, blurred by the photoelectrons' range, and Dc the critical dose. The
    contrast is the standard deviation of the phase: matter that shrinking features lose is given back,
    so that shrinking alone does not change it. An exposure sees the sample as the ones before it left it.

    Parameters
    ----------
    sample : RadiationSensitive
    shape : (int, int)
        Rows and columns of its field.
    geometry : Geometry
        Whose object pixel the field is in.
    dose : ndarray, (row, column), float64
        Of one photon, in critical doses: `repeats_per_photon` over the critical repeats.
    """

    def __init__(
        self,
        sample: RadiationSensitive,
        shape: tuple[int, int],
        geometry: Geometry,
        dose: NDArray[np.float64],
    ) -> None:
        self._sample, self._geometry = sample, geometry
        self._of_photon = dose.astype(np.float32)
        self._dose = np.zeros(shape, np.float32)
        self.transmission = sample.transmission(shape, geometry.object_pixel, geometry.energy_eV).copy()
        """(row, column), complex64, as the sample is now."""
        self._logarithms = [np.log(self.transmission)]

    def receive(self, centre_px: NDArray[np.float64], photons: float) -> None:
        """Add the dose of one exposure.

        Parameters
        ----------
        centre_px : ndarray, (2,), float64
            Pixel (row, column) of the probe's centre; its fraction is nothing to a dose that electrons
            spread.
        photons : float
        """
        here, of_photon = self._windows(np.rint(centre_px).astype(int))
        self._dose[here] += np.float32(photons) * self._of_photon[of_photon]
        self._degrade(here)

    def _windows(self, centre: NDArray[np.int_]) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
        """Return what an exposure has in common with the field: in the field, and in the exposure."""
        shape = np.array(self._of_photon.shape)
        corner = centre - shape // 2
        low = np.clip(corner, 0, self._dose.shape)
        high = np.clip(corner + shape, 0, self._dose.shape)
        return tuple(map(slice, low, high)), tuple(map(slice, low - corner, high - corner))

    def _degrade(self, here: tuple[slice, ...]) -> None:
        dose = self._dose[here]
        steps = np.minimum(dose / STEP, LAST_STEP)
        last = ceil(steps.max(initial=0.0))
        while len(self._logarithms) <= last:
            self._logarithms.append(self._shrunk(len(self._logarithms)))
        logarithm = self._logarithms[0][here]
        for step in range(last):
            change = self._logarithms[step + 1][here] - self._logarithms[step][here]
            logarithm = logarithm + np.clip(steps - step, 0, 1) * change
        self.transmission[here] = np.exp(np.exp(-dose) * logarithm)

    def _shrunk(self, steps: int) -> NDArray[np.complex64]:
        """Return the logarithm of the transmission with smaller features, of unchanged contrast."""
        pixel, energy_eV = self._geometry.object_pixel, self._geometry.energy_eV
        smaller = self._sample.shrunk(1 - SIZE_LOST * STEP * steps)
        logarithm = np.log(smaller.transmission(self._dose.shape, pixel, energy_eV))
        fresh, left = self._logarithms[0].imag.std(), logarithm.imag.std()
        return logarithm * (fresh / left) if left > 0 else logarithm
