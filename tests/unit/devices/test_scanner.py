import asyncio
from typing import Any

import numpy as np
import pytest
from bluesky.protocols import Flyable, Movable, Preparable, Stoppable

from ptycho_plugin.devices.beamline import GatedPoints
from ptycho_plugin.errors import InputError

POINTS = np.array([[0.0, 0.0], [0.0, 1.0], [2.0, 1.0]])


@pytest.fixture
def beamline(make_beamline: Any) -> Any:
    beamline = make_beamline()
    beamline.detector.stage()
    yield beamline
    beamline.detector.unstage()


def fly(scanner: Any, points: Any = POINTS) -> Any:
    scanner.prepare(GatedPoints(points, 0.1)).wait(timeout=5)
    scanner.set("armed").wait(timeout=5)
    scanner.kickoff().wait(timeout=5)
    return scanner.complete()


def test_it_exposes_at_each_point_and_captures_what_was_measured(beamline: Any, world: Any) -> None:
    beamline.detector.prepare(len(POINTS))
    beamline.flux.gain.set(2.0).wait(timeout=5)
    world.set_shutter(True)
    fly(beamline.scanner).wait(timeout=5)
    assert world.exposures == [(tuple(point), True) for point in POINTS.tolist()]
    captured = beamline.scanner.captured
    np.testing.assert_allclose(captured.positions_um, POINTS + 1e-3)
    assert captured.counts.tolist() == [2000.0, 4000.0, 6000.0]
    assert captured.begun == len(captured) == 3
    between = beamline.transits_s(POINTS)
    assert captured.gates_s.ravel() == pytest.approx(np.cumsum([0, 0.1, between[0], 0.1, between[1], 0.1]))
    assert (beamline.stage.y.position, beamline.stage.x.position) == tuple(POINTS[-1])
    assert beamline.detector.get_index() == 3
    assert not beamline.scanner.is_running


def test_light_falls_on_the_way_while_the_shutter_is_open(beamline: Any, world: Any) -> None:
    fly(beamline.scanner).wait(timeout=5)
    assert not any(beam for _, _, beam in world.light)
    world.light.clear()
    world.set_shutter(True)
    fly(beamline.scanner).wait(timeout=5)
    assert sum(seconds * beam for _, seconds, beam in world.light) == pytest.approx(
        beamline.transits_s(POINTS).sum()
    )
    columns = [column for (row, column), *_ in world.light if row == 0]
    assert columns == sorted(columns)
    assert min(columns) > 0
    assert max(columns) < 1


def test_one_that_was_stopped_when_armed_ends_as_it_starts(beamline: Any, world: Any) -> None:
    beamline.scanner.prepare(GatedPoints(POINTS, 0.1)).wait(timeout=5)
    beamline.scanner.set("armed").wait(timeout=5)
    asyncio.run(beamline.scanner.stop())
    beamline.scanner.kickoff().wait(timeout=5)
    beamline.scanner.complete().wait(timeout=5)
    assert len(beamline.scanner.captured) == beamline.scanner.captured.begun == 0
    assert world.exposures == []
    fly(beamline.scanner).wait(timeout=5)
    assert len(world.exposures) == 3


def test_a_shutter_that_pauses_lets_no_other_gate_begin(beamline: Any, world: Any) -> None:
    take = world.expose

    def and_pause(exposure_s: float) -> Any:
        beamline.scanner._gate.hold()
        return take(exposure_s)

    world.expose = and_pause
    fly(beamline.scanner).wait(timeout=5)
    assert len(world.exposures) == beamline.scanner.captured.begun == 1


def test_what_fails_is_told_by_its_status(beamline: Any, world: Any) -> None:
    world.fails_at = 2
    error = fly(beamline.scanner).exception(timeout=5)
    assert "the camera died" in str(error)
    assert (len(beamline.scanner.captured), beamline.scanner.captured.begun) == (1, 2)


def test_what_cannot_be_flown_is_refused(beamline: Any, world: Any) -> None:
    scanner = beamline.scanner
    with pytest.raises(RuntimeError, match="prepare it first"):
        scanner.set("armed")
    with pytest.raises(RuntimeError, match="not armed"):
        scanner.kickoff()
    with pytest.raises(InputError, match="along no points"):
        scanner.prepare(GatedPoints(np.empty((0, 2)), 0.1))
    with pytest.raises(InputError, match="cannot go to 6 um"):
        scanner.prepare(GatedPoints(np.array([[0.0, 6.0]]), 0.1))
    with pytest.raises(InputError, match="say 'armed'"):
        scanner.set("go")
    assert world.exposures == []


def test_the_detector_takes_gates_until_it_is_triggered_itself(beamline: Any) -> None:
    beamline.detector.prepare(10)
    fly(beamline.scanner).wait(timeout=5)
    beamline.detector.trigger().wait(timeout=5)
    assert beamline.detector.get_index() == 4
    fly(beamline.scanner).wait(timeout=5)
    assert beamline.detector.get_index() == 4


def test_it_speaks_blueskys_protocols(beamline: Any) -> None:
    for protocol in (Flyable, Movable, Preparable, Stoppable):
        assert isinstance(beamline.scanner, protocol)
