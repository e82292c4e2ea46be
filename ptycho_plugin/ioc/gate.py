"""The gate: a line that is high while the detector exposes, and that the counters listen to."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TypeVar

from ptycho_plugin.ioc.physics import Keep, Physics, Reading
from ptycho_plugin.ioc.twin import Twin

T = TypeVar("T")


async def until(when: float) -> None:
    """Wait until a time on the monotonic clock."""
    await asyncio.sleep(max(0.0, when - time.monotonic()))


@dataclass(frozen=True, slots=True)
class Pulse:
    """One time that the gate is high.

    Parameters
    ----------
    begin, end : float
        On the monotonic clock.
    reading : Future
        What the counters say of it.
    kept : Future
        Done when its frame is where it goes to.
    """

    begin: float
    end: float
    reading: asyncio.Future[Reading]
    kept: asyncio.Future[None]


class Gate:
    """Raises the twin's gate, and has each exposure computed when it is low again.

    Parameters
    ----------
    twin : Twin
    physics : Physics
    """

    def __init__(self, twin: Twin, physics: Physics) -> None:
        self._twin = twin
        self._physics = physics
        self._waiting: list[asyncio.Future[Reading]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self.pulses = 0
        """How often it has been high so far."""

    def next_reading(self) -> asyncio.Future[Reading]:
        """Return the reading of the exposure that begins next."""
        waiting: asyncio.Future[Reading] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiting)
        return waiting

    def raise_now(self, exposure_s: float, keep: Keep | None, begin: float | None = None) -> Pulse:
        """Hold the gate high for a time.

        Parameters
        ----------
        exposure_s : float
        keep : callable, optional
            Takes the frame, in the thread of the physics.
        begin : float, optional
            When it rises, on the monotonic clock, if hardware has said so.

        Raises
        ------
        RuntimeError
            If it is high.
        """
        reading: Future[Reading] = Future()
        loop = asyncio.get_running_loop()
        kept: asyncio.Future[None] = loop.create_future()
        begin, end = self._twin.raise_gate(
            exposure_s,
            time.monotonic() if begin is None else begin,
            lambda lights: _chain(self._physics.expose(lights, reading, keep), kept),
        )
        self.pulses += 1
        pulse = Pulse(begin, end, asyncio.wrap_future(reading), kept)
        listeners, self._waiting = self._waiting, []
        pulse.reading.add_done_callback(lambda done: _tell(done, listeners))
        task = loop.create_task(self._lower(end))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return pulse

    async def _lower(self, end: float) -> None:
        await until(end)
        self._twin.advance(end)


def _chain(source: Future[None], target: asyncio.Future[None]) -> None:
    """Let an asyncio future end as one of another thread does."""
    wrapped = asyncio.wrap_future(source, loop=target.get_loop())
    wrapped.add_done_callback(lambda done: _tell(done, [target]))


def _tell(done: asyncio.Future[T], listeners: Sequence[asyncio.Future[T]]) -> None:
    """Let others know how a future ended."""
    error = done.exception()
    for listener in listeners:
        if listener.done():
            continue
        if error is None:
            listener.set_result(done.result())
        else:
            listener.set_exception(error)
            listener.exception()  # who waits hears of it; nobody has to wait
