"""The paragraph on dose of a paper's methods section: only what was counted or computed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.metadata import version
from math import floor, log10

import numpy as np

from ptycho_plugin.dose import GY_PER_KGY
from ptycho_plugin.dose_query import DoseSoFar, counted_photons
from ptycho_plugin.geometry import M_PER_UM
from ptycho_plugin.ledger import Exposures, Region

TABLES = "Elam, Ravel and Sieber, Radiat. Phys. Chem. 63, 121 (2002)"
"""Where xraydb's mass photoabsorption coefficients are from."""
CM2_PER_G = 10.0
"""Times m2/kg."""
G_PER_CM3 = 1e-3
"""Times kg/m3."""
EV_PER_KEV = 1e3


def dose_paragraph(found: DoseSoFar, others: Sequence[DoseSoFar] = ()) -> str:
    """Return what a paper says of a region's dose.

    Parameters
    ----------
    found : DoseSoFar
        In the material that fills the sample.
    others : sequence of DoseSoFar
        The same in more materials.
    """
    if not len(found.exposures):
        return unexposed(found.region)
    return " ".join(
        [
            *_exposed(found),
            *_model(found),
            *_doses(found),
            *(_other(other) for other in others),
            *_budget(found),
            *_doubts(found),
        ]
    )


def unexposed(region: Region) -> str:
    """Return what a paper says of a region that took no photon."""
    return f"{_capital(region)} has not been exposed."


def _exposed(found: DoseSoFar) -> Iterator[str]:
    done = found.confirmed
    if not len(done):
        yield f"{_capital(found.region)} has no exposure that anybody has confirmed."
        return
    photons = counted_photons(done)
    monitors = _listed(f"the flux monitor '{name}'" for name in np.unique(done.monitor).tolist())
    yield (
        f"{_capital(found.region)} was exposed {_times(len(done))} {_when(done)} ({_kinds(done)}), "
        f"with the shutter open for {done.open_s.sum():.4g} s in all."
    )
    energies = np.unique(done.energy_eV).tolist()
    yield (
        f"It received {_power(photons.number, photons.sigma)} photons of {_kiloelectronvolts(energies)}, "
        f"counted by {monitors}, which had been calibrated against the detector in the empty beam at "
        f"{'this energy' if len(energies) == 1 else 'these energies'} "
        f"({_calibrations(done)})."
    )
    yield _uncertainty(np.unique(done.calibration_sigma).tolist())
    relative = photons.sigma / photons.number if photons.number else 0.0
    if _has_field(found):
        height, width = found.field_um
        per_um2 = found.mean_fluence * M_PER_UM**2
        yield (
            f"Over the scanned field of {height:.3g} x {width:.3g} µm the mean fluence was "
            f"{_power(per_um2, relative * per_um2)} photons/µm²."
        )


def _uncertainty(of_calibrations: Sequence[float]) -> str:
    if np.isnan(of_calibrations).any():
        return "How much of this uncertainty is the calibration's was not recorded: all was added linearly."
    per_cent = _listed(f"{100 * sigma:.2g} %" for sigma in of_calibrations)
    return (
        f"The calibration's relative uncertainty, {per_cent}, is common to all its exposures and was added "
        "linearly, the scatter from exposure to exposure and the shutter's jitter in quadrature."
    )


def _model(found: DoseSoFar) -> Iterator[str]:
    yield (
        "The dose was computed as fluence times photon energy times the mass photoabsorption coefficient of "
        f"{_coefficient(found)} ({TABLES}, as of xraydb {version('xraydb')}), and blurred by a Gaussian "
        f"with a full width at half maximum of {found.model.electron_range / M_PER_UM:g} µm for the range of "
        "the photoelectrons."
    )
    yield f"The illumination was {found.illumination.source or 'not described'}."


def _doses(found: DoseSoFar) -> Iterator[str]:
    sentence = f"At the surface {_peak_and_mean(found, 1.0)}"
    if found.through_thickness is not None and found.model.thickness is not None:
        material = found.model.material
        sentence += (
            f"; averaged through {found.model.thickness / M_PER_UM:g} µm of {material.name} "
            f"({material.density * G_PER_CM3:g} g/cm³), in which the beam weakens by total attenuation, "
            f"{_peak_and_mean(found, found.through_thickness)}"
        )
    yield f"{sentence}."
    if len(found.confirmed):
        yield (
            "These uncertainties are the photons', one standard deviation; the coefficient's is not included."
        )


def _peak_and_mean(found: DoseSoFar, factor: float) -> str:
    peak, mean = (_kilogray(found, factor * dose) for dose in (found.map.peak, found.mean))
    on_average = f" and {mean} on average over the field" if _has_field(found) else ""
    return f"it was {peak} where it was largest{on_average}"


