"""Which probe a scan starts from."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ptycho_plugin.devices import Beamline
from ptycho_plugin.errors import InputError
from ptycho_plugin.metadata import ProbeSource, StoredProbe
from ptycho_plugin.optics import ZonePlate
from ptycho_plugin.publishing.calibrations import CalibrationStore, fit_probe

ZONE_PLATE = "zone_plate"
LATEST = "latest"


def probe_source(beamline: Beamline, wanted: str | None) -> ProbeSource:
    """Return the probe that a user names.

    Parameters
    ----------
    beamline : Beamline
    wanted : str, optional
        "zone_plate" for the model of the beamline's optic, "latest" for the last probe that
        was stored, or a stored probe's uid. By default the beamline's own start probe, else
        its zone plate.

    Raises
    ------
    InputError
        If the beamline has no zone plate, or no calibrations.
    PublishingError
        If no probe was ever stored.
    """
    wanted = wanted or beamline.start_probe or ZONE_PLATE
    if wanted == ZONE_PLATE:
        if beamline.optic is None:
            raise InputError(
                f"beamline {beamline.name} has no zone plate to model a probe from: "
                "name a stored probe, or give the beamline calibrations that hold one"
            )
        return beamline.optic
    store = calibration_store(beamline)
    return StoredProbe(uid=store.latest_probe().uid if wanted == LATEST else wanted)


def illumination(beamline: Beamline, source: ProbeSource) -> NDArray[np.complex64]:
    """Return a probe (mode, row, column) on the beamline's object pixels.

    Raises
    ------
    InputError
        If a stored probe is of another energy or distance.
    PublishingError
        If it is not in Tiled.
    """
    if isinstance(source, ZonePlate):
        return source.probe(beamline.geometry)
    probe, _ = fit_probe(calibration_store(beamline).probe(source.uid), beamline.geometry)
    return probe


def calibration_store(beamline: Beamline) -> CalibrationStore:
    """Return the beamline's calibrations, or raise `InputError` where it has none."""
    if beamline.calibrations is None:
        raise InputError(
            f"beamline {beamline.name} has no calibrations to find a probe, a mask or a background in: "
            "make it with calibrations=CalibrationStore(client)"
        )
    return beamline.calibrations
