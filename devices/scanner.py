"""A simulated position sequencer: it moves the stage and raises the gate without software in between."""

from __future__ import annotations

import asyncio
import threading
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from ophyd.status import Status

from ptycho_plugin.devices.beamline import Captured, GatedPoints, MoveTiming
from ptycho_plugin.devices.counters import FluxMonitor
from ptycho_plugin.devices.gate import ExposureGate
from ptycho_plugin.devices.stage import SimulatedStage
from ptycho_plugin.devices.statuses import finished
from ptycho_plugin.errors import InputError

if TYPE_CHECKING:
    from ptycho_plugin.simulation.world import Exposure

ARMED = "armed"
LATE_S = 2.0
"""For which a gate that is high may outlast its time when a trajectory is to stop."""


class SimulatedScanner:
    """A `TrajectoryScanner` of simulated devices.

    Parameters
    ----------
    name : str
    stage : SimulatedStage
    gate : ExposureGate
    flux : FluxMonitor
        Its gain is that of the captured counts.
    timing : MoveTiming
        Of the stage.
    readout_s : float
        From the end of a gate until the detector is ready for the next.
    """

    parent = None

    def __init__(
        self,
        *,
        name: str,
        stage: SimulatedStage,
        gate: ExposureGate,
        flux: FluxMonitor,
        timing: MoveTiming,
        readout_s: float,
    ) -> None:
        self.name = name
        self._stage = stage
        self._gate = gate
        self._flux = flux
        self._timing = timing
        self._readout_s = readout_s
        self._loaded: GatedPoints | None = None
        self._armed = False
        self._gates: list[tuple[float, ...]] = []
        self._begun = 0
        self._stopping = threading.Event()
        self._at_rest = threading.Event()
        self._at_rest.set()
        self._ended = finished(self)

    @property
    def captured(self) -> Captured:
        """The gates so far of the trajectory that was armed last."""
        gates = np.array(self._gates, np.float64).reshape(-1, 5)
        return Captured(gates[:, :2], gates[:, 2], gates[:, 3:], max(self._begun, len(gates)))

    @property
    def is_running(self) -> bool:
        """Whether a trajectory is under way."""
        return not self._at_rest.is_set()

    def prepare(self, value: GatedPoints) -> Status:
        """Load a trajectory; nothing moves.

        Raises
        ------
        InputError
            If there is no point, or one that the stage cannot reach.
        RuntimeError
            If a trajectory is under way.
        """
        if self.is_running:
            raise RuntimeError(f"{self.name} has a trajectory under way: wait until it has ended")
        if not len(value.points_um):
            raise InputError(f"{self.name} cannot go along no points: give at least one")
        for row, column in value.points_um.tolist():
            self._stage.y.check_value(row)
            self._stage.x.check_value(column)
        self._loaded, self._armed = value, False
        return finished(self)

    def set(self, value: str) -> Status:
        """Go to the first point, and wait there for the start.

        Raises
        ------
        InputError
            If the value is not "armed".
        RuntimeError
            If nothing is loaded.
        """
        if value != ARMED:
            raise InputError(f"{self.name} cannot be set to {value!r}: say {ARMED!r}")
        if self._loaded is None:
            raise RuntimeError(f"{self.name} has no trajectory: prepare it first")
        self._gates, self._begun = [], 0
        self._armed = True
        self._stopping.clear()
        self._gate.hold(False)
        row, column = self._loaded.points_um[0].tolist()
        return self._stage.y.set(row) & self._stage.x.set(column)

    def kickoff(self) -> Status:
        """Start; where it was stopped since it was armed, it ends at once.

        Raises
        ------
        RuntimeError
            If it was not armed.
        """
        if not self._armed or self._loaded is None:
            raise RuntimeError(f"{self.name} is not armed: set it to {ARMED!r}")
        self._armed = False
        self._ended = Status(self)
        self._at_rest.clear()
        threading.Thread(
            target=self._run, args=(self._loaded, self._ended), name="trajectory", daemon=True
        ).start()
        return finished(self)

    def complete(self) -> Status:
        """Return the status of the trajectory that was started last."""
        return self._ended

    async def stop(self, success: bool = True) -> None:  # noqa: ARG002
        """End the trajectory before its next gate, and wait until it has."""
        self._stopping.set()
        gate_s = 0.0 if self._loaded is None else self._loaded.exposure_s * self._gate.time_factor
        await asyncio.to_thread(self._at_rest.wait, gate_s + LATE_S)

    def _run(self, trajectory: GatedPoints, ended: Status) -> None:
        try:
            self._fly(trajectory)
        except Exception as error:  # noqa: BLE001  the status carries it to the plan
            self._at_rest.set()
            ended.set_exception(error)
        else:
            self._at_rest.set()
            ended.set_finished()

    def _fly(self, trajectory: GatedPoints) -> None:
        points = [(row, column) for row, column in trajectory.points_um.tolist()]
        transits_s = [0.0, *(self._timing.steps_s(trajectory.points_um) + self._readout_s).tolist()]
        now_s = 0.0
        for before, point, transit_s in zip((points[0], *points), points, transits_s, strict=False):
            if transit_s:
                self._gate.shine(transit_s, before, point, self._stopping)
            if self._stopping.is_set():
                return
            self._stage.y.arrive(point[0])
            self._stage.x.arrive(point[1])
            now_s += transit_s
            self._begun += 1
            until_s = now_s + trajectory.exposure_s
            if not self._gate.expose_next(trajectory.exposure_s, partial(self._capture, now_s, until_s)):
                self._begun -= 1  # it is held, since the shutter closes
                return
            now_s = until_s

    def _capture(self, began_s: float, ended_s: float, exposure: Exposure) -> None:
        counts = exposure.monitor_counts * self._flux.gain.get()
        self._gates.append((*exposure.position_um, counts, began_s, ended_s))
