"""The way to a sample: an overview that costs little dose, in which its regions are placed."""

from __future__ import annotations

from dataclasses import replace

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
import numpy as np
from bluesky.utils import MsgGenerator
from numpy.typing import NDArray
from rich.console import Console

from ptycho_plugin.devices import Beamline
from ptycho_plugin.devices.beamline import Stage
from ptycho_plugin.dose import DoseModel
from ptycho_plugin.errors import InputError
from ptycho_plugin.geometry import M_PER_UM
from ptycho_plugin.measurement import Measurement
from ptycho_plugin.metadata import ScanMetadata
from ptycho_plugin.plans import preflight_checks as checks
from ptycho_plugin.plans.acquisition import acquire, scan_metadata, start_metadata
from ptycho_plugin.plans.arguments import (
    BeamlineArgument,
    ExposureSeconds,
    Metadata,
    PositionMicrometres,
    StageName,
    Transmission,
    checked,
)
from ptycho_plugin.plans.frame_analysis import trusted_pixels
from ptycho_plugin.plans.guard import DoseGuard
from ptycho_plugin.plans.illumination import probe_source
from ptycho_plugin.plans.planned_scan import PlannedScan
from ptycho_plugin.plans.preflight import preflight
from ptycho_plugin.plans.preflight_checks import Check, Finding
from ptycho_plugin.plans.ready_scan import planned_scan, scan_probe
from ptycho_plugin.plans.sample import Sample
from ptycho_plugin.plans.stubs import expose_point
from ptycho_plugin.plans.taken_frames import TakenFrames
from ptycho_plugin.postprocess.stxm import StxmMap, map_of_frames
from ptycho_plugin.trajectory import Raster

PLAN_NAME = "stxm_map"
CHECKS: tuple[Check, ...] = (
    checks.travel,
    checks.counter,
    checks.count_rate,
    checks.trigger_period,
    checks.beam_centre,
    checks.bright_cone,
    checks.duration,
    checks.data_volume,
)
"""Of a scan that is looked at, not reconstructed: its exposures need not overlap."""


@checked
def stxm_map(
    beamline: BeamlineArgument,
    *,
    raster: Raster = Raster(),  # noqa: B008  frozen
    centre_um: PositionMicrometres | None = None,
    stage: StageName = "piezo",
    exposure_s: ExposureSeconds = 0.02,
    transmission: Transmission = 0.1,
    guard: DoseGuard | None = None,
    sample: Sample | None = None,
    md: Metadata | None = None,
) -> MsgGenerator[StxmMap]:
    """Map a sample with short, attenuated exposures, and return what they show.

    Stage and attenuator come back to where they were. In a plan of your own,
    ``found = yield from stxm_map(...)`` gives the map, and `find_regions` of it the places to put
    regions in.

    Parameters
    ----------
    beamline : Beamline
    raster : Raster
        Its step may be much larger than the beam: what lies between is not exposed, and not seen.
    centre_um : (float, float), optional
        Of the raster (row, column), a position of the stage in micrometres; by default the middle of the
        piezo stage, or where the coarse stage stands.
    stage : {"piezo", "coarse"}
        Which one moves.
    exposure_s : float
        In seconds.
    transmission : float
        Of the attenuator.
    guard : DoseGuard, optional
        With ``kind="alignment"``: keeps the exposures in its ledger, of a sample by its name where no region
        is placed yet. They count in every region that is placed there later.
    sample : Sample, optional
        What takes the dose.
    md : mapping, optional
        More entries for the start document.

    Returns
    -------
    StxmMap

    Raises
    ------
    InputError
        At the call, for an argument that cannot be used; from the run, if the guard counts scans, the
        flux monitor is not calibrated, or there is no beam in the frames.
    PreflightRefusal
        Before the shutter opens; it names each number and its limit.
    DoseRefusal, LedgerError, StalledPlanError
        As from the guard.
    """
    if guard is not None and guard.kind != "alignment":
        raise InputError(
            f"the guard of a map counts exposures of kind '{guard.kind}': give it kind='alignment'"
        )
    axes = beamline.stage if stage == "piezo" else beamline.coarse

    def attenuated() -> MsgGenerator[StxmMap]:
        yield from bps.mv(beamline.attenuator, transmission)
        here = yield from _position_um(axes)
        centre = centre_um or ((0.0, 0.0) if stage == "piezo" else here)
        scan = yield from _metadata(beamline, axes, raster, centre, exposure_s)
        points_um = raster.offsets_um() + centre
        findings = []
        if guard is not None:
            # What the guard is asked about is the piezo stage, where the coarse stage stands.
            on_piezo = points_um - here + (yield from _position_um(beamline.stage))
            findings.append((yield from guard.check_scan(on_piezo, exposure_s)))
        measured = yield from bps.rd(beamline.detector.beam_centre_measured, default_value=False)
        probe, remarks = scan_probe(beamline, scan)
        planned = planned_scan(beamline, axes, scan, probe, points_um, points_um, measured, sample)
        report = preflight(planned, remarks, [*findings, _dose(planned)], CHECKS)
        Console().print(report.table())
        report.raise_refusals()
        _md = {
            **start_metadata(beamline, scan, PLAN_NAME, len(points_um)),
            **({"sample": sample.model_dump(mode="json")} if sample else {}),
            "preflight": report.to_start(),
            **(md or {}),
        }

        def exposures() -> MsgGenerator[None]:
            for row, column in points_um.tolist():
                yield from expose_point(beamline, (row, column), axes)

        taken, run = TakenFrames(), acquire(beamline, exposures(), exposure_s, _md)
        yield from bpp.subs_wrapper(run if guard is None else guard(run), taken)
        return _map(beamline, axes, scan, raster, planned.valid, taken)

    return (yield from bpp.reset_positions_wrapper(attenuated(), [beamline.attenuator, axes.y, axes.x]))


