"""Frames where the stages stand: a run around them, and the way to a place and back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
from bluesky.utils import MsgGenerator

from ptycho_plugin.devices import Beamline
from ptycho_plugin.metadata import Purpose
from ptycho_plugin.plans.acquisition import acquire, scan_metadata, start_metadata
from ptycho_plugin.plans.stubs import expose_here, go_to, is_run
from ptycho_plugin.plans.taken_frames import TakenFrames
from ptycho_plugin.trajectory import RecordedPositions

RESULT_STREAM = "result"
"""Where a run keeps what was found in its frames."""


def still_frames(
    beamline: Beamline,
    purpose: Purpose,
    plan_name: str,
    frames: int,
    exposure_s: float,
    evaluate: Callable[[TakenFrames], MsgGenerator[None]],
    md: Mapping[str, Any] | None,
) -> MsgGenerator[str]:
    """Take frames where the stages stand, and act on them before the run is closed."""
    row = yield from bps.rd(beamline.stage.y)
    column = yield from bps.rd(beamline.stage.x)
    scan = yield from scan_metadata(
        beamline,
        purpose,
        trajectory=RecordedPositions(points_um=((row, column),) * frames),
        centre_um=(0.0, 0.0),
        exposure_s=exposure_s,
        probe=None,
    )
    taken = TakenFrames()

    def exposures() -> MsgGenerator[None]:
        for _ in range(frames):
            yield from bps.checkpoint()
            yield from expose_here(beamline)
        if (yield from is_run()):
            yield from evaluate(taken)

    _md = {**start_metadata(beamline, scan, plan_name, frames), **(md or {})}
    return (yield from bpp.subs_wrapper(acquire(beamline, exposures(), exposure_s, _md), taken))


def at_place(beamline: Beamline, place: str, plan: MsgGenerator[str]) -> MsgGenerator[str]:
    """Bring a place into the beam, run a plan, and go back, whatever happens."""

    def there() -> MsgGenerator[str]:
        yield from go_to(beamline, place)
        return (yield from plan)

    return (yield from bpp.reset_positions_wrapper(there(), [beamline.coarse.y, beamline.coarse.x]))
