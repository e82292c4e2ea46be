"""A trajectory's time line, without a camera or a network."""

import asyncio
import time
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from ptycho_plugin.devices.simulated import PUBLISHED_GEOMETRY
from ptycho_plugin.errors import InputError
from ptycho_plugin.ioc import sequencer
from ptycho_plugin.ioc.axes import beamline_axes
from ptycho_plugin.ioc.sequencer import Route, Sequencer, SequencerFault
from ptycho_plugin.ioc.twin import Twin
from ptycho_plugin.optics import ZonePlate

ROUTE = Route(np.array([[0.0, 0.0], [0.2, 0.0], [0.2, 0.0], [0.2, -0.4]]), exposure_s=0.005)


class Camera:
    """Keeps when its gate rose, and where the stage then was."""

    def __init__(self, twin: Twin) -> None:
        self._twin = twin
        self.missing = 4
        self.gates: list[tuple[float, float]] = []
        self.places: list[list[float]] = []

    def trigger(self, exposure_s: float, begin: float) -> Any:
        begin, end = self._twin.raise_gate(exposure_s, begin, lambda _lights: None)
        self.gates.append((begin, end))
        self.places.append([self._twin.axes[axis].position(begin) for axis in ("PIEZO:Y", "PIEZO:X")])
        return SimpleNamespace(begin=begin, end=end)


@pytest.fixture
def twin(sink: Any) -> Twin:
    """In real time."""
    return Twin(beamline_axes(PUBLISHED_GEOMETRY), sink, ZonePlate(), now=time.monotonic())


@pytest.fixture
def camera(twin: Twin) -> Camera:
    return Camera(twin)


def run(twin: Twin, camera: Any, route: Route = ROUTE, when_gated: Any = lambda _pulse: None) -> Sequencer:
    it = Sequencer(twin, camera)

    async def go() -> None:
        await it.go_to_start(route)
        await it.run(route, time.monotonic(), when_gated)

    asyncio.run(go())
    return it


def test_the_gate_rises_where_and_when_it_should(twin: Twin, camera: Camera) -> None:
    it = run(twin, camera)
    assert camera.places == ROUTE.points_um.tolist()
    gates = np.array(camera.gates)
    assert gates[:, 1] - gates[:, 0] == pytest.approx(0.005)
    # 3 ms to read out; 1 or 2 ms on the way at 200 um/s and 10 ms to settle, but where it stays
    assert gates[1:, 0] - gates[:-1, 1] == pytest.approx([0.014, 0.003, 0.015])
    assert gates[-1, 1] - gates[0, 0] == pytest.approx(it.duration_s(ROUTE))


def test_a_process_that_wakes_up_late_does_not_change_the_time_line(twin: Twin, camera: Camera) -> None:
    it = run(twin, camera, when_gated=lambda _pulse: time.sleep(0.02))
    gates = np.array(camera.gates)
    assert gates[-1, 1] - gates[0, 0] == pytest.approx(it.duration_s(ROUTE))
    assert camera.places == ROUTE.points_um.tolist()


def test_a_stage_that_does_not_arrive_is_named(
    twin: Twin, camera: Camera, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sequencer, "LATE_S", 0.05)
    stall = lambda _pulse: twin.hinder("PIEZO:X", 0.0, time.monotonic())  # noqa: E731
    with pytest.raises(SequencerFault, match="PIEZO:X did not arrive at point 3"):
        run(twin, camera, when_gated=stall)
    assert len(camera.gates) == 3
    twin.hinder("PIEZO:X", 1.0, time.monotonic())
    assert twin.axes["PIEZO:X"].target == 0  # it was stopped, and stays


def test_an_abort_ends_it_after_the_exposure(twin: Twin, camera: Camera) -> None:
    it = Sequencer(twin, camera)

    async def go() -> None:
        await it.go_to_start(ROUTE)
        await it.run(ROUTE, time.monotonic(), lambda _pulse: it.abort())

    with pytest.raises(SequencerFault, match="aborted before point 1"):
        asyncio.run(go())
    assert len(camera.gates) == 1


@pytest.mark.parametrize(
    ("route", "says"),
    [
        (Route(np.array([[0.0, 51.0]]), 0.1), "PIEZO:X cannot go to 51 um"),
        (Route(np.array([[np.nan, 0.0]]), 0.1), "PIEZO:Y cannot go to nan"),
        (Route(np.zeros((1, 2)), 0.0), "EXPOSURE cannot be 0.0 s"),
        (Route(np.zeros((1, 2)), np.inf), "EXPOSURE cannot be inf s"),
    ],
)
def test_what_cannot_be_run_is_refused(twin: Twin, camera: Any, route: Route, says: str) -> None:
    with pytest.raises(InputError, match=says):
        Sequencer(twin, camera).check(route)


def test_a_camera_that_does_not_wait_is_refused(twin: Twin, camera: Any) -> None:
    camera.missing = 3
    with pytest.raises(InputError, match="waits for 3 external triggers, the trajectory gives 4"):
        Sequencer(twin, camera).check_camera(ROUTE)
