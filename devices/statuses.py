"""Statuses that are done already, or are waited for outside of a plan."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bluesky.protocols import Status as Waited
from ophyd.status import Status, StatusBase


def finished(device: Any) -> Status:
    """Return the status of what a device has done already."""
    status = Status(device)
    status.set_finished()
    return status


def following(device: Any, status: StatusBase, judge: Callable[[Exception | None], None]) -> Status:
    """Return a status that ends as another one has ended, and as `judge` finds.

    Parameters
    ----------
    device : object
        Whose status it is.
    status : StatusBase
    judge : callable
        Called with what the other failed with, or None. Whatever it raises, the status fails with: one that
        never ended would hold the plan for ever.
    """
    own = Status(device)

    def finish(ended: StatusBase) -> None:
        try:
            judge(ended.exception(timeout=0))
        except Exception as error:  # noqa: BLE001  the status carries it to the plan
            own.set_exception(error)
        else:
            own.set_finished()

    status.add_callback(finish)
    return own


def settled(status: Waited) -> None:
    """Wait for a status that ends by itself, and raise what it failed with."""
    error = status.exception()
    if error is not None:
        raise error
