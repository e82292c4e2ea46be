"""When to try again what has failed."""

from __future__ import annotations

from time import monotonic

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 30.0
"""Between attempts, doubled from one to the next."""


class Attempts:
    """Pauses between attempts, each twice as long as the one before.

    Attributes
    ----------
    failures : int
        In a row.
    due : float
        When the next one is, by the monotonic clock.
    """

    def __init__(self) -> None:
        self.failures = 0
        self.due = 0.0

    def failed(self) -> None:
        """Wait for twice as long as the last time."""
        self.due = monotonic() + min(FIRST_PAUSE_S * 2**self.failures, LONGEST_PAUSE_S)
        self.failures += 1

    def succeeded(self) -> None:
        """Begin anew."""
        self.failures, self.due = 0, 0.0

    @property
    def is_due(self) -> bool:
        """Whether it is time."""
        return monotonic() >= self.due
