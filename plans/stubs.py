"""Parts of plans that open no run."""

from __future__ import annotations

from typing import Any

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
from bluesky.protocols import Readable, Status
from bluesky.utils import Msg, MsgGenerator, short_uid

from ptycho_plugin.devices import Beamline
from ptycho_plugin.devices.beamline import Stage
from ptycho_plugin.devices.pausing_shutter import LATE_S

POLL_S = 0.01


def is_run() -> MsgGenerator[bool]:
    """Return whether something runs this plan; one that is only being looked at is told nothing."""
    return (yield Msg("rewindable", None, None)) is not None


def expose_point(
    beamline: Beamline, position_um: tuple[float, float], stage: Stage | None = None
) -> MsgGenerator[None]:
    """Bring the probe to a stage position (row, column) and record one exposure there.

    The stage is the piezo stage unless another is given.

    However often the RunEngine is interrupted, the point is exposed once: the move is made
    again when the plan resumes, the exposure is not.
    """
    (row, column), stage = position_um, stage or beamline.stage

    def move() -> MsgGenerator[None]:
        yield from bps.checkpoint()
        yield from bps.mv(stage.y, row, stage.x, column)

    yield from _rewindable(move(), True)
    yield from _rewindable(_expose_and_read(beamline, stage), False)


def expose_here(beamline: Beamline) -> MsgGenerator[None]:
    """Record one exposure where the stage stands as an event of the primary stream."""
    yield from _rewindable(_expose_and_read(beamline, beamline.stage), False)


def go_to(beamline: Beamline, place: str) -> MsgGenerator[None]:
    """Bring a named place of the coarse stage into the beam.

    Raises
    ------
    InputError
        If the beamline has no such place.
    """
    row, column = beamline.place_um(place)
    yield from bps.mv(beamline.coarse.y, row, beamline.coarse.x, column)


def go_to_region(beamline: Beamline, stage_um: tuple[float, float]) -> MsgGenerator[None]:
    """Bring a place (row, column) of the sample into the beam by the coarse stage, with the shutter closed.

    An interrupted move is made again when the plan resumes.
    """
    row, column = stage_um

    def move() -> MsgGenerator[None]:
        yield from bps.checkpoint()
        yield from close_shutter(beamline)
        yield from bps.mv(beamline.coarse.y, row, beamline.coarse.x, column)

    yield from _rewindable(move(), True)


def close_shutter(beamline: Beamline) -> MsgGenerator[None]:
    """Close the shutter."""
    yield from bps.mv(beamline.shutter, "closed")


def record(readables: list[Readable[Any]], stream: str) -> MsgGenerator[None]:
    """Read devices into one event of a stream."""
    yield from bps.create(stream)
    for readable in readables:
        reading = yield from bps.read(readable)
        if reading is None:  # a pause cancelled it, before it was added to the event
            yield from bps.read(readable)
    yield from bps.save()


def reading_of(readable: Readable[Any]) -> MsgGenerator[dict[str, Any]]:
    """Return a reading; one that a pause cancelled is made again."""
    while not (reading := (yield from bps.read(readable))):
        pass
    return reading


def value_of(readable: Any) -> MsgGenerator[float]:
    """Return the one value of a device; a reading that a pause cancelled is made again."""
    while (value := (yield from bps.rd(readable, default_value=None))) is None:
        if not (yield from is_run()):
            return 0.0
    return float(value)


def rewindable_again(before: bool) -> MsgGenerator[None]:
    """Say again whether messages are given again, unless the plan around, as it ends, has done so already."""
    if not (yield Msg("rewindable", None, None)):
        yield Msg("rewindable", None, before)


def _rewindable(plan: MsgGenerator[None], rewindable: bool) -> MsgGenerator[None]:
    """Say whether a plan's messages are given again when the RunEngine resumes.

    `bluesky.preprocessors.rewindable_wrapper` can only forbid it.
    """
    before = yield Msg("rewindable", None, None)

    def said() -> MsgGenerator[None]:
        yield Msg("rewindable", None, rewindable)
        yield from plan

    yield from bpp.finalize_wrapper(said(), [Msg("rewindable", None, before)])


def _expose_and_read(beamline: Beamline, stage: Stage) -> MsgGenerator[None]:
    frame, exposure_s = short_uid("frame"), (yield from value_of(beamline.detector.exposure_time))
    measured = yield from bpp.finalize_wrapper(_expose(beamline, exposure_s, frame), close_shutter(beamline))
    yield from bps.wait(group=frame)
    for status in measured:
        yield from until_done(status)
    yield from record([beamline.detector, beamline.encoder, beamline.flux, stage.y, stage.x], "primary")


def _expose(beamline: Beamline, exposure_s: float, frame: str) -> MsgGenerator[list[Status | None]]:
    """Make one exposure, and return when its counts and its frame are there.

    The frame, and counts that never come, take longer than the exposure: waited for here, that would be dose.
    """
    gate = short_uid("gate")
    counters = []
    for counter in (beamline.encoder, beamline.flux):
        counters.append((yield from bps.trigger(counter, group=gate)))
    for status in (yield from bps.mv(beamline.shutter, "open")):
        yield from until_done(status)
    taken = yield from bps.trigger(beamline.detector, group=frame)
    yield from bps.wait(group=gate, timeout=exposure_s + LATE_S, error_on_timeout=False)
    return [*counters, taken]


def until_done(status: Status | None) -> MsgGenerator[None]:
    """Wait for a status itself: a ``wait`` that was interrupted is not made again.

    What it failed with is raised.
    """
    if status is None:  # nothing runs this plan, it is only being looked at
        return
    while not status.done:
        yield from bps.sleep(POLL_S)
    if not status.success:
        raise status.exception() or RuntimeError(f"{status} failed and does not say why")