def _has_field(found: DoseSoFar) -> bool:
    """Return whether the points span an area."""
    return min(found.field_um) > 0


def _other(found: DoseSoFar) -> str:
    return (
        f"{_coefficient(found)} that fills the sample would take {_kilogray(found, found.map.peak)} at the "
        "surface where it is largest; from particles much smaller than the electrons' range most energy "
        "leaves, so that for them this is an upper bound."
    )


def _budget(found: DoseSoFar) -> Iterator[str]:
    if found.budget is None or found.budget.formula != found.model.material.formula:
        return
    left = (found.budget.dose - found.map.peak) / GY_PER_KGY
    budget = f"its budget of {found.budget.dose / GY_PER_KGY:.4g} kGy in {found.budget.material}"
    is_bound = found.illumination.is_point
    if left >= 0:
        yield f"Of {budget}, {'at least ' if is_bound else ''}{left:.4g} kGy are left."
    else:
        yield f"It {'may be up to' if is_bound else 'is'} {-left:.4g} kGy over {budget}."


def _doubts(found: DoseSoFar) -> Iterator[str]:
    doubtful, unplaced = found.unconfirmed, found.exposures.unplaced
    if len(doubtful):
        photons = _power(float(doubtful.photons.sum()))
        yield (
            f"Nobody has confirmed {_number(len(doubtful), more=len(found.confirmed) > 0)} that began: the "
            "doses hold the upper bound, "
            f"{photons} photons."
        )
    else:
        yield "Every exposure was confirmed."
    if unplaced:
        yield (
            f"Not counted: {_number(unplaced, more=True)} of the sample that may lie here, made since it "
            "was mounted again and before its marks were found."
        )


def _coefficient(found: DoseSoFar) -> str:
    """Return a material with its coefficient at the energy, or the energies, of the exposures."""
    material, energies = found.model.material, np.unique(found.exposures.energy_eV).tolist()
    values = (
        f"{material.mass_photoabsorption(energy) * CM2_PER_G:.4g} cm²/g at {energy / EV_PER_KEV:.4g} keV"
        for energy in energies
    )
    return f"{material.name} ({material.formula}, {_listed(values)})"


def _kilogray(found: DoseSoFar, dose: float) -> str:
    photons = counted_photons(found.confirmed)
    relative = photons.sigma / photons.number if photons.number else 0.0
    return f"{_measured(dose / GY_PER_KGY, relative * dose / GY_PER_KGY)} kGy"


def _kinds(done: Exposures) -> str:
    scans, alignment, transits = (done.where(done.kind == kind) for kind in ("scan", "alignment", "transit"))
    parts = []
    if len(scans):
        runs = len(np.unique(scans.run_uid))
        parts.append(f"{len(scans)} in {runs} run{_s(runs)} of scans")
    if len(alignment):
        parts.append(f"{len(alignment)} for alignment")
    if len(transits):
        parts.append(f"{len(transits)} ways between points")
    return _listed(parts)


def _calibrations(done: Exposures) -> str:
    keys, first = np.unique(done.calibration, return_index=True)
    dates = done.calibrated[first]
    return _listed(
        f"run {key} of {np.datetime_as_string(date, 'D')}" for key, date in zip(keys, dates, strict=True)
    )


def _kiloelectronvolts(energies: Sequence[float]) -> str:
    return _listed(f"{energy / EV_PER_KEV:.4g} keV" for energy in energies)


def _measured(value: float, sigma: float) -> str:
    """Return a number with its uncertainty, which has two significant digits."""
    if not sigma > 0:
        return f"{value:.4g}"
    decimals = max(0, 1 - floor(log10(sigma)))
    return f"{value:.{decimals}f} ± {sigma:.{decimals}f}"


def _power(value: float, sigma: float = 0.0) -> str:
    """Return a large number with its uncertainty, as digits times a power of ten."""
    if not value > 0:
        return "0"
    exponent = floor(log10(value))
    digits = _measured(value / 10**exponent, sigma / 10**exponent)
    return f"{f'({digits})' if sigma > 0 else digits} x 10^{exponent}"


def _capital(region: Region) -> str:
    said = str(region)
    return said[:1].upper() + said[1:]


def _when(done: Exposures) -> str:
    (day, first), (last_day, last) = (
        str(np.datetime_as_string(time, "m")).split("T") for time in (done.opened.min(), done.closed.max())
    )
    return f"from {day} {first} to {last if day == last_day else f'{last_day} {last}'} UTC"


def _listed(parts: Iterator[str] | Sequence[str]) -> str:
    *before, last = parts
    return f"{', '.join(before)} and {last}" if before else last


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number} times"


def _s(number: int) -> str:
    return "" if number == 1 else "s"


def _number(number: int, *, more: bool) -> str:
    return f"{number}{' more' * more} exposure{_s(number)}"
