"""Settings of a device that a run changes, and that are as they were when it is over."""

from __future__ import annotations

from typing import Any

from ptycho_plugin.devices.epics.answers import ANSWER_S, read, told
from ptycho_plugin.devices.statuses import settled
from ptycho_plugin.errors import DeviceError

REMEDY = "see what its controller says"


class Settings:
    """Signals that are set for a while.

    Each is given back what it had, in the opposite order; one that does not answer keeps none of the
    others from it.
    """

    def __init__(self) -> None:
        self._found: list[tuple[Any, Any]] = []

    def change(self, signal: Any, value: Any) -> None:
        """Set a signal, and remember what it had before it was first set.

        Raises
        ------
        DeviceError
            If it does not answer.
        """
        if all(known is not signal for known, _ in self._found):
            self._found.append((signal, read(signal)))  # before: a put that is late may still be obeyed
        settled(told(signal, value, ANSWER_S, REMEDY))

    def restore(self) -> None:
        """Set everything back.

        Raises
        ------
        DeviceError
            If signals do not answer; it names them, and the others are set back.
        """
        failed = []
        while self._found:
            signal, value = self._found.pop()
            try:
                settled(told(signal, value, ANSWER_S, f"set it back to {value!r} by hand"))
            except DeviceError as error:
                failed.append(str(error))
        if failed:
            raise DeviceError("; ".join(failed))
