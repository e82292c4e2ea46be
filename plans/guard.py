"""The guard: no exposure that the ledger does not know, none over the budget, none made twice."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import partial
from math import inf
from time import monotonic
from typing import Any, get_args

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
import numpy as np
from bluesky.protocols import Status
from bluesky.utils import Msg, MsgGenerator, RunEngineControlException, ensure_generator, single_gen
from numpy.typing import NDArray

from ptycho_plugin.devices import Beamline
from ptycho_plugin.dose import ELECTRON_RANGE
from ptycho_plugin.errors import DoseRefusal, InputError
from ptycho_plugin.flux import FluxCalibration
from ptycho_plugin.ledger import Ledger, Region
from ptycho_plugin.ledger.records import Kind
from ptycho_plugin.ledger.rigid import Position
from ptycho_plugin.plans.bookkeeping import Bookkeeper, PendingExposure
from ptycho_plugin.plans.continuation import Again, Continuation, Repeat
from ptycho_plugin.plans.dose_account import DoseAccount
from ptycho_plugin.plans.end_request import EndRequest
from ptycho_plugin.plans.flight import Flight
from ptycho_plugin.plans.flux_calibration import calibration_in_force
from ptycho_plugin.plans.illumination import illumination, probe_source
from ptycho_plugin.plans.messages import GIVEN_AGAIN, effective
from ptycho_plugin.plans.pauses import PauseLine
from ptycho_plugin.plans.preflight_checks import Finding
from ptycho_plugin.plans.stubs import POLL_S, close_shutter, is_run, record, rewindable_again, until_done
from ptycho_plugin.plans.trajectory_books import TrajectoryBooks
from ptycho_plugin.plans.watchdog import ShutterWatch
from ptycho_plugin.publishing.dose_documents import DOSE_STREAM

GRACE_S = 2.0
"""For which an exposure that is under way may outlast its time when the plan has failed, or is to end."""
PATIENCE_S = 10.0


class DoseGuard:
    """A preprocessor: what a plan exposes is in the ledger, within the budget, and made once.

    It wraps a plan, ``RE(guard(plan))``, or every plan, ``RE.preprocessors.append(guard)``; then
    take it out for what is done without the sample. Before the shutter opens, the exposure
    is checked against the region's budget and written as intended; when its event is saved and the
    shutter is closed, it is written as done. From the one to the other no message is given to the
    RunEngine again, whatever interrupts it: a plan that would expose twice, as all of bluesky's own do,
    goes on where it was. An opening is for one exposure, and nothing moves; or for a trajectory, which is
    reserved as a whole before its scanner is prepared, at its upper bound, with the ways between its points.

    The plan arms the flux monitor before it triggers the detector, or the exposure stays uncertain
    and no other is begun; without the encoder, it is kept where the stage was set. It saves one
    event with the detector for each exposure.

    Parameters
    ----------
    beamline : Beamline
    ledger : Ledger
    target : Region or str
        Where the exposures go: a region that has a budget, or a sample's name where no region is
        placed yet.
    probe : str or ndarray, (mode, row, column), complex, optional
        The illumination: by its name, as for `ptycho_scan`, or on the object's pixels, at any scale; by
        default the beamline's own.
    kind : {"scan", "alignment"}
    repeat : int, optional
        Which scan of the region it is. Called again, an interrupted `ptycho_scan` then goes on.
    electron_range : float
        In metres, as in `DoseModel`.
    patience_s : float
        How long a plan may make no progress with the shutter open, besides the exposure's own time,
        before a watchdog closes it.

    Raises
    ------
    InputError
        At construction, if kind or repeat cannot be, or there is no such probe, and no zone plate to model
        one from; from the plan, if the flux monitor is not calibrated for this energy and gain.
    DoseRefusal
        From the plan, before the shutter opens: it names the region and the numbers.
    LedgerError
        From the plan, before the shutter opens, if the ledger cannot take an exposure.
    StalledPlanError
        From the plan, when it goes on after the watchdog has closed the shutter.
    """

    def __init__(
        self,
        beamline: Beamline,
        ledger: Ledger,
        target: Region | str,
        *,
        probe: NDArray[np.complexfloating] | str | None = None,
        kind: Kind = "scan",
        repeat: int | None = None,
        electron_range: float = ELECTRON_RANGE,
        patience_s: float = PATIENCE_S,
    ) -> None:
        if kind not in get_args(Kind):
            raise InputError(f"kind = {kind!r} is none: exposures are of kind {' or '.join(get_args(Kind))}")
        if repeat is not None and repeat < 1:
            raise InputError(f"repeat = {repeat} cannot be: the first one is 1")
        if probe is None or isinstance(probe, str):
            probe = illumination(beamline, probe_source(beamline, probe))
        self.kind = kind
        self._beamline = beamline
        self._start = {} if repeat is None else {"repeat": repeat}
        self._account = DoseAccount(beamline, ledger, target, probe, electron_range)
        self._books = Bookkeeper(beamline, self._account, target, kind, repeat)
        self._repeat = Repeat(ledger, target, kind, repeat)
        self._continuation: Continuation | None = None
        """Of the scan that is guarded, if it is one."""
        self._watchdog = ShutterWatch(beamline.shutter, patience_s)
        self._pause_line = PauseLine(lambda: self._flight.is_open)
        self._following = False
        self._run_uid: str | None = None
        self._events = 0
        self._request = EndRequest()
        self._bundling = self._holds_frame = False
        """Whether an event is put together, and the detector read into it."""
        self._armed: dict[str, tuple[Hashable, Status]] = {}
        """Of the counters, by their names: done when they have measured during an exposure."""
        self._calibration: FluxCalibration | None = None
        self._exposure: PendingExposure | None = None
        self._flight = Flight(beamline, TrajectoryBooks(beamline, self._account, self._books))
        self._handlers: dict[str, Callable[[Msg], MsgGenerator[Any]]] = {
            "open_run": self._open_run,
            "close_run": self._close_run,
            "set": self._set,
            "prepare": self._prepare,
            "kickoff": self._kickoff,
            "collect": self._flight.collect,
            "trigger": self._trigger,
            "wait": self._wait,
            "create": self._create,
            "read": self._read,
            "save": self._save,
            "drop": self._drop,
        }

    def __call__(self, plan: MsgGenerator[Any]) -> MsgGenerator[Any]:
        """Return a plan's messages, guarded; inside a plan that it guards already, as they are."""
        plan = ensure_generator(plan)
        if self._following:
            return (yield from plan)
        self._following = True
        try:
            return (yield from self._follow(plan))
        finally:
            self._following, self._request = False, EndRequest()
            self._watchdog.rest()
            if self._exposure is not None:  # the RunEngine was halted, and takes no message any more
                self._exposure = None
                self._beamline.shutter.set("closed")
            self._flight.halt()
            plan.close()

    def scan(self, plan: MsgGenerator[Any], continuation: Continuation) -> MsgGenerator[Any]:
        """Return the messages of a plan that exposes the points of a scan, guarded, and their run registered.

        Parameters
        ----------
        plan : generator
            With one event for each point, in their order.
        continuation : Continuation
        """
        self._continuation = continuation
        try:
            return (yield from self(plan))
        finally:
            self._continuation = None

    def continuation(
        self, points_um: NDArray[np.float64], exposure_s: float, again: Again = False
    ) -> MsgGenerator[Continuation]:
        """Return what is to be exposed of a scan, of which earlier runs of the repeat may have done a part.

        Parameters
        ----------
        points_um : ndarray, (point, 2), float64
            Positions (row, column) of the piezo stage.
        exposure_s : float
            In seconds.
        again : bool or sequence of int
            Whether to expose again what may have been exposed, or left no frame; or which points of these.

        Raises
        ------
        DoseRefusal
            If the repeat is complete, or the region closed.
        InputError
            If `again` names other points.
        LedgerError
            If the repeat was begun with another scan; it names the difference.
        """
        scan = yield from self._books.scan(points_um, exposure_s)
        return self._repeat.continuation(scan, again)

    def edge_um(self, continuation: Continuation) -> list[Position]:
        """Return positions (row, column) of the piezo stage on the region's four sides, once it was checked.

        Empty where no region is placed.
        """
        coarse = continuation.scan.coarse_um
        return [(row - coarse[0], column - coarse[1]) for row, column in self._account.edge_um()]

    def check_scan(
        self, points_um: NDArray[np.float64], exposure_s: float, *, trajectory: bool = False
    ) -> MsgGenerator[Finding]:
        """Return what exposures take of the budget; refuse those that cannot end within it and the region.

        Parameters
        ----------
        points_um : ndarray, (point, 2), float64
            Positions (row, column) of the piezo stage.
        exposure_s : float
            In seconds.
        trajectory : bool
            Whether hardware makes them in one go, through an open shutter.

        Raises
        ------
        InputError, DoseRefusal, LedgerError
            From the plan, as when it is guarded.
        """
        calibration = yield from calibration_in_force(self._beamline)
        if trajectory:
            return (yield from self._flight.books.check(points_um, exposure_s, calibration))
        return (yield from self._books.check_scan(points_um, exposure_s, calibration))

    def _follow(self, plan: MsgGenerator[Any]) -> MsgGenerator[Any]:
        """Give a plan's messages to their handlers, and the answers, or what was raised, to the plan."""
        yield Msg("null", self._pause_line)  # so that the RunEngine tells it of pauses
        go_on: Callable[[], Msg] = partial(plan.send, None)
        while True:
            try:
                message = go_on()
            except StopIteration as end:
                yield from self._settle()
                self._request.raise_unless(frame_is_due=False)
                return end.value
            except Exception:
                yield from self._settle()
                raise
            try:
                answer = yield from self._answer(message)
                self._watchdog.check()
                self._request.raise_unless(self._exposure is not None and self._exposure.is_frame_due)
            except Exception as error:  # noqa: BLE001  the plan decides what to do with it
                go_on = partial(plan.throw, (yield from self._end_early(self._request.take() or error)))
            else:
                go_on = partial(plan.send, answer)

    def _answer(self, message: Msg) -> MsgGenerator[Any]:
        """Handle a message; a request to end waits until the frame of an exposure that was made is saved."""
        handle = self._handlers.get(message.command, single_gen)
        try:
            return (yield from handle(message))
        except RunEngineControlException as request:
            exposure = self._exposure
            if self._request or exposure is None or not exposure.is_frame_due:
                raise
            self._request.keep(request, exposure.exposure_s + GRACE_S)
        if message.command in GIVEN_AGAIN:
            return (yield from handle(message))
        return (yield from self._read_once(message)) if message.command == "read" else None

    def _read_once(self, message: Msg) -> MsgGenerator[Any]:
        """Read what an interruption may have kept from its event; it is added to it once."""
        try:
            return (yield from self._read(message))
        except ValueError as error:
            if "collide" not in str(error):
                raise
            return {}  # the RunEngine has it: its data keys would be there twice

    # What messages mean to it.

    def _open_run(self, message: Msg) -> MsgGenerator[str]:
        start = self._account.update() | self._start
        entries = {**start, **message.kwargs}
        if specs := [*message.kwargs.get("tiled_specs", ()), *start.get("tiled_specs", ())]:
            entries["tiled_specs"] = specs
        self._run_uid = yield message._replace(kwargs=entries)
        self._account.begin_run(self._run_uid or "")
        self._events, self._calibration, self._bundling = 0, None, False
        if self._continuation is not None and self._run_uid is not None:
            self._repeat.begin(self._run_uid, self._continuation)
        return self._run_uid

    def _set(self, message: Msg) -> MsgGenerator[Status]:
        if message.obj is self._beamline.shutter:
            return (yield from self._move_shutter(message))
        stage, coarse = self._beamline.stage, self._beamline.coarse
        if self._is_open and message.obj in (stage.y, stage.x, coarse.y, coarse.x, self._beamline.scanner):
            raise DoseRefusal(
                f"{message.obj.name} is to move with the shutter open: close it, or prepare a trajectory"
            )
        return (yield from self._remembered(message))

    def _move_shutter(self, message: Msg) -> MsgGenerator[Status]:
        if message.args[0] == "open":
            if self._flight.is_reserved:
                self._flight.open()
                self._watchdog.watch_trajectory(self._flight.seconds)
                yield Msg("null", self._watchdog)  # so that the RunEngine tells it of pauses
            elif not self._is_open:
                yield from self._intend()
            return (yield from self._remembered(message))
        status = yield message
        self._flight.close()
        if self._exposure is not None:
            self._exposure.close()
            if self._exposure.saved:
                yield from self._settle()
        return status

    def _prepare(self, message: Msg) -> MsgGenerator[Status]:
        if message.obj is self._beamline.scanner and (yield from is_run()):
            trajectory = message.args[0]
            run_uid, calibration = yield from self._ready()
            points, again = self._next_points(len(trajectory.points_um))
            yield from self._flight.reserve(run_uid, points, trajectory, calibration, again)
        return (yield message)

    def _kickoff(self, message: Msg) -> MsgGenerator[Status]:
        if message.obj is self._beamline.scanner:
            self._flight.start()
        return (yield message)

    def _trigger(self, message: Msg) -> MsgGenerator[Status]:
        exposure = self._exposure
        if self._flight.is_open and message.obj is self._beamline.detector:
            raise DoseRefusal("the detector is to expose in the middle of a trajectory: let that end first")
        if exposure is None or message.obj is not self._beamline.detector:
            status = yield from self._remembered(message)
            if message.obj in (self._beamline.flux, self._beamline.encoder):
                self._armed[message.obj.name] = message.kwargs.get("group"), status
            return status
        if exposure.triggered:
            raise DoseRefusal(
                f"point {exposure.intent.point} is to be exposed again: close the shutter and save an event "
                "in between"
            )
        # What is done already was of an exposure before.
        armed = {name: one for name, one in self._armed.items() if not one[1].done}
        for group, status in armed.values():  # they were armed before there was an exposure
            exposure.statuses.setdefault(group, []).append(status)
        counters = {name: status for name, (_, status) in armed.items()}
        status = yield from effective(message, partial(exposure.begin, counters))
        return self._remember(message, status)

    def _remembered(self, message: Msg) -> MsgGenerator[Status]:
        return self._remember(message, (yield message))

    def _remember(self, message: Msg, status: Status) -> Status:
        if self._exposure is not None and status is not None:
            self._exposure.statuses.setdefault(message.kwargs.get("group"), []).append(status)
        return status

    def _wait(self, message: Msg) -> MsgGenerator[Any]:
        if self._request:
            message = message._replace(kwargs={**message.kwargs, "timeout": self._request.left_s})
        timeout_s = message.kwargs.get("timeout")
        until = inf if timeout_s is None else monotonic() + timeout_s
        answer = yield message
        if self._exposure is not None:
            group = message.args[0] if message.args else message.kwargs["group"]
            for status in self._exposure.statuses.get(group, ()):
                while not (status.done or self._request.is_late or monotonic() >= until):
                    yield from bps.sleep(POLL_S)
                if status.done:
                    yield from until_done(status)  # what it failed with is raised
            self._exposure.statuses.pop(group, None)
        return answer

    def _create(self, message: Msg) -> MsgGenerator[None]:
        self._holds_frame = False
        yield from effective(message, partial(self._bundle, True))

    def _read(self, message: Msg) -> MsgGenerator[Any]:
        self._holds_frame |= message.obj is self._beamline.detector
        reading = yield message
        if reading is None and self._exposure is not None:  # a pause cancelled it, and it is not made again
            reading = yield message
        return reading

    def _save(self, message: Msg) -> MsgGenerator[None]:
        self._bundle(False)  # the RunEngine's bundle ends, also where a subscriber takes no event
        yield from effective(message, self._keep_event)
        if self._exposure is not None and not self._exposure.is_open:
            yield from self._settle()

    def _keep_event(self) -> None:
        if self._exposure is not None and self._holds_frame:
            self._exposure.saved = True
            self._events += 1

    def _drop(self, message: Msg) -> MsgGenerator[None]:
        yield from effective(message, partial(self._bundle, False))

    def _bundle(self, bundling: bool) -> None:
        self._bundling = bundling

    def _close_run(self, message: Msg) -> MsgGenerator[Any]:
        # A run that is closed takes no message of before again.
        return (yield from bpp.rewindable_wrapper(self._sum_up(message), False))

    def _sum_up(self, message: Msg) -> MsgGenerator[Any]:
        if self._bundling:  # an event that will never be saved
            yield Msg("drop")
            self._bundling = False
        yield from self._settle()
        if self._run_uid is not None:
            yield from record([self._account], DOSE_STREAM)
            if self._continuation is not None:
                self._repeat.end(self._run_uid)
        self._run_uid = None
        return (yield message)

    # What it does about an exposure.

    @property
    def _is_open(self) -> bool:
        return self._flight.is_open or (self._exposure is not None and self._exposure.is_open)

    def _next_points(self, count: int) -> tuple[list[int], frozenset[int]]:
        """Return the numbers of the points that are exposed next, and of those that are exposed again."""
        events = range(self._events, self._events + count)
        if self._continuation is None:
            return list(events), frozenset()
        return [self._continuation.points[event] for event in events], self._continuation.again

    def _ready(self) -> MsgGenerator[tuple[str, FluxCalibration]]:
        """Settle what was before, and return run and calibration, or raise why nothing may be exposed."""
        yield from self._settle()
        if self._run_uid is None:
            raise DoseRefusal("nothing is exposed outside a run: open one, exposures are kept by their run")
        if self._calibration is None:
            self._calibration = yield from calibration_in_force(self._beamline)
        return self._run_uid, self._calibration

    def _intend(self) -> MsgGenerator[None]:
        """Write that an exposure is about to be made; from here on no message is given twice."""
        if not (yield from is_run()):
            return
        run_uid, calibration = yield from self._ready()
        rewindable = yield Msg("rewindable", None, None)
        (point,), again = self._next_points(1)
        self._exposure = yield from self._books.intend(run_uid, point, calibration, again=point in again)
        self._exposure.rewindable = rewindable
        self._watchdog.watch_exposure(self._exposure.exposure_s)
        yield Msg("null", self._watchdog)  # so that the RunEngine tells it of pauses
        yield Msg("rewindable", None, False)

    def _end_early(self, error: Exception) -> MsgGenerator[Exception]:
        """Let an exposure end as it should, close the shutter, and return what the plan is to be told."""
        exposure = self._exposure
        if not self._is_open:
            return error
        try:
            if exposure is None:
                yield from self._flight.end_early()
                return error
            latest = monotonic() + exposure.exposure_s + GRACE_S
            while exposure.is_under_way and monotonic() < latest:
                yield from bps.sleep(POLL_S)
            yield from close_shutter(self._beamline)
        except Exception as later:  # noqa: BLE001  interrupted again: the plan still closes the shutter
            return later
        exposure.close()
        return error

    def _settle(self) -> MsgGenerator[None]:
        """Write what became of an exposure, or a trajectory, as far as it is known."""
        self._events += yield from self._flight.settle()
        exposure = self._exposure
        if exposure is None:
            self._watchdog.rest()
            return
        if exposure.is_open:
            yield from close_shutter(self._beamline)
            exposure.close()

        def write() -> MsgGenerator[None]:
            outcome = yield from self._books.outcome(exposure)
            # From here on the ledger is told: if it raises, telling it again is no cure.
            self._exposure = None
            self._watchdog.rest()
            self._books.settle(exposure, outcome)

        yield from bpp.finalize_wrapper(write(), lambda: rewindable_again(exposure.rewindable))
