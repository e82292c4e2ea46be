"""Calibrations go to their place and come back, whether they work or not."""

from typing import Any

import numpy as np
import pytest
from bluesky import RunEngine
from bluesky.utils import FailedStatus

from ptycho_plugin.errors import InputError
from ptycho_plugin.metadata import ScanMetadata
from ptycho_plugin.plans import background_frames, find_beam_centre, probe_calibration, ptycho_scan
from ptycho_plugin.publishing.calibrations import start_probe
from ptycho_plugin.trajectory import ConcentricRings

SMALL = ConcentricRings(height_um=0.5, width_um=0.5)


@pytest.fixture
def places(world: Any) -> list[tuple[float, float]]:
    """Where the coarse stage stood at each exposure."""
    seen = []
    expose = world.expose

    def watched(exposure_s: float) -> Any:
        seen.append(tuple(world._pair("coarse").tolist()))
        return expose(exposure_s)

    world.expose = watched
    return seen


@pytest.fixture
def beamline(make_beamline: Any, store: Any) -> Any:
    """A beamline whose coarse stage stands at a sample of its own."""
    beamline = make_beamline(calibrations=store)
    beamline.coarse.y.set(12.0).wait(timeout=5)
    beamline.coarse.x.set(-34.0).wait(timeout=5)
    return beamline


def assert_as_before(beamline: Any, world: Any) -> None:
    assert (beamline.coarse.y.position, beamline.coarse.x.position) == (12.0, -34.0)
    assert beamline.attenuator.position == 1.0
    assert not world.is_open


def test_a_probe_is_calibrated_on_the_specimen(
    engine: RunEngine, documents: Any, beamline: Any, world: Any, places: Any
) -> None:
    engine(probe_calibration(beamline, trajectory=SMALL, md={"slit_gaps_um": [20, 40]}))
    assert set(places) == {(0.0, 900.0)}
    assert len(places) == len(SMALL.offsets_um())
    (start,) = documents.of("start")
    assert ScanMetadata.from_start(start).purpose == "probe_calibration"
    assert start["plan_name"] == "probe_calibration"
    assert start["slit_gaps_um"] == [20, 40]
    assert_as_before(beamline, world)


def test_the_mask_of_the_background_is_named_by_the_next_scan(
    engine: RunEngine, documents: Any, beamline: Any, world: Any, store: Any, places: Any
) -> None:
    (uid,) = engine(background_frames(beamline, frames=3))
    assert set(places) == {(0.0, -900.0)}
    assert len(places) == 3
    assert store.masks["mask-0"].all()
    (result,) = documents.events("result")
    assert result["data"]["pilatus_mask_version"] == "mask-0"
    assert ScanMetadata.from_start(documents.of("start")[0]).purpose == "background"
    assert_as_before(beamline, world)

    store.keep_run(documents.of("start")[0])
    engine(ptycho_scan(beamline, trajectory=SMALL, background_run=uid))
    scan = ScanMetadata.from_start(documents.of("start")[1])
    assert (scan.mask_version, scan.background_run) == ("mask-0", uid)


def test_a_calibration_that_fails_leaves_everything_as_it_was(
    engine: RunEngine, documents: Any, beamline: Any, world: Any
) -> None:
    before = beamline.detector.beam_centre_row.get()
    with pytest.raises(InputError, match="of the direct beam's rim"):
        engine(find_beam_centre(beamline))  # this world's frames are flat
    assert beamline.detector.beam_centre_row.get() == before
    assert not beamline.detector.beam_centre_measured.get()
    assert documents.of("stop")[0]["exit_status"] == "fail"
    assert_as_before(beamline, world)


@pytest.mark.parametrize("plan", [find_beam_centre, background_frames, probe_calibration, ptycho_scan])
def test_a_dead_camera_leaves_everything_as_it_was(
    engine: RunEngine, beamline: Any, world: Any, plan: Any
) -> None:
    world.fails_at = 1
    with pytest.raises(FailedStatus):
        engine(plan(beamline))
    assert_as_before(beamline, world)


def test_the_attenuator_is_in_for_the_direct_beam(engine: RunEngine, beamline: Any, world: Any) -> None:
    seen = []
    engine.msg_hook = lambda message: (
        seen.append(world.transmission)
        if message.command == "trigger" and message.obj.name == "pilatus"
        else None
    )
    with pytest.raises(InputError):
        engine(find_beam_centre(beamline, transmission=0.01))
    assert seen == [0.01]


def test_frames_without_a_sample_need_no_probe(
    engine: RunEngine, documents: Any, make_beamline: Any, store: Any
) -> None:
    engine(background_frames(make_beamline(optic=None, calibrations=store), frames=1))
    scan = ScanMetadata.from_start(documents.of("start")[0])
    assert scan.probe is None
    with pytest.raises(InputError, match="a run of purpose 'background' names no probe"):
        start_probe(store, scan)


def test_background_needs_somewhere_to_keep_the_mask(engine: RunEngine, make_beamline: Any) -> None:
    with pytest.raises(InputError, match="no calibrations"):
        engine(background_frames(make_beamline()))


def test_a_beamline_without_the_place_says_so(engine: RunEngine, make_beamline: Any, store: Any) -> None:
    beamline = make_beamline(places={"sample": (0.0, 0.0)}, calibrations=store)
    for plan, place in ((find_beam_centre, "empty"), (probe_calibration, "specimen")):
        with pytest.raises(InputError, match=f"no place '{place}'"):
            engine(plan(beamline))


def test_frames_without_a_sample_are_all_kept(engine: RunEngine, documents: Any, beamline: Any) -> None:
    engine(background_frames(beamline, frames=2))
    assert [event["data"]["flux_counts"] for event in documents.events()] == [1000.0, 2000.0]
    assert np.all([datum["indices"]["start"] for datum in documents.of("stream_datum")] == [0, 1])
