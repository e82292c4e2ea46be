"""A ptychographic scan by one hardware-timed trajectory."""

from __future__ import annotations

from bluesky.utils import MsgGenerator

from ptycho_plugin.plans.arguments import (
    BackgroundRun,
    BeamlineArgument,
    ExposureSeconds,
    Metadata,
    PositionMicrometres,
    ProbeName,
    checked,
)
from ptycho_plugin.plans.continuation import Again
from ptycho_plugin.plans.guard import DoseGuard
from ptycho_plugin.plans.sample import Sample
from ptycho_plugin.plans.scan import scan_as
from ptycho_plugin.reconstruction.options import ReconstructionOptions
from ptycho_plugin.trajectory import Trajectory


@checked
def ptycho_fly_scan(
    beamline: BeamlineArgument,
    *,
    trajectory: Trajectory | None = None,
    centre_um: PositionMicrometres = (0.0, 0.0),
    exposure_s: ExposureSeconds = 0.2,
    probe: ProbeName | None = None,
    options: ReconstructionOptions = ReconstructionOptions(),  # noqa: B008  frozen
    sample: Sample | None = None,
    background_run: BackgroundRun | None = None,
    guard: DoseGuard | None = None,
    again: Again = False,
    md: Metadata | None = None,
) -> MsgGenerator[str]:
    """Scan the sample as `ptycho_scan` does, but in one go: hardware moves the stage and triggers the camera.

    The shutter is open from the first exposure to the last, so that the sample takes a dose between the
    points, which the preflight tells. A guard reserves all of it, at its upper bound, before the scanner is
    armed. Documents, live reconstruction and what Tiled gives back are those of a step scan; either goes on
    with a repeat that the other began.

    A pause stops the trajectory before its next gate and closes the shutter; on resume, another one goes on
    with the points that are left, in the same run.

    Parameters
    ----------
    beamline : Beamline
        With a scanner.
    trajectory, centre_um, exposure_s, probe, options, sample, background_run, guard, again, md
        As for `ptycho_scan`.

    Returns
    -------
    str
        The run's uid.

    Raises
    ------
    InputError
        As from `ptycho_scan`; also if the beamline has no scanner, or does not say how fast its stage moves.
    LostFrameError
        If the camera took more or fewer frames than it was triggered: what is certain is kept, the rest is
        on disk and in the stream "unmatched", and its dose is counted.
    PreflightRefusal, DoseRefusal, LedgerError, StalledPlanError, PublishingError
        As from `ptycho_scan`.
    """
    return (
        yield from scan_as(
            beamline,
            "scan",
            "ptycho_fly_scan",
            trajectory=trajectory,
            centre_um=centre_um,
            exposure_s=exposure_s,
            probe=probe,
            options=options,
            sample=sample,
            background_run=background_run,
            guard=guard,
            again=again,
            md=md,
            hardware_timed=True,
        )
    )
