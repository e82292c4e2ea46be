"""The fast shutter over Channel Access."""

from __future__ import annotations

from time import monotonic
from typing import Any, Protocol

from ophyd import EpicsSignal, EpicsSignalRO, FormattedComponent
from ophyd.status import StatusBase

from ptycho_plugin import beamline_file
from ptycho_plugin.devices.epics.answers import all_of, becomes, told
from ptycho_plugin.devices.pausing_shutter import CLOSED, OPEN, PausingShutter
from ptycho_plugin.devices.statuses import following, settled

MOVE_S = 2.0
"""For the blades to move, and the limit switch to say so."""


class Exposures(Protocol):
    """What knows of the detector's exposures."""

    @property
    def is_exposing(self) -> bool:
        """Whether one is under way."""

    @property
    def exposures(self) -> int:
        """How many have begun."""

    def wait_until_idle(self, late_s: float) -> None:
        """Block until none is under way, or one is so many seconds late."""


class EpicsShutter(PausingShutter):
    """A command, and a limit switch that says what became of it.

    A close that nobody has seen done is commanded again when its process variables are back.

    Parameters
    ----------
    prefix : str
        Of the beamline.
    said : Shutter
        As the beamline file has it.
    exposures : Exposures
    **kwargs
        As for `ophyd.Device`.
    """

    command = FormattedComponent(EpicsSignal, "{prefix}{_said.command}", put_complete=True, kind="omitted")
    status = FormattedComponent(EpicsSignalRO, "{prefix}{_said.status}", auto_monitor=True, kind="normal")

    def __init__(
        self, prefix: str, said: beamline_file.schema.Shutter, *, exposures: Exposures, **kwargs: Any
    ) -> None:
        self._said = said
        super().__init__(prefix, **kwargs)
        self._exposures = exposures
        self._opened = 0.0
        self._owed_close: object | None = None
        """Stands for the close that was commanded last, as long as nobody has said that it is closed."""
        self._is_there = False
        for signal in (self.command, self.status):
            signal.subscribe(self._follow_connection, event_type=signal.SUB_META, run=False)

    def stage(self) -> list[object]:
        """Close, and see that it is closed."""
        staged = super().stage()
        settled(self._move(CLOSED))
        return staged

    def _drive(self, state: str) -> StatusBase:
        target, remedy = int(state == OPEN), f"see that it is {state}, by hand if need be"
        owed = self._owed_close = object() if state == CLOSED else None
        moved = told(self.command, target, MOVE_S, remedy)
        seen = all_of(moved, becomes(self.status, target, MOVE_S, f"say {state}", remedy))

        def acquit(error: Exception | None) -> None:
            if error is not None:
                raise error
            if self._owed_close is owed:
                self._owed_close = None

        return following(self, seen, acquit)

    def _follow_connection(self, **_: Any) -> None:
        is_there = self.command.connected and self.status.connected
        is_back, self._is_there = is_there and not self._is_there, is_there
        if is_back and self._owed_close is not None:
            self._move(CLOSED)

    def _begin_opening(self) -> None:
        self._opened = monotonic()

    def _opening_s(self) -> float:
        return monotonic() - self._opened

    def _let_end(self, late_s: float) -> None:
        self._exposures.wait_until_idle(late_s)

    def _is_exposing(self) -> bool:
        return self._exposures.is_exposing

    def _progress(self) -> float:
        return float(self._exposures.exposures)
