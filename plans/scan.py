"""The plan of the house: a ptychographic scan."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import bluesky.plan_stubs as bps
import numpy as np
from bluesky.utils import MsgGenerator
from numpy.typing import NDArray
from rich.console import Console

from ptycho_plugin.devices import Beamline
from ptycho_plugin.errors import InputError
from ptycho_plugin.metadata import Purpose, ScanMetadata
from ptycho_plugin.optics import ZonePlate
from ptycho_plugin.plans.acquisition import acquire, scan_metadata, start_metadata
from ptycho_plugin.plans.arguments import (
    BeamlineArgument,
    ExposureSeconds,
    PositionMicrometres,
    checked,
)
from ptycho_plugin.plans.continuation import Again, Continuation
from ptycho_plugin.plans.guard import DoseGuard
from ptycho_plugin.plans.illumination import calibration_store, probe_source
from ptycho_plugin.plans.parking import edge_of, within_travel
from ptycho_plugin.plans.planned_scan import PlannedScan
from ptycho_plugin.plans.preflight import Preflight, preflight
from ptycho_plugin.plans.sample import Sample
from ptycho_plugin.plans.stubs import expose_point
from ptycho_plugin.publishing.calibrations import check_background, start_probe
from ptycho_plugin.reconstruction.options import ReconstructionOptions
from ptycho_plugin.trajectory import ConcentricRings, Trajectory


@checked
def ptycho_scan(
    beamline: BeamlineArgument,
    *,
    trajectory: Trajectory | None = None,
    centre_um: PositionMicrometres = (0.0, 0.0),
    exposure_s: ExposureSeconds = 0.2,
    probe: str | None = None,
    options: ReconstructionOptions = ReconstructionOptions(),  # noqa: B008  frozen
    sample: Sample | None = None,
    background_run: str | None = None,
    guard: DoseGuard | None = None,
    again: Again = False,
    md: Mapping[str, Any] | None = None,
) -> MsgGenerator[str]:
    """Scan the sample, after a preflight that is printed and refuses what cannot work.

    With a guard that has a region and a repeat number, the same call goes on with a scan that was
    interrupted, whatever ended it: points that are done are not exposed again. After an abort, a stop
    or an error the shutter is closed and the piezo stage parked beside the scan.

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
) -> MsgGenerator[str]:
    """Scan where the coarse stage stands; as `ptycho_scan`, for any purpose."""
    scan = yield from scan_metadata(
        beamline,
        purpose,
        trajectory=trajectory or beamline.trajectory or ConcentricRings(),
        centre_um=centre_um,
        exposure_s=exposure_s,
        probe=probe_source(beamline, probe),
        options=options,
        background_run=background_run,
    )
    if background_run is not None:
        check_background(
            calibration_store(beamline), background_run, scan.geometry, beamline.detector.frame_shape
        )
    points_um = scan.trajectory.offsets_um() + centre_um
    exposed_um, continuation = points_um, None
    if guard is not None:
        continuation = yield from guard.continuation(points_um, exposure_s, again)
        scan = scan.model_copy(update=continuation.to_metadata())
        exposed_um = points_um[list(continuation.points)]
    elif again:
        raise InputError("again is for a scan that goes on: give it the guard of its repeat")
    measured = yield from bps.rd(beamline.detector.beam_centre_measured, default_value=False)
    report = _preflight(beamline, scan, points_um, exposed_um, measured, sample, continuation)
    Console().print(report.table())
    report.raise_refusals()
    _md = {
        **start_metadata(beamline, scan, plan_name, len(exposed_um)),
        **({"sample": sample.model_dump(mode="json")} if sample else {}),
        "preflight": report.to_start(),
        **(md or {}),
    }

    def exposures() -> MsgGenerator[None]:
        for row, column in exposed_um.tolist():
            yield from expose_point(beamline, (row, column))

    edge_um = edge_of(points_um, scan.trajectory.step_um)
    if guard is not None and continuation is not None:
        yield from guard.check_scan(exposed_um, exposure_s)
        edge_um = guard.edge_um(continuation) or edge_um
    run = acquire(beamline, exposures(), exposure_s, _md, within_travel(beamline, edge_um))
    if guard is None or continuation is None:
        return (yield from run)
    return (yield from guard.scan(run, continuation))


def _preflight(
    beamline: Beamline,
    scan: ScanMetadata,
    points_um: NDArray[np.float64],
    exposed_um: NDArray[np.float64],
    centre_measured: bool,
    sample: Sample | None,
    continuation: Continuation | None,
) -> Preflight:
    probe, remarks = _start_probe(beamline, scan)
    planned = PlannedScan(
        geometry=scan.geometry,
        probe=probe,
        points_um=points_um,
        exposed_um=exposed_um,
        step_um=scan.trajectory.step_um,
        travel_um=(beamline.stage.y.limits, beamline.stage.x.limits),
        exposure_s=scan.exposure_s,
        trigger_period_s=beamline.trigger_period_s,
        photons_per_frame=scan.photons_per_frame or 0.0,
        shutter=beamline.shutter_timing,
        detector=beamline.detector_limits,
        frame_shape=beamline.detector.frame_shape,
        orientation=scan.orientation,
        beam_centre_px=scan.beam_centre_px,
        design_centre_px=beamline.beam_centre_px,
        centre_measured=centre_measured,
        valid=calibration_store(beamline).mask(scan.mask_version) if scan.mask_version else None,
        focus_size=beamline.focus_size,
        sample=sample,
    )
    return preflight(planned, remarks, continuation.findings() if continuation else ())


def _start_probe(beamline: Beamline, scan: ScanMetadata) -> tuple[NDArray[np.complex64], tuple[str, ...]]:
    if isinstance(scan.probe, ZonePlate):
        return scan.probe.probe(scan.geometry), ()
    return start_probe(calibration_store(beamline), scan)
