"""Frames and gates that two machines count."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from ptycho_plugin.devices.beamline import Captured
from ptycho_plugin.devices.gated_frames import GatedFrames


class Machines:
    """A detector and a scanner that say what they are told to."""

    def __init__(self) -> None:
        self.frames, self.gates, self.is_running = 0, 0, True

    def get_index(self) -> int:
        return self.frames

    @property
    def captured(self) -> Captured:
        return Captured(
            np.zeros((self.gates, 2)), np.zeros(self.gates), np.zeros((self.gates, 2)), self.gates
        )


@pytest.fixture
def machines() -> Machines:
    return Machines()


@pytest.fixture
def gated(machines: Any) -> GatedFrames:
    beamline: Any = SimpleNamespace(scanner=machines, detector=machines, flux=None, encoder=None)
    gated = GatedFrames(beamline)
    gated.begin()
    return gated


def test_gates_that_are_told_late_do_not_hide_a_frame_that_is_missing(
    gated: GatedFrames, machines: Machines
) -> None:
    for gate in range(1, 7):
        machines.frames, machines.gates = gate - (gate >= 3), gate - 1  # the third has no frame
        assert not gated.match(), f"after gate {gate}"
    machines.gates, machines.is_running = 6, False
    assert not gated.match()


def test_gates_that_are_told_late_are_believed_at_rest(gated: GatedFrames, machines: Machines) -> None:
    machines.frames, machines.gates = 3, 2
    assert not gated.match()
    machines.gates = 3
    assert not gated.match()
    machines.is_running = False
    assert gated.match()


def test_frames_that_come_after_their_gates_match_while_it_runs(
    gated: GatedFrames, machines: Machines
) -> None:
    machines.frames, machines.gates = 2, 3
    assert not gated.match()
    machines.frames = 3
    assert gated.match()
