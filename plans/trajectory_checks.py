"""What the preflight of a trajectory says otherwise than that of a step scan."""

from __future__ import annotations

from ptycho_plugin.plans.planned_scan import PlannedScan
from ptycho_plugin.plans.preflight_checks import CHECKS, TIMES, Check, Finding, duration, in_unit


def trajectory_duration(scan: PlannedScan) -> Finding:
    """Report how long a trajectory takes."""
    assert scan.light is not None  # noqa: S101
    points, value = len(scan.exposed_um), float(scan.light.seconds.sum())
    sentence = f"one trajectory through {points} points takes {in_unit(value, TIMES)}"
    return Finding("duration", value, "s", sentence)


def transit(scan: PlannedScan) -> Finding:
    """Report what reaches the sample between the exposures."""
    assert scan.light is not None  # noqa: S101
    between_s, all_s = scan.light.transit_s, float(scan.light.seconds.sum())
    photons = scan.photons_per_frame / scan.exposure_s * between_s
    part = between_s / all_s
    sentence = (
        f"the shutter is open for {in_unit(all_s, TIMES)}, {in_unit(between_s, TIMES)} of them between "
        f"the points: {photons:.3g} photons, {part:.1%} of all, reach the sample and no frame"
    )
    return Finding("transit", part, "", sentence)


TRAJECTORY_CHECKS: tuple[Check, ...] = (
    *(trajectory_duration if check is duration else check for check in CHECKS),
    transit,
)
