"""The simulated shutter in front of the sample."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ophyd.status import DeviceStatus

from ptycho_plugin.devices.gate import ExposureGate
from ptycho_plugin.devices.pausing_shutter import CLOSED, OPEN, PausingShutter
from ptycho_plugin.dose import ShutterTiming

if TYPE_CHECKING:
    from ptycho_plugin.simulation.world import World


class SimulatedShutter(PausingShutter):
    """Blades of a world; they open and close as late as their timing says.

    A pause lets a trajectory raise its gate no more.

    Parameters
    ----------
    world : World
    gate : ExposureGate
    timing : ShutterTiming
    time_factor : float
        Duration of a simulated second in seconds.
    **kwargs
        As for `ophyd.Device`.
    """

    def __init__(
        self, *, world: World, gate: ExposureGate, timing: ShutterTiming, time_factor: float, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self._world = world
        self._gate = gate
        self._timing = timing
        self._passed_before_s = gate.passed_s
        self._delay_s = {OPEN: timing.opening_lag_s * time_factor, CLOSED: timing.closing_lag_s * time_factor}
        self._move(CLOSED)

    def _drive(self, state: str) -> DeviceStatus:
        self._world.set_shutter(state == OPEN)
        status = DeviceStatus(self, settle_time=self._delay_s[state])
        status.set_finished()
        return status

    def _begin_opening(self) -> None:
        self._passed_before_s = self._gate.passed_s

    def _opening_s(self) -> float:
        # Simulated time passes in exposures, and on the way between those of a trajectory.
        return self._timing.commanded_s(self._gate.passed_s - self._passed_before_s)

    def _let_end(self, late_s: float) -> None:
        self._gate.hold()
        self._gate.wait_until_low(late_s)

    def _is_exposing(self) -> bool:
        return self._gate.is_high

    def _progress(self) -> float:
        return self._gate.passed_s
