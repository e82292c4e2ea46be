"""What a scan needs first: the probe, the beam centre, the background and the mask."""

from __future__ import annotations

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
from bluesky.utils import MsgGenerator

from ptycho_plugin.plans.arguments import (
    BackgroundRun,
    BeamlineArgument,
    ExposureSeconds,
    FrameCount,
    Metadata,
    PositionMicrometres,
    ProbeName,
    Transmission,
    checked,
)
from ptycho_plugin.plans.frame_analysis import beam_centre, trusted_pixels
from ptycho_plugin.plans.illumination import ZONE_PLATE, calibration_store
from ptycho_plugin.plans.scan import scan_as
from ptycho_plugin.plans.still_frames import RESULT_STREAM, at_place, still_frames
from ptycho_plugin.plans.stubs import record
from ptycho_plugin.plans.taken_frames import TakenFrames
from ptycho_plugin.reconstruction.options import ReconstructionOptions
from ptycho_plugin.trajectory import Trajectory


@checked
def probe_calibration(
    beamline: BeamlineArgument,
    *,
    trajectory: Trajectory | None = None,
    centre_um: PositionMicrometres = (0.0, 0.0),
    exposure_s: ExposureSeconds = 0.2,
    probe: ProbeName = ZONE_PLATE,
    options: ReconstructionOptions = ReconstructionOptions(),  # noqa: B008  frozen
    background_run: BackgroundRun | None = None,
    md: Metadata | None = None,
) -> MsgGenerator[str]:
    """Scan the test specimen, then come back to where the coarse stage was.

    The probe that is reconstructed from this run is one to keep (``purpose`` says so).

    Parameters
    ----------
    beamline : Beamline
        With a place "specimen".
    trajectory, centre_um, exposure_s, probe, options, background_run
        As for `ptycho_scan`.
    md : mapping, optional
        More entries for the start document, such as the slit gaps.

    Returns
    -------
    str
        The run's uid.

    Raises
    ------
    InputError, PreflightRefusal, PublishingError
        As from `ptycho_scan`; also where the beamline has no such place.
    """
    scan = scan_as(
        beamline,
        "probe_calibration",
        "probe_calibration",
        trajectory=trajectory,
        centre_um=centre_um,
        exposure_s=exposure_s,
        probe=probe,
        options=options,
        sample=None,
        background_run=background_run,
        md=md,
    )
    return (yield from at_place(beamline, "specimen", scan))


@checked
def find_beam_centre(
    beamline: BeamlineArgument,
    *,
    exposure_s: ExposureSeconds = 0.2,
    transmission: Transmission = 0.1,
    md: Metadata | None = None,
) -> MsgGenerator[str]:
    """Take one attenuated frame with the sample out, and set the beam centre found in it.

    The centre is set on the detector and kept in the run's stream "result".

    Parameters
    ----------
    beamline : Beamline
        With a place "empty".
    exposure_s : float
        In seconds.
    transmission : float
        Of the attenuator, which is set back afterwards.
    md : mapping, optional
        More entries for the start document.

    Returns
    -------
    str
        The run's uid.

    Raises
    ------
    InputError
        At the call, for an argument that cannot be used; from the run, where there is no beam
        in the frame or no such place.
    """
    detector = beamline.detector

    def set_centre(taken: TakenFrames) -> MsgGenerator[None]:
        row, column = beam_centre(next(taken.read()))
        yield from bps.mv(
            *(detector.beam_centre_row, row),
            *(detector.beam_centre_column, column),
            *(detector.beam_centre_measured, True),
        )
        yield from record([detector.beam_centre_row, detector.beam_centre_column], RESULT_STREAM)

    def attenuated() -> MsgGenerator[str]:
        yield from bps.mv(beamline.attenuator, transmission)
        return (
            yield from still_frames(
                beamline, "beam_centre", "find_beam_centre", 1, exposure_s, set_centre, md
            )
        )

    plan = bpp.reset_positions_wrapper(attenuated(), [beamline.attenuator])
    return (yield from at_place(beamline, "empty", plan))


@checked
def background_frames(
    beamline: BeamlineArgument,
    *,
    frames: FrameCount = 10,
    exposure_s: ExposureSeconds = 0.2,
    md: Metadata | None = None,
) -> MsgGenerator[str]:
    """Take frames with the sample out, and keep the mask of trusted pixels found in them.

    The mask leaves out what the detector marks and hot pixels. Its version is set on the
    detector, kept in the run's stream "result", and named by the scans that follow.

    Parameters
    ----------
    beamline : Beamline
        With a place "empty" and calibrations.
    frames : int
    exposure_s : float
        In seconds.
    md : mapping, optional
        More entries for the start document.

    Returns
    -------
    str
        The run's uid, for ``ptycho_scan(background_run=...)``.

    Raises
    ------
    InputError
        At the call, for an argument that cannot be used; from the run, where the beamline has
        no calibrations or no such place.
    PublishingError
        If the mask cannot be stored.
    """
    store = calibration_store(beamline)

    def keep_mask(taken: TakenFrames) -> MsgGenerator[None]:
        version = store.store_mask(trusted_pixels(taken.read()))
        yield from bps.mv(beamline.detector.mask_version, version)
        yield from record([beamline.detector.mask_version], RESULT_STREAM)

    plan = still_frames(beamline, "background", "background_frames", frames, exposure_s, keep_mask, md)
    return (yield from at_place(beamline, "empty", plan))
