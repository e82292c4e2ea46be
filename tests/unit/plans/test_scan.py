"""The scan plan on a world that only counts: what is exposed, recorded and refused."""

from datetime import UTC, datetime, timedelta
from typing import Any

import bluesky.preprocessors as bpp
import numpy as np
import pytest
from bluesky import RunEngine
from ophyd import Signal

from ptycho_plugin.errors import InputError, PreflightRefusal, PublishingError
from ptycho_plugin.metadata import ScanMetadata, StoredProbe
from ptycho_plugin.plans import background_frames, find_beam_centre, probe_calibration, ptycho_scan
from ptycho_plugin.reconstruction.options import ReconstructionOptions
from ptycho_plugin.trajectory import ConcentricRings, RecordedPositions

SMALL = ConcentricRings(height_um=0.5, width_um=0.5)


def test_the_published_scan_is_324_points(
    engine: RunEngine, documents: Any, make_beamline: Any, world: Any
) -> None:
    (uid,) = engine(ptycho_scan(make_beamline(), md={"proposal": 4711}))
    assert len(documents.events()) == len(documents.of("stream_datum")) == len(world.exposures) == 324
    np.testing.assert_allclose([place for place, _ in world.exposures], ConcentricRings().offsets_um())
    (start,) = documents.of("start")
    assert start["uid"] == uid
    assert (start["num_points"], start["plan_name"], start["proposal"]) == (324, "ptycho_scan", 4711)
    assert start["detectors"] == ["pilatus", "encoder", "flux"]
    assert start["motors"] == ["stage_y", "stage_x"]
    assert documents.of("stop")[0]["exit_status"] == "success"


def test_a_run_says_all_that_a_reconstruction_needs(
    engine: RunEngine, documents: Any, make_beamline: Any, store: Any
) -> None:
    beamline = make_beamline(calibrations=store)
    (background,) = engine(background_frames(beamline, frames=1))
    store.keep_run(documents.of("start")[0])
    documents.clear()
    beamline.attenuator.set(0.5).wait(timeout=5)
    options = ReconstructionOptions(difference_map_iterations=7)
    plan = ptycho_scan(
        beamline,
        trajectory=SMALL,
        centre_um=(1.0, -2.0),
        exposure_s=0.1,
        options=options,
        background_run=background,
    )
    engine(plan)
    assert ScanMetadata.from_start(documents.of("start")[0]) == ScanMetadata(
        geometry=beamline.geometry,
        beam_centre_px=(30, 26),
        frame_key="pilatus_image",
        position_keys=("encoder_y", "encoder_x"),
        flux_key="flux_counts",
        trajectory=SMALL,
        centre_um=(1.0, -2.0),
        exposure_s=0.1,
        photons_per_frame=1e5 * 0.1 * 0.5,
        probe=beamline.optic,
        optic=beamline.optic,
        mask_version=beamline.detector.mask_version.get(),
        background_run=background,
        options=options,
    )
    (descriptor,) = [doc for doc in documents.of("descriptor") if doc["name"] == "primary"]
    assert descriptor["configuration"]["pilatus"]["data"]["pilatus_exposure_time"] == 0.1
    assert {"encoder_y", "encoder_x", "flux_counts", "pilatus_image"} <= set(descriptor["data_keys"])
    (setup,) = documents.events("setup")
    assert setup["data"]["attenuator_transmission"] == 0.5
    assert setup["data"]["coarse_y"] == 0.0


def test_a_beamline_may_have_a_baseline_of_its_own(
    engine: RunEngine, documents: Any, make_beamline: Any
) -> None:
    engine.preprocessors.append(bpp.SupplementalData(baseline=[Signal(name="ring", value=300.0)]))
    engine(ptycho_scan(make_beamline(), trajectory=SMALL))
    assert [event["data"] for event in documents.events("baseline")] == [{"ring": 300.0}] * 2
    assert len(documents.events("setup")) == 1


def test_events_say_what_was_counted_about_the_beam(
    engine: RunEngine, documents: Any, make_beamline: Any
) -> None:
    engine(ptycho_scan(make_beamline(), trajectory=SMALL))
    (descriptor,) = [doc for doc in documents.of("descriptor") if doc["name"] == "primary"]
    configuration = descriptor["configuration"]["pilatus"]["data"]
    assert [configuration[f"pilatus_roi_{name}"] for name in ("side", "first_row", "first_column")] == [
        48,
        6,
        2,
    ]
    assert descriptor["hints"]["pilatus"] == {"fields": ["pilatus_roi_counts"]}
    counts = [event["data"]["pilatus_roi_counts"] for event in documents.events()]
    assert counts == [48 * 48 * number for number in range(1, 1 + len(SMALL.offsets_um()))]