def _metadata(
    beamline: Beamline, axes: Stage, raster: Raster, centre_um: tuple[float, float], exposure_s: float
) -> MsgGenerator[ScanMetadata]:
    scan = yield from scan_metadata(
        beamline,
        "alignment",
        trajectory=raster,
        centre_um=centre_um,
        exposure_s=exposure_s,
        probe=probe_source(beamline, None),
    )
    if axes is beamline.stage:
        return scan
    return scan.model_copy(update={"position_keys": (axes.y.name, axes.x.name)})


def _dose(planned: PlannedScan) -> Finding:
    """Return the largest dose, from a part of the raster that is as large as one photon's energy spreads."""
    reach = DoseModel(energy_eV=planned.geometry.energy_eV).reach
    side_um = (planned.geometry.illuminated_field + 2 * reach) / M_PER_UM
    near = np.all(planned.points_um - planned.points_um.min(axis=0) <= side_um, axis=1)
    return checks.dose(replace(planned, exposed_um=planned.points_um[near]))


def _position_um(axes: Stage) -> MsgGenerator[NDArray[np.float64]]:
    row = yield from bps.rd(axes.y)
    column = yield from bps.rd(axes.x)
    return np.array([row, column], np.float64)


def _map(
    beamline: Beamline,
    axes: Stage,
    scan: ScanMetadata,
    raster: Raster,
    valid: NDArray[np.bool_] | None,
    taken: TakenFrames,
) -> StxmMap:
    """Return the map of the frames that were taken."""
    shape = beamline.detector.frame_shape
    window = Measurement(scan, shape).window
    raw = np.stack([frame[window] for frame in taken.read()])
    trusted = trusted_pixels(raw) & (True if valid is None else valid[window])
    piezo, coarse = (
        np.column_stack([taken.readings(axis.name) for axis in (stage.y, stage.x)])
        for stage in (beamline.encoder, beamline.coarse)
    )
    stage_um = piezo + (coarse[-1] if axes is beamline.stage else coarse[-len(piezo) :])
    return map_of_frames(
        scan.orientation.to_scattering(raw),
        scan.orientation.to_scattering(trusted),
        taken.readings(beamline.flux.counts.name),
        stage_um,
        raster,
        scan.geometry,
    )
