"""Radiation dose: the energy that a scan leaves in the sample."""

from __future__ import annotations

from scipy import constants

from ptycho_plugin.errors import InputError
from ptycho_plugin.materials import Material


def mean_surface_dose(photons: float, area: float, energy_eV: float, material: Material) -> float:
    """Return the mean dose at the surface of a sample, in gray.

    Parameters
    ----------
    photons : float
        Photons that hit the area in total.
    area : float
        Scanned area in m2.
    energy_eV : float
        Photon energy in eV.
    material : Material
        What absorbs; the dose depends on its composition, not on its density or thickness.

    Raises
    ------
    InputError
        If the photons are negative or the area is not positive.

    Notes
    -----
    D = (photons / area) * E * (mu/rho), with photoabsorption alone: Howells et al., J. Electron
    Spectrosc. Relat. Phenom. 170, 4 (2009). It holds for a sample much thinner than its
    absorption length, and wherever photoelectrons (0.5 to 1 um) carry as much in as out.
    """
    if not photons >= 0:
        raise InputError(f"{photons} photons cannot be: give a number >= 0")
    if not area > 0:
        raise InputError(f"a scanned area of {area} m2 has no dose: give a positive area")
    return photons / area * energy_eV * constants.e * material.mass_photoabsorption(energy_eV)
