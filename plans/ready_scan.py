"""A scan that is ready to be made: planned, and judged before the shutter opens."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import bluesky.plan_stubs as bps
import numpy as np
from bluesky.utils import MsgGenerator
from numpy.typing import NDArray

from ptycho_plugin.devices import Beamline
from ptycho_plugin.devices.beamline import Stage
from ptycho_plugin.devices.gated_frames import scanner_of
from ptycho_plugin.errors import InputError
from ptycho_plugin.metadata import ProbeSource, Purpose, ScanMetadata
from ptycho_plugin.optics import ZonePlate
from ptycho_plugin.plans.acquisition import acquire, scan_metadata, start_metadata, trajectory_metadata
from ptycho_plugin.plans.continuation import Again, Continuation
from ptycho_plugin.plans.fly import fly
from ptycho_plugin.plans.guard import DoseGuard
from ptycho_plugin.plans.illumination import calibration_store
from ptycho_plugin.plans.parking import edge_of, within_travel
from ptycho_plugin.plans.planned_scan import PlannedScan
from ptycho_plugin.plans.preflight import Preflight, preflight
from ptycho_plugin.plans.preflight_checks import Finding
from ptycho_plugin.plans.sample import Sample
from ptycho_plugin.plans.stubs import expose_point
from ptycho_plugin.plans.trajectory_checks import TRAJECTORY_CHECKS
from ptycho_plugin.publishing.calibrations import check_background, start_probe
from ptycho_plugin.reconstruction.options import ReconstructionOptions
from ptycho_plugin.trajectory import Trajectory


@dataclass(frozen=True, slots=True)
class ReadyScan:
    """A scan as it would be made, and what its preflight says.

    Parameters
    ----------
    metadata : ScanMetadata
    sample : Sample or None
    points_um : ndarray, (point, 2), float64
        Of the piezo stage (row, column).
    hardware_timed : bool
        Whether it is one trajectory, not a step after a step.
    continuation : Continuation or None
        What is to be exposed of them, where a guard knows it; else all.
    report : Preflight
    """

    metadata: ScanMetadata
    sample: Sample | None
    points_um: NDArray[np.float64]
    hardware_timed: bool
    continuation: Continuation | None
    report: Preflight

    @property
    def exposed_um(self) -> NDArray[np.float64]:
        """The points that are to be exposed, in their order."""
        return _exposed(self.points_um, self.continuation)


def made_ready(
    beamline: Beamline,
    purpose: Purpose,
    *,
    trajectory: Trajectory,
    centre_um: tuple[float, float],
    exposure_s: float,
    probe: ProbeSource,
    options: ReconstructionOptions,
    sample: Sample | None,
    background_run: str | None,
    hardware_timed: bool = False,
    guard: DoseGuard | None = None,
    again: Again = False,
) -> MsgGenerator[ReadyScan]:
    """Return a scan where the coarse stage stands, judged; nothing moves."""
    if hardware_timed:
        scanner_of(beamline)
    scan = yield from scan_metadata(
        beamline,
        purpose,
        trajectory=trajectory,
        centre_um=centre_um,
        exposure_s=exposure_s,
        probe=probe,
        options=options,
        background_run=background_run,
    )
    if background_run is not None:
        check_background(
            calibration_store(beamline), background_run, scan.geometry, beamline.detector.frame_shape
        )
    points_um, continuation = scan.trajectory.offsets_um() + centre_um, None
    of_guard: list[Finding] = []
    if guard is not None:
        continuation = yield from guard.continuation(points_um, exposure_s, again)
        scan = scan.model_copy(update=continuation.to_metadata())
        of_dose = yield from guard.check_scan(
            _exposed(points_um, continuation), exposure_s, trajectory=hardware_timed
        )
        of_guard = [*continuation.findings(), of_dose]
    elif again:
        raise InputError("again is for a scan that goes on: give it the guard of its repeat")
    measured = yield from bps.rd(beamline.detector.beam_centre_measured, default_value=False)
    probe_of_scan, remarks = scan_probe(beamline, scan)
    exposed_um = _exposed(points_um, continuation)
    planned = planned_scan(
        beamline, beamline.stage, scan, probe_of_scan, points_um, exposed_um, measured, sample
    )
    if hardware_timed:
        transits_s = beamline.transits_s(exposed_um)
        report = preflight(replace(planned, transits_s=transits_s), remarks, of_guard, TRAJECTORY_CHECKS)
    else:
        report = preflight(planned, remarks, of_guard)
    return ReadyScan(scan, sample, points_um, hardware_timed, continuation, report)


def make(
    beamline: Beamline,
    scan: ReadyScan,
    plan_name: str,
    *,
    md: Mapping[str, Any] | None,
    guard: DoseGuard | None,
    last: Callable[[], MsgGenerator[str | None]] | None = None,
) -> MsgGenerator[str]:
    """Make a scan that its preflight does not refuse, and return the run's uid.

    After the last exposure `last` is asked why the run ends, for its stop document.
    """
    scan.report.raise_refusals()
    _md = {
        **start_metadata(beamline, scan.metadata, plan_name, len(scan.exposed_um)),
        **(trajectory_metadata(beamline) if scan.hardware_timed else {}),
        **({"sample": scan.sample.model_dump(mode="json")} if scan.sample else {}),
        "preflight": scan.report.to_start(),
        **(md or {}),
    }

    def exposures() -> MsgGenerator[str | None]:
        if scan.hardware_timed:
            yield from fly(beamline, scan.exposed_um, exposure_s)
        else:
            for row, column in scan.exposed_um.tolist():
                yield from expose_point(beamline, (row, column))
        return None if last is None else (yield from last())

    exposure_s = scan.metadata.exposure_s
    edge_um = edge_of(scan.points_um, scan.metadata.trajectory.step_um)
    if guard is not None and scan.continuation is not None:
        edge_um = guard.edge_um(scan.continuation) or edge_um
    run = acquire(beamline, exposures(), exposure_s, _md, within_travel(beamline, edge_um))
    if guard is None or scan.continuation is None:
        return (yield from run)
    return (yield from guard.scan(run, scan.continuation))


def _exposed(points_um: NDArray[np.float64], continuation: Continuation | None) -> NDArray[np.float64]:
    return points_um if continuation is None else points_um[list(continuation.points)]


def planned_scan(
    beamline: Beamline,
    stage: Stage,
    scan: ScanMetadata,
    probe: NDArray[np.complex64],
    points_um: NDArray[np.float64],
    exposed_um: NDArray[np.float64],
    centre_measured: bool,
    sample: Sample | None,
) -> PlannedScan:
    """Return what a preflight judges of a scan with one of a beamline's stages."""
    return PlannedScan(
        geometry=scan.geometry,
        probe=probe,
        points_um=points_um,
        exposed_um=exposed_um,
        step_um=scan.trajectory.step_um,
        travel_um=(stage.y.limits, stage.x.limits),
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


def scan_probe(beamline: Beamline, scan: ScanMetadata) -> tuple[NDArray[np.complex64], tuple[str, ...]]:
    """Return the probe that a scan names, and warnings a user should hear."""
    if isinstance(scan.probe, ZonePlate):
        return scan.probe.probe(scan.geometry), ()
    return start_probe(calibration_store(beamline), scan)
