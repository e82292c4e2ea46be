"""The single checks of a preflight; each names its number and its limit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import hypot
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ptycho_plugin.dose import DoseModel, Grid, fluence_map, illumination_of
from ptycho_plugin.errors import InputError
from ptycho_plugin.geometry import M_PER_UM
from ptycho_plugin.materials import PMMA
from ptycho_plugin.orientation import crop_window
from ptycho_plugin.plans.planned_scan import PlannedScan

Level = Literal["info", "ok", "warning", "refusal"]
"""An info is held against no limit."""

BRIGHT = 0.1
"""Part of the brightest pixel above which a pixel belongs to the bright cone."""
LARGEST_STEP = 0.5
"""Of the diameter that holds 90 % of the probe."""
LARGEST_CENTRE_SHIFT_PX = 1.0
LEAST_COUNTS = 1.0
"""In the brightest pixel: what counts less in every exposure shows nothing."""
BYTES_PER_PIXEL = 4
TIMES = ((86400.0, "d"), (3600.0, "h"), (60.0, "min"), (1.0, "s"))
DOSES_KGY = ((1e3, "MGy"), (1.0, "kGy"), (1e-3, "Gy"))


@dataclass(frozen=True, slots=True)
class Finding:
    """One number of a planned scan, and the limit it is held against, if it has one."""

    name: str
    value: float
    unit: str
    sentence: str
    limit: float | None = None
    level: Level = "info"


def travel(scan: PlannedScan) -> Finding:
    """Check that every point is within the stage's limits."""
    extremes = [
        (excess, position, limit, axis)
        for axis, points, (low, high) in zip(("row", "column"), scan.points_um.T, scan.travel_um, strict=True)
        if low < high
        for excess, position, limit in (
            (low - points.min(), points.min(), low),
            (points.max() - high, points.max(), high),
        )
    ]
    if not extremes:
        return Finding("travel", 0.0, "um", "the stage has no limits set")
    excess, position, limit, axis = max(extremes)
    return Finding(
        "travel",
        float(position),
        "um",
        f"the scan goes to {position:.3f} um along the {axis}s, where the stage's limit is {limit:.3f} um",
        limit,
        "refusal" if excess > 0 else "ok",
    )


def oversampling(scan: PlannedScan) -> Finding:
    """Report the published measure lambda z / (2 d pixel) for the stated diameter."""
    diameter = scan.focus_size or scan.probe_diameter(0.9)
    source = "as stated" if scan.focus_size else "which holds 90 % of the probe"
    value = scan.geometry.oversampling(diameter)
    return Finding(
        "oversampling",
        value,
        "",
        f"lambda z / (2 d pixel) is {value:.2f} for d = {diameter * 1e9:.0f} nm, {source}",
    )


def probe_size(scan: PlannedScan) -> Finding:
    """Check that the probe fits the window that the detector's pixels resolve."""
    value, limit = scan.probe_diameter(0.99) * 1e6, scan.geometry.illuminated_field * 1e6
    sentence = f"99 % of the probe is within {value:.2f} um, the window lambda z / pixel is {limit:.2f} um"
    return _held("probe_size", value, "um", sentence, limit, "refusal")


def overlap(scan: PlannedScan) -> Finding:
    """Check that neighbouring exposures share enough of the object."""
    value, limit = scan.step_um, LARGEST_STEP * scan.probe_diameter(0.9) * 1e6
    sentence = f"the largest step is {value:.3f} um, half the diameter of 90 % of the probe is {limit:.3f} um"
    return _held("overlap", value, "um", sentence, limit, "refusal")


def counter(scan: PlannedScan) -> Finding:
    """Check that the brightest pixel counts photons, and does not fill its counter."""
    value, limit = float(scan.far_field.max()), float(scan.detector.counts)
    counts = f"the brightest pixel counts {_number(value)} in an exposure"
    if value < LEAST_COUNTS:
        sentence = f"{counts}, {LEAST_COUNTS:.0f} is the least: expose longer or attenuate less"
        return Finding("counter", value, "counts", sentence, LEAST_COUNTS, "refusal")
    sentence = f"{counts}, the counter ends at {limit:.0f}"
    return _held("counter", value, "counts", sentence, limit, "refusal")


def count_rate(scan: PlannedScan) -> Finding:
    """Check that the brightest pixel counts photons one by one."""
    value, limit = float(scan.far_field.max()) / scan.exposure_s, scan.detector.counts_per_second
    sentence = (
        f"the brightest pixel counts {_number(value)} a second, photons pile up from {limit:.0f} a second"
    )
    return _held("count_rate", value, "1/s", sentence, limit, "refusal")


def trigger_period(scan: PlannedScan) -> Finding:
    """Check that exposure and readout are over before the next trigger."""
    value, limit = scan.exposure_s + scan.detector.readout_s, scan.trigger_period_s
    period = "no trigger period is set" if limit is None else f"the trigger period is {limit * 1e3:.1f} ms"
    sentence = f"exposure and readout take {value * 1e3:.1f} ms, {period}"
    return _held("trigger_period", value, "s", sentence, limit, "refusal")