@pytest.mark.parametrize("plan", [background_frames, find_beam_centre])
def test_a_region_of_interest_off_the_detector_is_told_before_the_shutter_opens(
    engine: RunEngine, documents: Any, make_beamline: Any, world: Any, store: Any, plan: Any
) -> None:
    beamline = make_beamline(calibrations=store)
    beamline.detector.beam_centre_row.set(20).wait(timeout=5)
    with pytest.raises(InputError, match=r"48 x 48 px crop about beam centre \(20\.0, 26\.0\) leaves"):
        engine(plan(beamline))
    assert not documents.of("start")
    assert not world.exposures
    assert not world.is_open


def test_the_centre_moves_the_trajectory(engine: RunEngine, make_beamline: Any, world: Any) -> None:
    engine(ptycho_scan(make_beamline(), trajectory=SMALL, centre_um=(1.0, -2.0)))
    np.testing.assert_allclose(
        [place for place, _ in world.exposures], np.add(SMALL.offsets_um(), (1.0, -2.0))
    )


def test_the_beamlines_own_trajectory_is_the_default(
    engine: RunEngine, make_beamline: Any, world: Any
) -> None:
    points = ((0.1, 0.2), (0.3, 0.2))
    engine(ptycho_scan(make_beamline(trajectory=RecordedPositions(points_um=points))))
    assert [place for place, _ in world.exposures] == list(points)


