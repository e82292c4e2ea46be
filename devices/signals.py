"""Soft signals that say their unit."""

from __future__ import annotations

from typing import Any

from ophyd import Signal
from ophyd.signal import AttributeSignal, InternalSignalMixin


class UnitSignal(Signal):
    """A soft signal whose description names a unit.

    Parameters
    ----------
    units : str
    **kwargs
        As for `ophyd.Signal`.
    """

    def __init__(self, *, units: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._units = units

    def describe(self) -> dict[str, Any]:
        """Return the data key with its units."""
        described: dict[str, Any] = super().describe()
        described[self.name]["units"] = self._units
        return described


class MeasuredSignal(InternalSignalMixin, UnitSignal):
    """A value that its device alone may write: ``put(value, internal=True)``."""


class ComputedSignal(UnitSignal, AttributeSignal):
    """A value that its device computes whenever it is read.

    Parameters
    ----------
    **kwargs
        As for `ophyd.signal.AttributeSignal`, with its ``attr``, and for `UnitSignal`.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(write_access=False, **kwargs)

    def describe(self) -> dict[str, Any]:
        """Return the data key with the type that the value has now."""
        self.get()  # ophyd judges by the value that was read last
        described: dict[str, Any] = super().describe()
        return described
