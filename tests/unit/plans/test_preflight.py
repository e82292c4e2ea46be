"""The published scan passes; each breakage is refused with its number and its limit."""

from dataclasses import replace
from io import StringIO
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from ptycho_plugin.devices import DetectorLimits
from ptycho_plugin.devices.simulated import PUBLISHED_FOCUS_SIZE, PUBLISHED_GEOMETRY
from ptycho_plugin.dose import ShutterTiming
from ptycho_plugin.errors import InputError, PreflightRefusal
from ptycho_plugin.optics import ZonePlate
from ptycho_plugin.orientation import DetectorOrientation
from ptycho_plugin.plans.planned_scan import PlannedScan
from ptycho_plugin.plans.preflight import preflight
from ptycho_plugin.plans.preflight_checks import CHECKS
from ptycho_plugin.plans.sample import Sample
from ptycho_plugin.simulation import pilatus
from ptycho_plugin.trajectory import ConcentricRings

CENTRE = (945.0, 737.0)


@pytest.fixture
def published() -> PlannedScan:
    return PlannedScan(
        geometry=PUBLISHED_GEOMETRY,
        probe=ZonePlate().probe(PUBLISHED_GEOMETRY),
        points_um=ConcentricRings().offsets_um(),
        exposed_um=ConcentricRings().offsets_um(),
        step_um=ConcentricRings().step_um,
        travel_um=((-50.0, 50.0), (-50.0, 50.0)),
        exposure_s=0.2,
        photons_per_frame=1e6,
        shutter=ShutterTiming(),
        detector=DetectorLimits(),
        frame_shape=pilatus.SHAPE,
        orientation=DetectorOrientation.AS_IS,
        beam_centre_px=CENTRE,
        design_centre_px=CENTRE,
        centre_measured=True,
        valid=~pilatus.gaps(),
        focus_size=PUBLISHED_FOCUS_SIZE,
    )


def test_the_published_scan_passes(published: PlannedScan) -> None:
    report = preflight(published)
    report.raise_refusals()
    stated = {finding.name for finding in report.of_level("info")}
    assert stated == {"oversampling", "trigger_period", "depth_of_focus", "dose", "duration", "data_volume"}
    assert len(report.of_level("ok")) == len(CHECKS) - len(stated)
    values = {finding.name: finding.value for finding in report.findings}
    assert values["oversampling"] == pytest.approx(2.9, abs=0.05)
    assert values["probe_size"] == pytest.approx(1.79, abs=0.03)
    assert values["dose"] == pytest.approx(28, abs=2)
    assert values["duration"] == pytest.approx(324 * 0.203)
    assert values["data_volume"] == pytest.approx(324 * 1679 * 1475 * 4e-9)


def test_the_brightest_pixel_is_that_of_the_pupil(published: PlannedScan) -> None:
    zone_plate, wavelength = ZonePlate(), PUBLISHED_GEOMETRY.wavelength
    radius, stop = (
        diameter / (2 * zone_plate.focal_length(wavelength)) * PUBLISHED_GEOMETRY.distance / 172e-6
        for diameter in (zone_plate.diameter, zone_plate.central_stop)
    )
    lit_px = np.pi * (radius**2 - stop**2)
    assert published.far_field.max() == pytest.approx(1e6 / lit_px, rel=0.03)
    assert published.far_field.sum() == pytest.approx(1e6)


WIDE_PROBE = ZonePlate(defocus=700e-6).probe(PUBLISHED_GEOMETRY)
FAR_POINTS = np.array([[0.0, 0.0], [0.0, 50.5]])
SLOW_READOUT = DetectorLimits(readout_s=0.06)

BREAKAGES = {
    "travel": ({"points_um": FAR_POINTS}, "50.500 um along the columns", "limit is 50.000 um"),
    "probe_size": ({"probe": WIDE_PROBE}, "99 % of the probe is within 2.96 um", "is 2.60 um"),
    "overlap": ({"step_um": 0.6}, "the largest step is 0.600 um", r"is 0\.531 um"),
    "no_photon": (
        {"photons_per_frame": 5e-3, "exposure_s": 1e-9},
        r"the brightest pixel counts 2\.5e-06 in",
        "1 is the least: expose longer",
    ),
    "counter": ({"photons_per_frame": 3e9}, r"counts 14956\d\d in an exposure", "ends at 1048575"),
    "count_rate": ({"exposure_s": 1e-4}, r"counts 49853\d\d a second", "from 1000000 a second"),
    "trigger_period": ({"trigger_period_s": 0.202}, "take 203.0 ms", "trigger period is 202.0 ms"),
    "readout": (
        {"trigger_period_s": 0.25, "detector": SLOW_READOUT},
        "take 260.0 ms",
        "trigger period is 250.0 ms",
    ),
}


@pytest.mark.parametrize(("change", "number", "limit"), BREAKAGES.values(), ids=BREAKAGES)
def test_a_scan_that_cannot_work_is_refused(
    published: PlannedScan, change: dict[str, Any], number: str, limit: str
) -> None:
    report = preflight(replace(published, **change))
    for part in (number, limit):
        with pytest.raises(PreflightRefusal, match=part):
            report.raise_refusals()


def test_every_refusal_is_named_at_once(published: PlannedScan) -> None:
    report = preflight(replace(published, step_um=0.6, trigger_period_s=0.1))
    assert [finding.name for finding in report.of_level("refusal")] == ["overlap", "trigger_period"]
    with pytest.raises(PreflightRefusal, match=r"0\.600 um.*; .*100\.0 ms"):
        report.raise_refusals()


