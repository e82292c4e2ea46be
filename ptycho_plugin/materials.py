"""Materials, and what X-rays meet in them.

Numbers come from xraydb (Chantler's and Elam's tables), which is imported when first asked.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, pi
from typing import Literal

from ptycho_plugin.errors import InputError
from ptycho_plugin.geometry import PHOTON_ENERGY_TIMES_WAVELENGTH_EV_M

G_PER_CM3 = 1e-3
"""Times kg/m3: the unit of xraydb."""


@dataclass(frozen=True, slots=True)
class Material:
    """A homogeneous material.

    Parameters
    ----------
    name : str
    formula : str
        Chemical formula such as ``"C5H8O2"``. It is read when first needed.
    density : float
        In kg/m3.

    Raises
    ------
    InputError
        If the density is not a positive number, or (from the methods) the formula is unknown.
    """

    name: str
    formula: str
    density: float

    def __post_init__(self) -> None:
        if not 0 < self.density < inf:
            raise InputError(f"{self.name}: density {self.density} kg/m3 must be a positive number")

    def delta(self, energy_eV: float) -> float:
        """Return the decrement of the refractive index n = 1 - delta + i beta."""
        return self._delta_beta(energy_eV)[0]

    def beta(self, energy_eV: float) -> float:
        """Return the imaginary part of the refractive index n = 1 - delta + i beta."""
        return self._delta_beta(energy_eV)[1]

    def log_transmission_per_m(self, energy_eV: float) -> complex:
        """Return -i k (delta - i beta): how the logarithm of a wave changes per metre, next to vacuum.

        Phase (imaginary part) and modulus (real part) both go down: exp(i(kz - wt)).
        """
        delta, beta = self._delta_beta(energy_eV)
        return -2j * pi * energy_eV / PHOTON_ENERGY_TIMES_WAVELENGTH_EV_M * complex(delta, -beta)

    def mass_photoabsorption(self, energy_eV: float) -> float:
        """Return the photoelectric mass absorption coefficient in m2/kg, scattering excluded."""
        return self._mass_coefficient(energy_eV, "photo")

    def mass_attenuation(self, energy_eV: float) -> float:
        """Return the total mass attenuation coefficient in m2/kg: photoabsorption and scattering."""
        return self._mass_coefficient(energy_eV, "total")

    def attenuation_length(self, energy_eV: float) -> float:
        """Return the thickness in metres after which 1/e of a beam is left, scattering included."""
        return 1 / (self.mass_attenuation(energy_eV) * self.density)

    def _mass_coefficient(self, energy_eV: float, kind: Literal["photo", "total"]) -> float:
        import xraydb

        self._check(energy_eV)
        density = self.density * G_PER_CM3
        per_cm = float(xraydb.material_mu(self.formula, energy_eV, density=density, kind=kind))
        return per_cm * 100 / self.density

    def _delta_beta(self, energy_eV: float) -> tuple[float, float]:
        import xraydb

        self._check(energy_eV)
        delta, beta, _ = xraydb.xray_delta_beta(self.formula, self.density * G_PER_CM3, energy_eV)
        return float(delta), float(beta)

    def _check(self, energy_eV: float) -> None:
        import xraydb

        if not 100 <= energy_eV <= 1e6:
            raise InputError(f"photon energy {energy_eV} eV is outside the tables: give 100 eV to 1 MeV")
        try:
            elements = xraydb.chemparse(self.formula)
        except ValueError as error:
            raise InputError(f"{self.name}: '{self.formula}' is not a chemical formula") from error
        if not elements:
            raise InputError(f"{self.name}: the chemical formula is empty")


PMMA = Material("PMMA", "C5H8O2", 1188.0)
PS = Material("PS", "C8H8", 1040.0)
CDSE = Material("CdSe", "CdSe", 5820.0)
CDS = Material("CdS", "CdS", 4826.0)
SI3N4 = Material("Si3N4", "Si3N4", 3170.0)
GOLD = Material("gold", "Au", 19300.0)
SILICON = Material("silicon", "Si", 2330.0)
HELIUM = Material("helium", "He", 0.1663)
"""At 20 degrees Celsius and one atmosphere."""
KAPTON = Material("Kapton", "C22H10N2O5", 1420.0)
