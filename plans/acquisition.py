"""What every plan of this package has in common: the run around its exposures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
from bluesky.utils import FailedStatus, MsgGenerator, RunEngineControlException

from ptycho_plugin.devices import Beamline
from ptycho_plugin.devices.gated_frames import scanner_of
from ptycho_plugin.ledger.rigid import Position
from ptycho_plugin.metadata import ProbeSource, Purpose, ScanMetadata
from ptycho_plugin.plans.energy import check_energy
from ptycho_plugin.plans.parking import park
from ptycho_plugin.plans.stubs import close_shutter, record
from ptycho_plugin.reconstruction.options import ReconstructionOptions
from ptycho_plugin.trajectory import Trajectory

SETUP_STREAM = "setup"
"""What stays the same during a run. "baseline" is the beamline's own, as a stream has one set of devices."""


def acquire(
    beamline: Beamline,
    exposures: MsgGenerator[str | None],
    exposure_s: float,
    md: Mapping[str, Any],
    park_um: Position | None = None,
) -> MsgGenerator[str]:
    """Open a run around exposures and return its uid.

    The devices are staged, the exposure time is set, coarse stage and attenuator are read once,
    and the shutter is closed in the end, whatever happens. A run that ends early leaves the piezo
    stage at `park_um`, if that is given. What the exposures return is the reason in the stop document.
    No message is given twice after an interruption, unless the exposures ask for it.
    """

    def measure() -> MsgGenerator[str | None]:
        yield from bps.mv(beamline.detector.exposure_time, exposure_s)
        standing = [beamline.coarse.y, beamline.coarse.x, beamline.attenuator, *beamline.others]
        yield from record(standing, SETUP_STREAM)
        return (yield from exposures)

    @bpp.stage_decorator([beamline.shutter, beamline.detector, beamline.encoder, beamline.flux])
    def run() -> MsgGenerator[str]:
        uid = yield from bps.open_run(dict(md))
        reason = yield from bpp.contingency_wrapper(measure(), except_plan=_close_failed)
        yield from bps.close_run(reason=reason)
        return uid

    safe = bpp.finalize_wrapper(run(), close_shutter(beamline))
    if park_um is not None:
        safe = bpp.contingency_wrapper(safe, except_plan=lambda _: park(beamline, park_um))
    return (yield from bpp.rewindable_wrapper(safe, False))


def _close_failed(error: Exception) -> MsgGenerator[None]:
    """Close a run as bluesky's own `run_wrapper` does, which knows no reason for one that succeeds."""
    if isinstance(error, RunEngineControlException):
        yield from bps.close_run(exit_status=error.exit_status)
    else:
        cause = error.__cause__ if isinstance(error, FailedStatus) else None  # which says what failed
        yield from bps.close_run(exit_status="fail", reason=str(cause or error))


def scan_metadata(
    beamline: Beamline,
    purpose: Purpose,
    *,
    trajectory: Trajectory,
    centre_um: tuple[float, float],
    exposure_s: float,
    probe: ProbeSource | None,
    options: ReconstructionOptions = ReconstructionOptions(),  # noqa: B008  frozen
    background_run: str | None = None,
) -> MsgGenerator[ScanMetadata]:
    """Return what a run says about itself, read from the beamline as it stands.

    Raises
    ------
    PreflightRefusal
        If the monochromator is at another energy than the beamline's geometry.
    """
    yield from check_energy(beamline)
    detector = beamline.detector
    row = yield from bps.rd(detector.beam_centre_row, default_value=beamline.beam_centre_px[0])
    column = yield from bps.rd(detector.beam_centre_column, default_value=beamline.beam_centre_px[1])
    mask_version = yield from bps.rd(detector.mask_version, default_value="")
    transmission = yield from bps.rd(beamline.attenuator, default_value=1.0)
    return ScanMetadata(
        purpose=purpose,
        geometry=beamline.geometry,
        orientation=beamline.orientation,
        position_sign=beamline.position_sign,
        beam_centre_px=(row, column),
        frame_key=detector.frame_key,
        position_keys=(beamline.encoder.y.name, beamline.encoder.x.name),
        flux_key=beamline.flux.counts.name,
        trajectory=trajectory,
        centre_um=centre_um,
        exposure_s=exposure_s,
        photons_per_frame=beamline.photons_per_second * exposure_s * transmission,
        probe=probe,
        optic=beamline.optic,
        mask_version=mask_version or None,
        background_run=background_run,
        options=options,
    )


def start_metadata(beamline: Beamline, scan: ScanMetadata, plan_name: str, num_points: int) -> dict[str, Any]:
    """Return a start document's entries, as bluesky's own plans name them, and our own."""
    axes = [beamline.stage.y.name, beamline.stage.x.name]
    return {
        "plan_name": plan_name,
        "beamline": beamline.name,
        "detectors": [beamline.detector.name, beamline.encoder.name, beamline.flux.name],
        "motors": axes,
        "num_points": num_points,
        "num_intervals": num_points - 1,
        "hints": {"dimensions": [(axes, "primary")]},
        **({"slit_gaps_um": list(beamline.slit_gaps_um)} if beamline.slit_gaps_um else {}),
        **scan.to_start(),
    }


def trajectory_metadata(beamline: Beamline) -> dict[str, Any]:
    """Return what a start document says otherwise of a run in which hardware gives the triggers."""
    scanner = scanner_of(beamline)
    measured = [beamline.encoder.y.name, beamline.encoder.x.name]
    return {
        "hardware_timed": True,
        "detectors": [beamline.detector.name, scanner.name],
        "hints": {"dimensions": [(measured, "primary")]},
    }
