"""How many photons on the sample a count of the flux monitor stands for."""

from __future__ import annotations

from datetime import UTC, datetime

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
import numpy as np
from bluesky.utils import MsgGenerator
from pydantic import ValidationError

from ptycho_plugin.checked_model import refusal
from ptycho_plugin.devices import Beamline
from ptycho_plugin.errors import InputError
from ptycho_plugin.flux import DetectionPath, FluxCalibration, calibrate
from ptycho_plugin.orientation import crop_window
from ptycho_plugin.plans.arguments import (
    BeamlineArgument,
    ExposureSeconds,
    Metadata,
    SeveralFrames,
    Transmission,
    checked,
)
from ptycho_plugin.plans.frame_analysis import beam_counts
from ptycho_plugin.plans.illumination import calibration_store
from ptycho_plugin.plans.still_frames import RESULT_STREAM, at_place, still_frames
from ptycho_plugin.plans.stubs import record
from ptycho_plugin.plans.taken_frames import TakenFrames


@checked
def calibrate_flux(
    beamline: BeamlineArgument,
    *,
    frames: SeveralFrames = 10,
    exposure_s: ExposureSeconds = 0.2,
    transmission: Transmission = 1.0,
    path: DetectionPath | None = None,
    md: Metadata | None = None,
) -> MsgGenerator[str]:
    """Compare the flux monitor with frames of the empty beam, and put the calibration in force.

    It is set on the monitor, so that the runs that follow say it, kept in this run's stream
    "result", and stored in the beamline's calibrations, if it has any.

    Parameters
    ----------
    beamline : Beamline
        With a place "empty".
    frames : int
        Two or more.
    exposure_s : float
        In seconds.
    transmission : float
        Of the attenuator, which is set back afterwards.
    path : DetectionPath, optional
        What takes photons before the detector counts them; by default the beamline's own.
    md : mapping, optional
        More entries for the start document.

    Returns
    -------
    str
        The run's uid.

    Raises
    ------
    InputError
        At the call, for an argument that cannot be used; from the run, where there is no such place
        or no beam, a pixel is saturated, too much of the beam is hidden, or the monitor is dead.
    PublishingError
        If the calibration cannot be stored.
    """

    def set_calibration(taken: TakenFrames) -> MsgGenerator[None]:
        calibration = yield from _calibration(
            beamline, taken, exposure_s, transmission, path or beamline.detection
        )
        if beamline.calibrations is not None:
            beamline.calibrations.store_flux(calibration)
        yield from bps.mv(beamline.flux.calibration, calibration.model_dump_json())
        yield from record([beamline.flux.calibration], RESULT_STREAM)

    def attenuated() -> MsgGenerator[str]:
        yield from bps.mv(beamline.attenuator, transmission)
        return (
            yield from still_frames(
                beamline, "flux_calibration", "calibrate_flux", frames, exposure_s, set_calibration, md
            )
        )

    plan = bpp.reset_positions_wrapper(attenuated(), [beamline.attenuator])
    return (yield from at_place(beamline, "empty", plan))


def calibration_in_force(beamline: Beamline) -> MsgGenerator[FluxCalibration]:
    """Return the monitor's calibration: the one that it was given, else the latest that is stored.

    Raises
    ------
    InputError
        If there is none, it cannot be read, or it is of another energy or gain.
    PublishingError
        If the calibrations cannot be reached.
    """
    given = yield from bps.rd(beamline.flux.calibration, default_value="")
    gain = yield from bps.rd(beamline.flux.gain, default_value=1.0)
    if given:
        calibration = _read(given, beamline.flux.calibration.name)
    elif beamline.calibrations is not None:
        calibration = beamline.calibrations.latest_flux()
    else:
        raise InputError(f"the flux monitor of {beamline.name} is not calibrated: run calibrate_flux first")
    calibration.check(beamline.geometry.energy_eV, gain)
    return calibration


def _read(given: str, signal: str) -> FluxCalibration:
    try:
        return FluxCalibration.model_validate_json(given)
    except ValidationError as error:
        reason = refusal(FluxCalibration.__name__, error, FluxCalibration.model_fields)
        raise InputError(f"{signal} holds no calibration: {reason}; run calibrate_flux") from None


def _calibration(
    beamline: Beamline, taken: TakenFrames, exposure_s: float, transmission: float, path: DetectionPath
) -> MsgGenerator[FluxCalibration]:
    detector = beamline.detector
    row = yield from bps.rd(detector.beam_centre_row)
    column = yield from bps.rd(detector.beam_centre_column)
    mask_version = yield from bps.rd(detector.mask_version)
    gain = yield from bps.rd(beamline.flux.gain)
    window = crop_window(
        (row, column), beamline.geometry.frame_side, detector.frame_shape, beamline.orientation
    )
    valid = (
        calibration_store(beamline).mask(mask_version)
        if mask_version
        else np.ones(detector.frame_shape, bool)
    )
    detected, missing = beam_counts(
        np.stack([frame[window] for frame in taken.read()]),
        valid[window],
        exposure_s,
        beamline.detector_limits,
    )
    return calibrate(
        taken.readings(beamline.flux.counts.name),
        detected,
        missing,
        path=path,
        energy_eV=beamline.geometry.energy_eV,
        gain=gain,
        transmission=transmission,
        exposure_s=exposure_s,
        run_uid=taken.run_uid,
        date=datetime.now(UTC),
    )
