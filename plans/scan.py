"""The plan of the house: a ptychographic scan."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bluesky.utils import MsgGenerator
from rich.console import Console

from ptycho_plugin.devices import Beamline
from ptycho_plugin.metadata import Purpose
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
from ptycho_plugin.plans.illumination import probe_source
from ptycho_plugin.plans.ready_scan import made_ready, make
from ptycho_plugin.plans.sample import Sample
from ptycho_plugin.plans.stubs import is_run
from ptycho_plugin.reconstruction.options import ReconstructionOptions
from ptycho_plugin.trajectory import ConcentricRings, Trajectory


@checked
def ptycho_scan(
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
    """Scan the sample, after a preflight that is printed and refuses what cannot work.

    With a guard that has a region and a repeat number, the same call goes on with a scan that was
    interrupted, whatever ended it: points that are done are not exposed again. After an abort, a stop
    or an error the shutter is closed and the piezo stage parked beside the scan. Looked at without a
    RunEngine, which alone knows what was exposed before, a guarded scan is empty.

    Parameters
    ----------
    beamline : Beamline
    trajectory : Trajectory, optional
        By default the beamline's own, else the published concentric rings with 324 points.
    centre_um : (float, float)
        Stage position (row, column) of the trajectory's centre in micrometres.
    exposure_s : float
        Exposure of one frame in seconds.
    probe : str, optional
        "zone_plate", "latest" or a stored probe's uid; by default the beamline's own.
    options : ReconstructionOptions
    sample : Sample, optional
        What takes the dose, and how thick it is.
    background_run : str, optional
        Uid of a run of `background_frames` that Tiled holds, in the calibrations' tree.
    guard : DoseGuard, optional
        Keeps the exposures in its ledger and within its region's budget; a scan that would go over
        it is refused before it begins. The start document then says sample, area, region, repeat and
        the dose so far, and the stream "dose" what the run has done.
    again : bool or sequence of int
        Expose, once more and within the budget, points that earlier runs of the repeat may have
        exposed and nobody confirmed, or exposed without saving a frame: all of them, or those of
        these numbers. Without it they are left out, and listed.
    md : mapping, optional
        More entries for the start document.

    Returns
    -------
    str
        The run's uid.

    Raises
    ------
    InputError
        At the call, for an argument that cannot be used; from the run, for a probe or a background
        of another energy or distance, a background run that is none, and where a stored probe, a
        mask or a background is named and the beamline has no calibrations to look it up in.
    PreflightRefusal
        Before the shutter opens; it names each number and its limit.
    DoseRefusal, LedgerError, StalledPlanError
        As from the guard; also if the repeat is complete, or was begun with another scan.
    PublishingError
        If Tiled does not hold the probe, the mask or the background run.
    """
    return (
        yield from scan_as(
            beamline,
            "scan",
            "ptycho_scan",
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
        )
    )


def scan_as(
    beamline: Beamline,
    purpose: Purpose,
    plan_name: str,
    *,
    trajectory: Trajectory | None,
    centre_um: tuple[float, float],
    exposure_s: float,
    probe: str | None,
    options: ReconstructionOptions,
    sample: Sample | None,
    background_run: str | None,
    md: Mapping[str, Any] | None,
    guard: DoseGuard | None = None,
    again: Again = False,
    hardware_timed: bool = False,
) -> MsgGenerator[str]:
    """Scan where the coarse stage stands; as `ptycho_scan`, for any purpose."""
    if guard is not None and not (yield from is_run()):
        return ""
    scan = yield from made_ready(
        beamline,
        purpose,
        trajectory=trajectory or beamline.trajectory or ConcentricRings(),
        centre_um=centre_um,
        exposure_s=exposure_s,
        probe=probe_source(beamline, probe),
        options=options,
        sample=sample,
        background_run=background_run,
        hardware_timed=hardware_timed,
        guard=guard,
        again=again,
    )
    Console().print(scan.report.table())
    return (yield from make(beamline, scan, plan_name, md=md, guard=guard))
