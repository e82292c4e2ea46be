"""What a scan needs first: the probe, the beam centre, the background and the mask."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
from bluesky.utils import MsgGenerator

from ptycho_plugin.devices import Beamline
from ptycho_plugin.metadata import Purpose
from ptycho_plugin.plans.acquisition import acquire, scan_metadata, start_metadata
from ptycho_plugin.plans.arguments import (
    BeamlineArgument,
    ExposureSeconds,
    FrameCount,
    PositionMicrometres,
    Transmission,
    checked,
)
from ptycho_plugin.plans.frame_analysis import beam_centre, trusted_pixels
from ptycho_plugin.plans.illumination import ZONE_PLATE, calibration_store
from ptycho_plugin.plans.scan import scan_as
from ptycho_plugin.plans.stubs import expose_here, go_to, record
from ptycho_plugin.plans.taken_frames import TakenFrames
from ptycho_plugin.reconstruction.options import ReconstructionOptions
from ptycho_plugin.trajectory import RecordedPositions, Trajectory

RESULT_STREAM = "result"
"""Where a run keeps what was found in its frames."""


@checked
def probe_calibration(
    beamline: BeamlineArgument,
    *,
    trajectory: Trajectory | None = None,
    centre_um: PositionMicrometres = (0.0, 0.0),
    exposure_s: ExposureSeconds = 0.2,
    probe: str = ZONE_PLATE,
    options: ReconstructionOptions = ReconstructionOptions(),  # noqa: B008  frozen
    background_run: str | None = None,
    md: Mapping[str, Any] | None = None,
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
    return (yield from _at_place(beamline, "specimen", scan))


@checked
def find_beam_centre(
    beamline: BeamlineArgument,
    *,
    exposure_s: ExposureSeconds = 0.2,
    transmission: Transmission = 0.1,
    md: Mapping[str, Any] | None = None,
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
            yield from _frames(beamline, "beam_centre", "find_beam_centre", 1, exposure_s, set_centre, md)
        )

    plan = bpp.reset_positions_wrapper(attenuated(), [beamline.attenuator])
    return (yield from _at_place(beamline, "empty", plan))


@checked
def background_frames(
    beamline: BeamlineArgument,
    *,
    frames: FrameCount = 10,
    exposure_s: ExposureSeconds = 0.2,
    md: Mapping[str, Any] | None = None,
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

    plan = _frames(beamline, "background", "background_frames", frames, exposure_s, keep_mask, md)
    return (yield from _at_place(beamline, "empty", plan))


def _frames(
    beamline: Beamline,
    purpose: Purpose,
    plan_name: str,
    frames: int,
    exposure_s: float,
    evaluate: Callable[[TakenFrames], MsgGenerator[None]],
    md: Mapping[str, Any] | None,
) -> MsgGenerator[str]:
    """Take frames where the stages stand, and act on them before the run is closed."""
    row = yield from bps.rd(beamline.stage.y)
    column = yield from bps.rd(beamline.stage.x)
    scan = yield from scan_metadata(
        beamline,
        purpose,
        trajectory=RecordedPositions(points_um=((row, column),) * frames),
        centre_um=(0.0, 0.0),
        exposure_s=exposure_s,
        probe=None,
    )
    taken = TakenFrames()

    def exposures() -> MsgGenerator[None]:
        for _ in range(frames):
            yield from bps.checkpoint()
            yield from expose_here(beamline)
        yield from evaluate(taken)

    _md = {**start_metadata(beamline, scan, plan_name, frames), **(md or {})}
    return (yield from bpp.subs_wrapper(acquire(beamline, exposures(), exposure_s, _md), taken))


def _at_place(beamline: Beamline, place: str, plan: MsgGenerator[str]) -> MsgGenerator[str]:
    """Bring a place into the beam, run a plan, and go back, whatever happens."""

    def there() -> MsgGenerator[str]:
        yield from go_to(beamline, place)
        return (yield from plan)

    return (yield from bpp.reset_positions_wrapper(there(), [beamline.coarse.y, beamline.coarse.x]))