def beam_centre(scan: PlannedScan) -> Finding:
    """Check that the beam was found, where the beamline was designed to have it."""
    if not scan.centre_measured:
        sentence = "the beam centre was not measured since the start: run find_beam_centre"
        return Finding("beam_centre", 0.0, "px", sentence, LARGEST_CENTRE_SHIFT_PX, "warning")
    (row, column), design = scan.beam_centre_px, scan.design_centre_px
    value, limit = hypot(row - design[0], column - design[1]), LARGEST_CENTRE_SHIFT_PX
    sentence = (
        f"the beam centre ({row:.1f}, {column:.1f}) is {value:.1f} px from its design place, "
        f"{limit:.0f} px is the limit"
    )
    return _held("beam_centre", value, "px", sentence, limit, "warning")


def bright_cone(scan: PlannedScan) -> Finding:
    """Check that no gap and no bad pixel lies where most photons go."""
    window = crop_window(scan.beam_centre_px, scan.geometry.frame_side, scan.frame_shape, scan.orientation)
    if scan.valid is None:
        sentence = (
            "no mask is known, so neither are gaps and bad pixels in the bright cone: take background_frames"
        )
        return Finding("bright_cone", 0.0, "px", sentence, level="warning")
    bright = scan.far_field > BRIGHT * scan.far_field.max()
    lost = int(np.count_nonzero(bright & ~scan.orientation.to_scattering(scan.valid[window])))
    sentence = f"{lost} px of the bright cone are gaps or bad, 0 px is the limit"
    return _held("bright_cone", lost, "px", sentence, 0, "warning")


def depth_of_focus(scan: PlannedScan) -> Finding:
    """Check that the sample is thinner than what a projection describes."""
    half_period = scan.geometry.object_pixel
    limit = scan.geometry.depth_of_focus(half_period) * 1e6
    depth = f"the depth of focus is {limit:.1f} um at a half period of {half_period * 1e9:.1f} nm"
    if scan.sample is None or scan.sample.thickness_um is None:
        return Finding("depth_of_focus", 0.0, "um", f"{depth}; the sample's thickness is not stated", limit)
    thickness = scan.sample.thickness_um
    return _held(
        "depth_of_focus",
        thickness,
        "um",
        f"the sample is {thickness:.1f} um thick, {depth}",
        limit,
        "warning",
    )


def dose(scan: PlannedScan) -> Finding:
    """Estimate the largest dose of any point, at the surface."""
    model = DoseModel(
        material=scan.sample.material if scan.sample else PMMA, energy_eV=scan.geometry.energy_eV
    )
    illumination, pixel = illumination_of(scan.probe), scan.geometry.object_pixel
    places, photons = _where_photons_fall(scan)
    try:
        grid = Grid.covering(places, illumination.shape, pixel, model.reach)
    except InputError as error:
        return Finding("dose", 0.0, "kGy", f"no dose is estimated: {error}", level="warning")
    value = model.surface_dose(fluence_map(illumination, places, photons, grid), pixel).max() * 1e-3
    sentence = (
        f"the largest dose is about {in_unit(value, DOSES_KGY)} in {model.material.name}, "
        f"where electrons travel {model.electron_range * 1e6:g} um"
    )
    return Finding("dose", float(value), "kGy", sentence)


def duration(scan: PlannedScan) -> Finding:
    """Report how long exposures and readout take; moves take longer."""
    points = len(scan.exposed_um)
    value = points * (scan.exposure_s + scan.detector.readout_s)
    sentence = f"exposures and readout alone of {points} points take {in_unit(value, TIMES)}"
    return Finding("duration", value, "s", sentence)


def data_volume(scan: PlannedScan) -> Finding:
    """Estimate what the frames take on disk at most."""
    rows, columns = scan.frame_shape
    value = len(scan.exposed_um) * rows * columns * BYTES_PER_PIXEL * 1e-9
    sentence = f"{len(scan.exposed_um)} frames of {rows} x {columns} px are {value:.2f} GB before compression"
    return Finding("data_volume", value, "GB", sentence)


def _where_photons_fall(scan: PlannedScan) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return paths (exposure, 2, 2), in metres, and the photons of each."""
    light = scan.light
    if light is not None:
        return light.paths_um * M_PER_UM, scan.photons_per_frame / scan.exposure_s * light.seconds
    places = np.stack([scan.exposed_um, scan.exposed_um], axis=1) * M_PER_UM
    return places, np.full(len(places), scan.photons_on_sample)


Check = Callable[[PlannedScan], Finding]
CHECKS: tuple[Check, ...] = (
    travel,
    oversampling,
    probe_size,
    overlap,
    counter,
    count_rate,
    trigger_period,
    beam_centre,
    bright_cone,
    depth_of_focus,
    dose,
    duration,
    data_volume,
)


def _held(name: str, value: float, unit: str, sentence: str, limit: float | None, above: Level) -> Finding:
    """Return a finding of another level where its value is above its limit, an info without one."""
    if limit is None:
        return Finding(name, value, unit, sentence)
    return Finding(name, value, unit, sentence, limit, above if value > limit else "ok")


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 10 else f"{value:.2g}"


def in_unit(value: float, units: tuple[tuple[float, str], ...]) -> str:
    """Return a value in the first unit of which it is at least one, else in the last."""
    factor, unit = next((pair for pair in units if value >= pair[0]), units[-1])
    return f"{value / factor:.3g} {unit}"
