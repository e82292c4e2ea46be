"""The flux monitor's calibration: how many photons on the sample one of its counts stands for."""

from __future__ import annotations

from datetime import datetime
from math import exp, hypot, inf, isclose, sqrt
from typing import Annotated

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import AwareDatetime, Field

from ptycho_plugin.checked_model import CheckedModel
from ptycho_plugin.dose import Photons
from ptycho_plugin.errors import InputError
from ptycho_plugin.geometry import is_same_energy
from ptycho_plugin.materials import HELIUM, KAPTON, SILICON, Material

GAIN_TOLERANCE = 1e-6
"""Relative: gains are steps, and a float may have been printed."""

NotNegative = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]


class Layer(CheckedModel):
    """A sheet of a material, or a length of a gas, in the beam."""

    material: Material
    thickness: Positive
    """In metres."""

    def transmission(self, energy_eV: float) -> float:
        """Return the part of the beam that goes straight through; what is scattered does not."""
        return exp(-self.thickness / self.material.attenuation_length(energy_eV))

    def absorption(self, energy_eV: float) -> float:
        """Return the part of the beam that photoelectrons take up; what is scattered is not counted.

        Notes
        -----
        mu_photo / mu (1 - exp(-mu t)), where mu is the total attenuation coefficient.
        """
        share = self.material.mass_photoabsorption(energy_eV) / self.material.mass_attenuation(energy_eV)
        return share * (1 - self.transmission(energy_eV))


class DetectionPath(CheckedModel):
    """What lies between the sample and the counts of a detector's pixels."""

    sensor: Layer | None = Layer(material=SILICON, thickness=320e-6)
    """What stops the photons; without one, all that arrive are counted."""
    between: tuple[Layer, ...] = (
        Layer(material=KAPTON, thickness=25e-6),
        Layer(material=HELIUM, thickness=2.2),
        Layer(material=KAPTON, thickness=25e-6),
    )
    """By default a helium flight tube and its windows; air beside it can be added."""
    relative_sigma: NotNegative = 0.01
    """Standard uncertainty of the efficiency, over the efficiency: of thicknesses and tables."""

    def efficiency(self, energy_eV: float) -> float:
        """Return the counts of the detector for one photon on an empty sample place."""
        arriving = float(np.prod([layer.transmission(energy_eV) for layer in self.between]))
        return arriving * (self.sensor.absorption(energy_eV) if self.sensor else 1.0)


LOSSLESS = DetectionPath(sensor=None, between=(), relative_sigma=0.0)
"""Every photon is counted."""


class FluxCalibration(CheckedModel):
    """Photons on the sample for each count of the monitor, as of a day, an energy and a gain.

    It is JSON like any pydantic model: ``model_dump_json`` and ``model_validate_json``.
    """

    photons_per_count: Positive
    relative_sigma: NotNegative
    """Standard uncertainty of `photons_per_count`, over it; shared by all photons that are told by it."""
    scatter: NotNegative
    """Relative standard deviation from frame to frame: what one exposure adds to that."""
    counts_per_frame: Positive
    """Of the monitor, on the average; fewer of them scatter more, as counts do."""
    frames: Annotated[int, Field(ge=2)]
    exposure_s: Positive
    """Of one frame."""
    energy_eV: Positive
    gain: Positive
    """Of the monitor."""
    transmission: Annotated[float, Field(gt=0, le=1)]
    """Of the attenuator."""
    path: DetectionPath
    run_uid: str
    """The run that holds the frames."""
    date: AwareDatetime

    @property
    def photons_per_s(self) -> float:
        """Photons on the sample in a second, unattenuated, as there were on that day."""
        return self.photons_per_count * self.counts_per_frame / self.exposure_s / self.transmission

    def photons(self, counts: float) -> Photons:
        """Return the photons on the sample while the monitor counted, with their uncertainty.

        Raises
        ------
        InputError
            If the counts are negative or missing (not a number).
        """
        if not 0 <= counts < inf:
            raise InputError(f"the flux monitor counted {counts}: check it, a count is a finite number >= 0")
        shared = self.relative_sigma * counts
        own = self.scatter * sqrt(self.counts_per_frame * counts)
        return Photons(self.photons_per_count * counts, self.photons_per_count * hypot(shared, own))

    def check(self, energy_eV: float, gain: float) -> None:
        """Refuse to tell photons at another energy or gain.

        Raises
        ------
        InputError
            It names both.
        """
        remedy = f"run calibrate_flux again, the last one is of {self.date:%Y-%m-%d %H:%M}"
        if not is_same_energy(energy_eV, self.energy_eV):
            raise InputError(
                f"the flux monitor was calibrated at {self.energy_eV:.6g} eV, the beam has "
                f"{energy_eV:.6g} eV: {remedy}"
            )
        if not isclose(gain, self.gain, rel_tol=GAIN_TOLERANCE):
            raise InputError(
                f"the flux monitor was calibrated at gain {self.gain:g}, it is at {gain:g}: {remedy}"
            )


def calibrate(
    monitor: ArrayLike,
    detected: NDArray[np.float64],
    missing: float,
    *,
    path: DetectionPath,
    energy_eV: float,
    gain: float,
    transmission: float,
    exposure_s: float,
    run_uid: str,
    date: datetime,
) -> FluxCalibration:
    """Relate the monitor's counts to empty-beam frames of the detector.

    Parameters
    ----------
    monitor : array, (frame,)
        Counts of the monitor during each frame.
    detected : ndarray, (frame,), float64
        Photons counted in the whole beam, in each frame.
    missing : float
        Part of them that was not measured but filled in: all of it counts as uncertain.
    path : DetectionPath
    energy_eV, gain, transmission, exposure_s, run_uid, date
        As `FluxCalibration` keeps them.

    Raises
    ------
    InputError
        If there are fewer than two frames, or monitor or detector counted nothing in one of them.

    Notes
    -----
    photons per count = sum(detected) / (efficiency sum(monitor)), the estimate that is best for
    counts. Its statistical uncertainty is the frames' spread over the square root of their number,
    or the counting noise 1 / sqrt(sum(detected)) where few frames happen to agree better than that.
    """
    counts = np.asarray(monitor, np.float64)
    if not (len(counts) == len(detected) >= 2):
        raise InputError(f"{len(detected)} frames and {len(counts)} monitor counts: give two or more of both")
    for name, values in (("flux monitor", counts), ("detector", detected)):
        if not (np.isfinite(values).all() and values.min() > 0):
            raise InputError(f"the {name} counted {values.min():g} in a frame of the empty beam: check it")
    ratios = detected / counts
    scatter = float(ratios.std(ddof=1) / ratios.mean())
    statistical = max(scatter / sqrt(len(counts)), 1 / sqrt(detected.sum()))
    return FluxCalibration(
        photons_per_count=float(detected.sum() / counts.sum()) / path.efficiency(energy_eV),
        relative_sigma=hypot(statistical, missing, path.relative_sigma),
        scatter=scatter,
        counts_per_frame=float(counts.mean()),
        frames=len(counts),
        exposure_s=exposure_s,
        energy_eV=energy_eV,
        gain=gain,
        transmission=transmission,
        path=path,
        run_uid=run_uid,
        date=date,
    )
