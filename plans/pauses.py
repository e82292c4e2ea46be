"""What is said when the RunEngine pauses."""

from __future__ import annotations

from collections.abc import Callable

from rich.console import Console

ANSWERS = (
    "The shutter is closed. RE.resume(): the plan goes on where it was, nothing is exposed twice. "
    "RE.abort(), RE.stop(): the frame of an exposure that was made is saved, a scan parks its stage, and the "
    "same call goes on later. RE.halt(): nothing moves and no frame is saved; an exposure that was begun "
    "counts, and stays uncertain."
)

TRAJECTORY_ANSWERS = (
    "The trajectory was stopped before its next gate, and the shutter is closed. RE.resume(): a new "
    "trajectory goes on with the points that are left, nothing is exposed twice. RE.abort(), RE.stop(): the "
    "frames of all gates are saved, a scan parks its stage, and the same call goes on later. RE.halt(): "
    "nothing moves and no frame is saved; what was exposed counts."
)


class PauseLine:
    """Says in one line what each answer to a pause does to shutter, dose and stage.

    A message that names it makes the RunEngine tell it of pauses, and of suspensions.

    Parameters
    ----------
    in_trajectory : callable
        Whether a trajectory is under way.
    """

    def __init__(self, in_trajectory: Callable[[], bool]) -> None:
        self._in_trajectory = in_trajectory

    def pause(self) -> None:
        """Say it."""
        answers = TRAJECTORY_ANSWERS if self._in_trajectory() else ANSWERS
        Console().print(answers, soft_wrap=True, markup=False, highlight=False)

    def resume(self) -> None:
        """Say nothing."""
