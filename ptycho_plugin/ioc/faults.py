"""Faults on command, for those who must know what the beamline does then."""

from __future__ import annotations

from ptycho_plugin.errors import InputError
from ptycho_plugin.ioc.twin import RING_CURRENT_MA, Twin

HELP = "'stall AXIS', 'slow AXIS TIMES', 'miss_trigger', 'drop_frame', 'beam_loss' or 'none'"


class Faults:
    """What is wrong at present.

    A stalled or slow axis and a lost beam stay until "none"; a missed trigger and a dropped frame
    befall the next one only.

    Parameters
    ----------
    twin : Twin
    """

    def __init__(self, twin: Twin) -> None:
        self._twin = twin
        self._once: set[str] = set()

    def command(self, text: str, now: float) -> None:
        """Let something go wrong, or everything go right again.

        Raises
        ------
        InputError
            If there is no such fault.
        """
        match text.split():
            case ["stall", axis]:
                self._hinder(axis, 0.0, now)
            case ["slow", axis, times]:
                self._hinder(axis, 1 / _times(times), now)
            case ["miss_trigger" | "drop_frame" as fault]:
                self._once.add(fault)
            case ["beam_loss"]:
                self._twin.set_ring_current(0.0, now)
            case ["none"]:
                self._mend(now)
            case _:
                raise InputError(f"there is no fault '{text}': say {HELP}")

    def befalls(self, fault: str) -> bool:
        """Return whether this one goes wrong; the next one will not."""
        if fault not in self._once:
            return False
        self._once.remove(fault)
        return True

    def _hinder(self, axis: str, speed_factor: float, now: float) -> None:
        if axis not in self._twin.axes:
            raise InputError(f"there is no axis '{axis}': take one of {', '.join(self._twin.axes)}")
        self._twin.hinder(axis, speed_factor, now)

    def _mend(self, now: float) -> None:
        self._once.clear()
        self._twin.set_ring_current(RING_CURRENT_MA, now)
        for axis in self._twin.axes:
            self._twin.hinder(axis, 1.0, now)


def _times(text: str) -> float:
    try:
        times = float(text)
    except ValueError:
        times = 0.0
    if not times > 0:
        raise InputError(f"an axis cannot be {text} times as slow: give a number above 0, e.g. 10")
    return times
