"""A request to end a plan, which may have to wait for a frame."""

from __future__ import annotations

from time import monotonic

from bluesky.utils import RunEngineControlException


class EndRequest:
    """An abort or a stop that is kept back until the frame of an exposure is saved, or does not come."""

    def __init__(self) -> None:
        self._error: RunEngineControlException | None = None
        self._until = 0.0

    def __bool__(self) -> bool:
        return self._error is not None

    @property
    def is_late(self) -> bool:
        """Whether it has waited long enough."""
        return bool(self) and monotonic() >= self._until

    @property
    def left_s(self) -> float:
        """For how long it may still wait."""
        return max(0.0, self._until - monotonic())

    def keep(self, error: RunEngineControlException, seconds: float) -> None:
        """Keep it back for so long."""
        self._error, self._until = error, monotonic() + seconds

    def take(self) -> RunEngineControlException | None:
        """Return it, and forget it."""
        error, self._error = self._error, None
        return error

    def raise_unless(self, frame_is_due: bool) -> None:
        """Raise it when no frame is due, or it does not come."""
        if self._error is not None and (self.is_late or not frame_is_due):
            raise self._error
