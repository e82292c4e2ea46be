"""Suspenders for what interrupts the beam: a plan waits until it is back, with the shutter closed.

Each is installed with ``RE.install_suspender``. An exposure that is under way ends as it should, and
is not made again; the next one waits.
"""

from __future__ import annotations

from bluesky.suspenders import SuspendBoolLow, SuspendFloor
from ophyd import Signal


def ring_current_suspender(
    signal: Signal, lowest_mA: float, resume_mA: float | None = None, settle_s: float = 60.0
) -> SuspendFloor:
    """Return a suspender for a stored current that has been lost.

    Parameters
    ----------
    signal : Signal
        Current of the ring in milliamperes.
    lowest_mA : float
        Below it the plan is suspended.
    resume_mA : float, optional
        Above it the plan goes on; by default `lowest_mA`.
    settle_s : float
        For which optics take up their heat load again.
    """
    return SuspendFloor(
        signal,
        lowest_mA,
        resume_thresh=resume_mA,
        sleep=settle_s,
        tripped_message="the ring has lost current",
    )


def front_end_suspender(signal: Signal, settle_s: float = 60.0) -> SuspendBoolLow:
    """Return a suspender for a closed front end.

    Parameters
    ----------
    signal : Signal
        True, or not zero, while the front end is open.
    settle_s : float
        For which optics take up their heat load again.
    """
    return SuspendBoolLow(signal, sleep=settle_s, tripped_message="the front end is closed")


def top_up_suspender(signal: Signal, exposure_s: float, settle_s: float = 0.1) -> SuspendFloor:
    """Return a suspender that lets no exposure run into an injection.

    Parameters
    ----------
    signal : Signal
        Seconds until the next injection; it starts anew when that is over.
    exposure_s : float
        Longest time of an exposure, with what it takes to begin: no later one is begun.
    settle_s : float
        From the injection until the orbit is stable.
    """
    return SuspendFloor(signal, exposure_s, sleep=settle_s, tripped_message="an injection comes")
