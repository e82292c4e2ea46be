"""Statuses that are done already, or are waited for outside of a plan."""

from __future__ import annotations

from typing import Any

from ophyd.status import Status, StatusBase


def finished(device: Any) -> Status:
    """Return the status of what a device has done already."""
    status = Status(device)
    status.set_finished()
    return status


def settled(status: StatusBase) -> None:
    """Wait for a status that ends by itself, and raise what it failed with."""
    error = status.exception()
    if error is not None:
        raise error
