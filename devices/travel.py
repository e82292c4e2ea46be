"""Limits of travel, which every axis keeps in the same words."""

from __future__ import annotations

from ophyd.utils import LimitError

from ptycho_plugin.errors import InputError


class TravelLimitError(InputError, LimitError):
    """A position that an axis cannot reach."""


def check_travel(name: str, value: float, limits: tuple[float, float], units: str) -> None:
    """Raise `TravelLimitError` if an axis cannot go to a position.

    Equal limits are none; ones that exclude each other, such as a record's and a file's, allow nothing.
    """
    low, high = limits
    if low != high and not low <= value <= high:
        raise TravelLimitError(
            f"{name} cannot go to {value:g} {units}: its limits are {low:g} to {high:g} {units}"
        )
