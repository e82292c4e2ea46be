"""Parts of plans in which hardware brings the stage from point to point, with the shutter open."""

from __future__ import annotations

from time import monotonic

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
import numpy as np
from bluesky.protocols import Status
from bluesky.utils import MsgGenerator, RunEngineControlException
from numpy.typing import NDArray

from ptycho_plugin.devices import Beamline
from ptycho_plugin.devices.beamline import GatedPoints
from ptycho_plugin.devices.gated_frames import GatedFrames, scanner_of
from ptycho_plugin.plans.stubs import POLL_S, close_shutter, is_run, record, until_done

COLLECT_S = 0.25
"""From one collection of frames to the next, while a trajectory runs."""
FRAME_LATE_S = 5.0
"""For which the last frame may be under way to the disk."""
PRIMARY = "primary"
UNMATCHED = "unmatched"
"""Stream of gates whose frames nobody can tell."""


def fly(beamline: Beamline, points_um: NDArray[np.float64], exposure_s: float) -> MsgGenerator[None]:
    """Expose points of the piezo stage by one trajectory, or several, where one was held up.

    Frames, positions and counts come into the stream "primary" while it runs. A pause stops a trajectory
    before its next gate and closes the shutter; then another one goes on with the points that are left.

    Parameters
    ----------
    beamline : Beamline
        With a scanner.
    points_um : ndarray, (point, 2), float64
        Stage positions (row, column).
    exposure_s : float

    Raises
    ------
    InputError
        If the beamline has no scanner.
    LostFrameError
        From the plan, if frames and gates are not equally many.
    """
    frames = GatedFrames(beamline)
    if not (yield from is_run()):
        return
    while (yield from bps.declare_stream(frames, name=PRIMARY, collect=True)) is None:
        pass  # a pause cancelled it
    left = GatedPoints(points_um, exposure_s)
    while len(left.points_um):
        yield from _arm(beamline, frames, left)
        yield from bpp.finalize_wrapper(_run(beamline, frames), _end(beamline, frames))
        frames.check_whole()
        left = GatedPoints(left.points_um[frames.told :], exposure_s)


def _arm(beamline: Beamline, frames: GatedFrames, trajectory: GatedPoints) -> MsgGenerator[None]:
    """Load a trajectory, make the detector ready for its gates, and go to its first point."""
    scanner, detector = scanner_of(beamline), beamline.detector
    yield from bps.checkpoint()
    yield from until_done((yield from bps.prepare(scanner, trajectory)))
    yield from until_done((yield from bps.prepare(detector, len(trajectory.points_um))))
    for status in (yield from bps.mv(scanner, "armed")):
        yield from until_done(status)
    frames.begin()


def _run(beamline: Beamline, frames: GatedFrames) -> MsgGenerator[None]:
    """Start the trajectory, and collect what it takes until it has ended."""
    scanner = scanner_of(beamline)
    for status in (yield from bps.mv(beamline.shutter, "open")):
        yield from until_done(status)
    yield from until_done((yield from bps.kickoff(scanner)))
    ended = yield from bps.complete(scanner)
    while not (yield from _is_done(ended, COLLECT_S)):
        yield from _collect(frames)
        yield from bps.checkpoint()  # a pause that waits for one need not wait for the end
        if frames.is_unmatched:
            yield from bps.stop(scanner)
    yield from until_done(ended)


def _end(beamline: Beamline, frames: GatedFrames) -> MsgGenerator[None]:
    """Let nothing more be exposed, and collect what has been, also if the plan is asked to end meanwhile."""
    try:
        yield from _land(beamline, frames)
    except RunEngineControlException:
        yield from _land(beamline, frames)
        raise
    if frames.told < frames.gates:
        yield from record([frames.unmatched], UNMATCHED)


def _land(beamline: Beamline, frames: GatedFrames) -> MsgGenerator[None]:
    yield from bpp.finalize_wrapper(bps.stop(scanner_of(beamline)), close_shutter(beamline))
    latest = monotonic() + FRAME_LATE_S
    while not frames.match() and monotonic() < latest:
        yield from bps.sleep(POLL_S)
    yield from _collect(frames)


def _collect(frames: GatedFrames) -> MsgGenerator[None]:
    yield from bps.collect(frames, name=PRIMARY, return_payload=False)


def _is_done(status: Status, seconds: float) -> MsgGenerator[bool]:
    """Wait for a status, but not longer, and return whether it is done."""
    latest = monotonic() + seconds
    while not status.done and monotonic() < latest:
        yield from bps.sleep(POLL_S)
    return bool(status.done)
