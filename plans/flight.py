"""The guard's part in a trajectory, from its reservation until the ledger has it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from threading import Thread
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
import numpy as np
from bluesky.utils import FailedStatus, Msg, MsgGenerator, RunEngineControlException

from ptycho_plugin.devices import Beamline
from ptycho_plugin.devices.beamline import Captured, GatedPoints
from ptycho_plugin.devices.gated_frames import GatedFrames, scanner_of
from ptycho_plugin.errors import DoseRefusal
from ptycho_plugin.flux import FluxCalibration
from ptycho_plugin.plans.messages import effective
from ptycho_plugin.plans.stubs import close_shutter, rewindable_again
from ptycho_plugin.plans.trajectory_books import PendingTrajectory, TrajectoryBooks

logger = logging.getLogger(__name__)

NO_GATES = Captured(np.empty((0, 2)), np.empty(0), np.empty((0, 2)), 0)


class Flight:
    """At most one trajectory at a time, that a guard has reserved.

    Parameters
    ----------
    beamline : Beamline
    books : TrajectoryBooks
    """

    def __init__(self, beamline: Beamline, books: TrajectoryBooks) -> None:
        self.books = books
        self._beamline = beamline
        self._pending: PendingTrajectory | None = None
        self._started = False

    @property
    def is_reserved(self) -> bool:
        """Whether the shutter may open for a trajectory, and has not yet."""
        return self._pending is not None and self._pending.opened is None

    @property
    def is_open(self) -> bool:
        """Whether the shutter may be open for one."""
        return self._pending is not None and self._pending.is_open

    @property
    def seconds(self) -> float:
        """For which the shutter is to be open."""
        return 0.0 if self._pending is None else float(self._pending.light.seconds.sum())

    def reserve(
        self,
        run_uid: str,
        numbers: Sequence[int],
        trajectory: GatedPoints,
        calibration: FluxCalibration,
        again: frozenset[int],
    ) -> MsgGenerator[None]:
        """Reserve a trajectory, as `TrajectoryBooks.reserve`; from here on no message is given twice."""
        rewindable = yield Msg("rewindable", None, None)
        self._started = False
        self._pending = yield from self.books.reserve(run_uid, numbers, trajectory, calibration, again)
        self._pending.rewindable = rewindable
        yield Msg("rewindable", None, False)

    def open(self) -> None:
        """Say that the shutter is told to open."""
        if self._pending is not None:
            self._pending.open()

    def close(self) -> None:
        """Say that the shutter has been told to close."""
        if self._pending is not None:
            self._pending.close()

    def start(self) -> None:
        """Say that the trajectory starts.

        Raises
        ------
        DoseRefusal
            If it is not reserved, or the shutter is not open for it.
        """
        if not self.is_open:
            raise DoseRefusal("no trajectory that is to start is reserved: prepare it, then open the shutter")
        self._started = True

    def collect(self, message: Msg) -> MsgGenerator[Any]:
        """Give a message that collects, and write those points as done whose frames are in the documents.

        Where somebody does not take them, no later ones count as saved either.
        """
        pending, frames = self._pending, message.obj
        if pending is None or pending.is_refused or not isinstance(frames, GatedFrames):
            return (yield message)

        def confirm() -> None:
            self.books.confirm(pending, frames.told, scanner_of(self._beamline).captured)

        try:
            return (yield from effective(message, confirm))
        except (RunEngineControlException, FailedStatus):
            raise
        except Exception:
            pending.is_refused = True
            raise

    def end_early(self) -> MsgGenerator[None]:
        """Stop before the next gate, and close the shutter."""
        stop = bps.stop(scanner_of(self._beamline))
        yield from bpp.finalize_wrapper(stop, close_shutter(self._beamline))
        self.close()

    def settle(self) -> MsgGenerator[int]:
        """Write what became of it, as far as it is known, and return how many points are in the documents."""
        pending = self._pending
        if pending is None:
            return 0
        if pending.is_open:
            yield from self.end_early()

        def write() -> MsgGenerator[None]:
            self._pending = None  # if the ledger raises, telling it again is no cure
            self.books.settle(pending, self._captured())
            yield from bps.null()

        yield from bpp.finalize_wrapper(write(), lambda: rewindable_again(pending.rewindable))
        return pending.told

    def halt(self) -> None:
        """Close the shutter and stop, where the RunEngine takes no message any more; write what it was."""
        pending, self._pending = self._pending, None
        if pending is None:
            return
        try:
            self._beamline.shutter.set("closed")
            pending.close()
        finally:  # a shutter that does not answer must not keep the trajectory running
            # The RunEngine's own loop is busy with this.
            stopping = Thread(target=asyncio.run, args=(scanner_of(self._beamline).stop(),), daemon=True)
            stopping.start()
            stopping.join()
        self.books.settle(pending, self._captured())

    def _captured(self) -> Captured | None:
        """Return the gates of a trajectory that is over; None where the scanner does not say."""
        scanner = scanner_of(self._beamline)
        if not self._started:
            return NO_GATES
        try:
            return None if scanner.is_running else scanner.captured
        except Exception:  # whatever keeps it from saying: what it did is then uncertain
            logger.exception("the gates of a trajectory cannot be read")
            return None
