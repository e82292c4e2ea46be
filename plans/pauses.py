"""What is said when the RunEngine pauses."""

from __future__ import annotations

from rich.console import Console

ANSWERS = (
    "The shutter is closed. RE.resume(): the plan goes on where it was, nothing is exposed twice. "
    "RE.abort(), RE.stop(): the frame of an exposure that was made is saved, a scan parks its stage, and the "
    "same call goes on later. RE.halt(): nothing moves and no frame is saved; an exposure that was begun "
    "counts, and stays uncertain."
)


class PauseLine:
    """Says in one line what each answer to a pause does to shutter, dose and stage.

    A message that names it makes the RunEngine tell it of pauses, and of suspensions.
    """

    def pause(self) -> None:
        """Say it."""
        Console().print(ANSWERS, soft_wrap=True, markup=False, highlight=False)

    def resume(self) -> None:
        """Say nothing."""