def test_a_refused_scan_opens_no_run_and_no_shutter(
    engine: RunEngine, documents: Any, make_beamline: Any, world: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(PreflightRefusal, match=r"6\.000 um along the columns.* 5\.000 um"):
        engine(ptycho_scan(make_beamline(), centre_um=(0.0, 4.0)))
    assert not documents.of("start")
    assert not world.exposures
    assert "refusal" in capsys.readouterr().out


def test_hardware_that_triggers_too_fast_is_refused(engine: RunEngine, make_beamline: Any) -> None:
    with pytest.raises(PreflightRefusal, match=r"take 203\.0 ms, the trigger period is 200\.0 ms"):
        engine(ptycho_scan(make_beamline(trigger_period_s=0.2), trajectory=SMALL))


def test_lines_that_share_nothing_are_refused(engine: RunEngine, make_beamline: Any, world: Any) -> None:
    points = [(row, column / 10) for row in (-3.0, 0.0, 3.0) for column in range(10)]
    with pytest.raises(PreflightRefusal, match=r"largest step is 3\.000 um"):
        engine(ptycho_scan(make_beamline(), trajectory=RecordedPositions(points_um=points)))
    assert not world.exposures


def test_a_centre_that_was_not_measured_is_warned_of(
    engine: RunEngine, documents: Any, make_beamline: Any
) -> None:
    beamline = make_beamline()
    for measured, level in ((False, "warning"), (True, "ok")):
        beamline.detector.beam_centre_measured.set(measured).wait(timeout=5)
        documents.clear()
        engine(ptycho_scan(beamline, trajectory=SMALL))
        assert documents.of("start")[0]["preflight"]["beam_centre"]["level"] == level


def test_the_preflight_is_printed_and_kept(
    engine: RunEngine, documents: Any, make_beamline: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    engine(ptycho_scan(make_beamline(), trajectory=SMALL, sample={"name": "OCT", "thickness_um": 240}))
    assert "Preflight" in capsys.readouterr().out
    (start,) = documents.of("start")
    assert start["preflight"]["depth_of_focus"]["level"] == "warning"
    assert start["preflight"]["overlap"]["level"] == "ok"
    assert start["sample"]["name"] == "OCT"


def test_the_latest_probe_is_found_and_named(
    engine: RunEngine, documents: Any, make_beamline: Any, store: Any
) -> None:
    beamline = make_beamline(calibrations=store)
    old = datetime.now(UTC) - timedelta(days=3)
    probe = beamline.optic.probe(beamline.geometry)
    older = store.store_probe(probe, geometry=beamline.geometry, date=old)
    latest = store.store_probe(probe, geometry=beamline.geometry)
    for wanted, uid in (("latest", latest), (older, older)):
        documents.clear()
        engine(ptycho_scan(beamline, trajectory=SMALL, probe=wanted))
        (start,) = documents.of("start")
        assert ScanMetadata.from_start(start).probe == StoredProbe(uid=uid)
        assert ("probe" in start["preflight"]) is (uid == older)


def test_a_probe_of_another_energy_is_refused(
    engine: RunEngine, documents: Any, make_beamline: Any, store: Any
) -> None:
    beamline = make_beamline(calibrations=store)
    other = beamline.geometry.model_copy(update={"energy_eV": 7000.0})
    store.store_probe(beamline.optic.probe(other), geometry=other)
    with pytest.raises(InputError, match="energy 7000 eV, the scan 6199"):
        engine(ptycho_scan(beamline, trajectory=SMALL, probe="latest"))
    assert not documents.of("start")


@pytest.mark.parametrize("plan", [ptycho_scan, probe_calibration])
def test_a_background_that_is_none_is_refused(
    engine: RunEngine, documents: Any, make_beamline: Any, world: Any, store: Any, plan: Any
) -> None:
    beamline = make_beamline(calibrations=store)
    (scan,) = engine(ptycho_scan(beamline, trajectory=SMALL))
    store.keep_run(documents.of("start")[0])
    documents.clear()
    world.exposures.clear()
    with pytest.raises(PublishingError, match="no run nothing"):
        engine(plan(beamline, background_run="nothing"))
    with pytest.raises(InputError, match=f"run {scan} is of purpose 'scan' and no background"):
        engine(plan(beamline, background_run=scan))
    assert not documents.of("start")
    assert not world.exposures
    assert not world.is_open


@pytest.mark.parametrize(
    ("change", "shape", "sentence"),
    [
        (
            {"energy_eV": 7000.0},
            (60, 52),
            "energy 7000 eV, the scan 6199.21 eV: take background_frames",
        ),
        ({"distance": 2.0}, (60, 52), "distance 2 m, the scan 2.236 m"),
        ({"detector_pixel": 75e-6}, (60, 52), "window 5.9[0-9]*e-06 m, the scan 2.6e-06 m"),
        ({}, (52, 60), r"frames of shape \(52, 60\), the scan of shape \(60, 52\)"),
    ],
)
def test_a_background_measured_otherwise_is_refused(
    engine: RunEngine,
    documents: Any,
    make_beamline: Any,
    world: Any,
    store: Any,
    change: dict[str, float],
    shape: tuple[int, int],
    sentence: str,
) -> None:
    beamline = make_beamline(calibrations=store)
    (uid,) = engine(background_frames(beamline, frames=1))
    measured = ScanMetadata.from_start(documents.of("start")[0])
    geometry = measured.geometry.model_copy(update=change)
    store.runs[uid] = measured.model_copy(update={"geometry": geometry}), shape
    world.exposures.clear()
    with pytest.raises(InputError, match=f"background run {uid} has {sentence}"):
        engine(ptycho_scan(beamline, trajectory=SMALL, background_run=uid))
    assert not world.exposures


def test_the_background_of_another_crop_is_accepted(
    engine: RunEngine, documents: Any, make_beamline: Any, store: Any
) -> None:
    beamline = make_beamline(calibrations=store)
    (uid,) = engine(background_frames(beamline, frames=1))
    store.keep_run(documents.of("start")[0])
    smaller = make_beamline(calibrations=store, geometry=beamline.geometry.with_frame_side(40))
    engine(ptycho_scan(smaller, trajectory=SMALL, background_run=uid))
    assert ScanMetadata.from_start(documents.of("start")[1]).background_run == uid


def test_a_beamline_without_probe_says_what_to_do(engine: RunEngine, make_beamline: Any) -> None:
    with pytest.raises(InputError, match="no zone plate to model a probe from"):
        engine(ptycho_scan(make_beamline(optic=None)))
    with pytest.raises(InputError, match="no calibrations"):
        engine(ptycho_scan(make_beamline(), probe="latest"))
    with pytest.raises(InputError, match="no calibrations to find a probe, a mask or a background in"):
        engine(ptycho_scan(make_beamline(), background_run="some-run"))


def test_an_unwritable_folder_is_told_before_the_shutter_opens(
    engine: RunEngine, make_beamline: Any, world: Any, tmp_path: Any
) -> None:
    (tmp_path / "frames").write_text("")
    with pytest.raises(InputError, match="frames cannot be created"):
        engine(ptycho_scan(make_beamline(), trajectory=SMALL))
    assert not world.exposures
    assert not world.is_open
