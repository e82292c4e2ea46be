"""What a calibration of the simulated flux monitor would find, had it no noise."""

from __future__ import annotations

from datetime import UTC, datetime

from ptycho_plugin.flux import FluxCalibration
from ptycho_plugin.simulation.options import SimulationOptions


def true_calibration(
    options: SimulationOptions,
    energy_eV: float,
    exposure_s: float = 0.2,
    *,
    relative_sigma: float = 0.002,
    scatter: float = 0.005,
) -> FluxCalibration:
    """Return the calibration of a simulated beamline's flux monitor at gain 1, unattenuated.

    Parameters
    ----------
    options : SimulationOptions
        Of its world.
    energy_eV : float
    exposure_s : float
        Of the frames that it would have been found with.
    relative_sigma, scatter : float
        What it would say of its error, as in `FluxCalibration`.
    """
    counts_per_photon = options.monitor_counts_per_photon
    return FluxCalibration(
        photons_per_count=1 / counts_per_photon,
        relative_sigma=relative_sigma,
        scatter=scatter,
        counts_per_frame=counts_per_photon * options.photons_per_second * exposure_s,
        frames=10,
        exposure_s=exposure_s,
        energy_eV=energy_eV,
        gain=1.0,
        transmission=1.0,
        path=options.detection,
        run_uid="flux-run",
        date=datetime.now(UTC),
    )