THICK = Sample(name="OCT", thickness_um=24.0)
WARNINGS = {
    "beam_centre": ({"beam_centre_px": (946.2, 737.0)}, "1.2 px from its design place, 1 px is the limit"),
    "centre_not_measured": ({"centre_measured": False}, "not measured since the start: run find_beam_centre"),
    "bright_cone": (
        {"beam_centre_px": (840.0, 737.0), "design_centre_px": (840.0, 737.0)},
        "px of the bright cone are gaps or bad, 0 px is the limit",
    ),
    "no_mask": ({"valid": None}, "take background_frames"),
    "depth_of_focus": ({"sample": THICK}, "24.0 um thick, the depth of focus is 4.8 um"),
}


@pytest.mark.parametrize(("change", "sentence"), WARNINGS.values(), ids=WARNINGS)
def test_a_doubtful_scan_is_warned_of_and_made(
    published: PlannedScan, change: dict[str, Any], sentence: str
) -> None:
    report = preflight(replace(published, **change))
    report.raise_refusals()
    (warning,) = report.of_level("warning")
    assert sentence in warning.sentence


def test_a_bad_pixel_in_the_cone_is_found_in_any_orientation(published: PlannedScan) -> None:
    for orientation in DetectorOrientation:
        valid = np.ones(pilatus.SHAPE, bool)
        valid[945 + 15, 737 + 3] = False
        findings = preflight(replace(published, valid=valid, orientation=orientation)).findings
        (cone,) = [finding for finding in findings if finding.name == "bright_cone"]
        assert cone.value == 1


def test_a_crop_off_the_detector_is_refused(published: PlannedScan) -> None:
    with pytest.raises(InputError, match="leaves the 1679 x 1475 px frame"):
        preflight(replace(published, beam_centre_px=(40.0, 737.0)))


def test_a_stage_without_limits_goes_anywhere(published: PlannedScan) -> None:
    report = preflight(replace(published, points_um=FAR_POINTS * 1e6, travel_um=((0.0, 0.0), (0.0, 0.0))))
    assert not report.of_level("refusal")
    assert "travel" in {finding.name for finding in report.of_level("info")}


def test_a_limit_below_is_held_too(published: PlannedScan) -> None:
    report = preflight(replace(published, points_um=-FAR_POINTS))
    with pytest.raises(PreflightRefusal, match=r"-50\.500 um along the columns.* -50\.000 um"):
        report.raise_refusals()


def test_faint_light_is_a_small_number_and_no_zero(published: PlannedScan) -> None:
    findings = preflight(replace(published, photons_per_frame=3e3, exposure_s=1000.0)).findings
    sentences = {finding.name: finding.sentence for finding in findings if finding.level == "ok"}
    assert "counts 1.5 in an exposure" in sentences["counter"]
    assert "counts 0.0015 a second" in sentences["count_rate"]


@pytest.mark.parametrize(
    ("change", "name", "sentence"),
    [
        ({}, "duration", "324 points take 1.1 min"),
        ({"exposure_s": 0.02}, "duration", "324 points take 7.45 s"),
        ({"exposure_s": 100.0}, "duration", "324 points take 9 h"),
        ({"exposure_s": 1e4}, "duration", "324 points take 37.5 d"),
        ({}, "dose", "is about 28.1 kGy in PMMA"),
        ({"photons_per_frame": 1e8}, "dose", "is about 2.81 MGy in PMMA"),
        ({"photons_per_frame": 1e4}, "dose", "is about 281 Gy in PMMA"),
    ],
)
def test_durations_and_doses_are_in_a_unit_of_their_size(
    published: PlannedScan, change: dict[str, Any], name: str, sentence: str
) -> None:
    findings = preflight(replace(published, **change)).findings
    (stated,) = [finding.sentence for finding in findings if finding.name == name]
    assert sentence in stated


def test_a_single_point_has_a_dose(published: PlannedScan) -> None:
    report = preflight(replace(published, exposed_um=np.zeros((1, 2))))
    dose = {finding.name: finding.value for finding in report.findings}["dose"]
    assert 0 < dose < 10


def test_the_dose_counts_what_passes_while_the_shutter_closes(published: PlannedScan) -> None:
    fast, slow = (
        {finding.name: finding.value for finding in preflight(replace(published, shutter=shutter)).findings}
        for shutter in (ShutterTiming(closing_lag_s=0.0), ShutterTiming(closing_lag_s=0.05))
    )
    assert slow["dose"] == pytest.approx(1.25 * fast["dose"])


def test_a_dose_that_cannot_be_mapped_is_no_refusal(published: PlannedScan) -> None:
    (dose,) = [
        f for f in preflight(replace(published, exposed_um=FAR_POINTS * 1e6)).findings if f.name == "dose"
    ]
    assert dose.level == "warning"
    assert "no dose is estimated: a map of" in dose.sentence


def test_remarks_become_warnings(published: PlannedScan) -> None:
    (warning,) = preflight(published, ["the probe is old"]).of_level("warning")
    assert warning.sentence == "the probe is old"


def test_it_is_kept_compactly_and_printed(published: PlannedScan) -> None:
    report = preflight(published)
    kept = report.to_start()
    assert len(kept) == len(CHECKS)
    assert kept["overlap"] == {
        "level": "ok",
        "value": pytest.approx(0.2513, abs=1e-4),
        "limit": pytest.approx(0.531, abs=1e-3),
        "unit": "um",
    }
    console = Console(width=200, file=StringIO(), record=True)
    console.print(report.table())
    printed = console.export_text()
    assert all(finding.sentence in printed for finding in report.findings)
