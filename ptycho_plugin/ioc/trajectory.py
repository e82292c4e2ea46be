"""The hardware-timed trajectory, as clients see it: load points, arm, start; what was captured."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from typing import Any

import numpy as np
from caproto import ChannelType
from caproto.server import PVGroup, pvproperty

from ptycho_plugin.errors import InputError
from ptycho_plugin.ioc.gate import Pulse
from ptycho_plugin.ioc.records import PATH_LENGTH
from ptycho_plugin.ioc.scaler import Amplifier
from ptycho_plugin.ioc.sequencer import MOST_POINTS, Route, Sequencer, SequencerFault

IDLE, LOADED, ARMED, RUNNING, DONE, ABORTED, FAULT = STATES = (
    "Idle",
    "Loaded",
    "Armed",
    "Running",
    "Done",
    "Aborted",
    "Fault",
)


def _waveform(name: str, units: str, *, read_only: bool = True) -> Any:
    return pvproperty(
        name=name,
        value=[0.0],
        dtype=ChannelType.DOUBLE,
        max_length=MOST_POINTS,
        max_subscription_backlog=2,
        units=units,
        precision=6,
        read_only=read_only,
    )


class TrajectoryRecords(PVGroup):
    """A position sequencer and its capture.

    A command that cannot be obeyed says why in MESSAGE, and the state is then Fault. A gate counts as
    captured when its reading is there, some milliseconds after its fall.

    Parameters
    ----------
    *args, **kwargs
        As for `caproto.server.PVGroup`.
    sequencer : Sequencer
    amplifier : Amplifier
        Of the flux monitor that is captured.
    """

    y = _waveform("Y", "um", read_only=False)
    x = _waveform("X", "um", read_only=False)
    exposure = pvproperty(name="EXPOSURE", value=0.2, units="s", precision=6)
    load = pvproperty(name="LOAD", value=0)
    arm = pvproperty(name="ARM", value=0)
    start = pvproperty(name="START", value=0)
    abort = pvproperty(name="ABORT", value=0)
    state = pvproperty(name="STATE", value=IDLE, enum_strings=STATES, dtype=ChannelType.ENUM, read_only=True)
    message = pvproperty(
        name="MESSAGE", value="", dtype=ChannelType.CHAR, max_length=PATH_LENGTH, read_only=True
    )
    points = pvproperty(name="POINTS", value=0, read_only=True)
    duration = pvproperty(name="DURATION_RBV", value=0.0, units="s", precision=6, read_only=True)
    captured = pvproperty(name="CAPTURED", value=0, read_only=True)
    captured_y = _waveform("CAP:Y", "um")
    captured_x = _waveform("CAP:X", "um")
    captured_counts = _waveform("CAP:COUNTS", "counts")
    captured_start = _waveform("CAP:START", "s")
    captured_end = _waveform("CAP:END", "s")

    def __init__(self, *args: Any, sequencer: Sequencer, amplifier: Amplifier, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._sequencer = sequencer
        self._amplifier = amplifier
        self._route: Route | None = None
        self._captures: list[tuple[float, ...]] = []
        self._telling = asyncio.Lock()
        self._at_rest = asyncio.Event()
        self._at_rest.set()

    @load.putter
    async def load(self, _instance: Any, value: int) -> int:
        """Take the points, if the stage can go to them."""
        if value and self._at_rest.is_set():
            await self._obey(self._load())
        return 0

    @arm.putter
    async def arm(self, _instance: Any, value: int) -> int:
        """Move to the first point, and be ready."""
        if value and self._at_rest.is_set():
            await self._obey(self._arm())
        return 0

    @start.putter
    async def start(self, _instance: Any, value: int) -> int:
        """Run to the end."""
        if value and self._at_rest.is_set():
            await self._obey(self._run())
        return 0

    @abort.putter
    async def abort(self, _instance: Any, value: int) -> int:
        """Give up after the exposure that is under way, and wait for that."""
        if not value:
            return 0
        if self._at_rest.is_set():
            if self.state.value == ARMED:
                await self._say(ABORTED, "aborted before it was started")
        else:
            self._sequencer.abort()
            await self._at_rest.wait()
        return 0

    async def _obey(self, command: Awaitable[str]) -> None:
        """Obey one command, and say how it ended."""
        self._at_rest.clear()
        try:
            await self._say(await command)
        except SequencerFault as error:
            await self._say(ABORTED if self._sequencer.is_aborted else FAULT, str(error))
        except InputError as error:
            await self._say(FAULT, str(error))
        finally:
            self._at_rest.set()

    async def _say(self, state: str, message: str = "") -> None:
        await self.message.write(message[: PATH_LENGTH - 1])
        await self.state.write(state)

    async def _load(self) -> str:
        self._route = None
        y, x = (np.atleast_1d(record.value).astype(float) for record in (self.y, self.x))
        if y.shape != x.shape:
            raise InputError(f"Y has {y.size} points, X has {x.size}: load as many of each")
        route = Route(np.stack([y, x], axis=1), float(self.exposure.value))
        self._sequencer.check(route)
        await self.points.write(y.size)
        await self.duration.write(self._sequencer.duration_s(route))
        self._route = route
        return LOADED

    async def _arm(self) -> str:
        if self._route is None:
            raise InputError("there is no trajectory: LOAD one first")
        self._sequencer.check_camera(self._route)
        await self._sequencer.go_to_start(self._route)
        self._captures.clear()
        await self.captured.write(0)
        return ARMED

    async def _run(self) -> str:
        if self._route is None or self.state.value != ARMED:
            raise InputError("the trajectory is not armed: ARM it first")
        await self._say(RUNNING)
        began, captures = time.monotonic(), []

        def capture(pulse: Pulse) -> None:
            captures.append(asyncio.ensure_future(self._capture(pulse, began)))

        try:
            await self._sequencer.run(self._route, began, capture)
        finally:  # what has been exposed is captured, whatever came then
            ends = await asyncio.gather(*captures, return_exceptions=True)
        for number, error in enumerate(ends):
            if error is not None:
                raise SequencerFault(f"point {number}: {error}")
        return DONE

    async def _capture(self, pulse: Pulse, began: float) -> None:
        """Keep what the encoder and the monitor say of one gate."""
        reading = await pulse.reading
        counts = reading.monitor_counts * self._amplifier.gain.value
        async with self._telling:  # one gate after the other, also where two readings come at once
            self._captures.append((*reading.position_um, counts, pulse.begin - began, pulse.end - began))
            await self._tell_captures()

    async def _tell_captures(self) -> None:
        """Write what was captured, and then how much: a client that reads the number first sees all of it."""
        records = (
            self.captured_y,
            self.captured_x,
            self.captured_counts,
            self.captured_start,
            self.captured_end,
        )
        for record, values in zip(records, zip(*self._captures, strict=True), strict=True):
            await record.write(values)
        await self.captured.write(len(self._captures))
