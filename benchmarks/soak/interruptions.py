"""What interrupts a scan from within its process."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from bluesky import RunEngine
from bluesky.utils import RunEngineInterrupted, TransitionError
from ophyd import Signal

from ptycho_plugin.devices import Beamline
from ptycho_plugin.devices.hdf5_frames import FrameFile

SUSPENDED_S = 0.05
PAUSED_S = 0.02


class Interruptions:
    """Interrupts a RunEngine at moments that are given from the first document of a run.

    Parameters
    ----------
    engine : RunEngine
    beamline : Beamline
    ring : Signal
        Whose suspender is installed: 1 while there is beam.
    """

    def __init__(self, engine: RunEngine, beamline: Beamline, ring: Signal) -> None:
        self._engine = engine
        self._beamline = beamline
        self._ring = ring
        self.ends_when_paused = False
        """Whether a pause is answered by an abort."""
        self.made = 0
        """That have happened in the last block."""

    @contextmanager
    def planned(self, kind: str, moments_s: list[float], exposure: int) -> Iterator[None]:
        """Interrupt what runs in the block.

        Parameters
        ----------
        kind : str
            One of those that have a method here, or "none".
        moments_s : list of float
            From the run's start document.
        exposure : int
            In which a detector fails, counted from the run's first.
        """
        self.ends_when_paused, self.made = kind == "paused abort", 0
        if kind in ("camera", "frame"):
            with self._failing(kind, exposure):
                yield
            return
        over = threading.Event()
        act: Callable[[], object] = getattr(self, f"_{kind.replace(' ', '_')}", lambda: None)
        began = threading.Event()
        token = self._engine.subscribe(lambda *_: began.set(), "start")
        thread = threading.Thread(target=self._act, args=(act, moments_s, began, over), daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            began.set()
            thread.join()
            self._engine.unsubscribe(token)

    def answer_pauses(self) -> None:
        """Answer until the plan has ended."""
        while self._engine.state == "paused":
            time.sleep(PAUSED_S)
            if self.ends_when_paused:
                self._engine.abort("the soak says so")
                return
            with suppress(RunEngineInterrupted):  # paused again
                self._engine.resume()

    def _act(
        self,
        act: Callable[[], object],
        moments_s: list[float],
        began: threading.Event,
        over: threading.Event,
    ) -> None:
        began.wait()
        start = time.monotonic()
        for moment_s in sorted(moments_s):
            if over.wait(max(0.0, start + moment_s - time.monotonic())):
                return
            with suppress(TransitionError):  # it has just ended, or is paused already
                act()
                self.made += 1

    def _pause(self) -> None:
        self._engine.request_pause(defer=False)

    _paused_abort = _pause

    def _deferred_pause(self) -> None:
        self._engine.request_pause(defer=True)

    def _suspender(self) -> None:
        self._ring.put(0.0)
        time.sleep(SUSPENDED_S)
        self._ring.put(1.0)

    def _abort(self) -> None:
        self._engine.abort("the soak says so")

    def _stop(self) -> None:
        self._engine.stop()

    @contextmanager
    def _failing(self, kind: str, exposure: int) -> Iterator[None]:
        """Fail before an exposure is made, or after it, when its frame is to be written."""
        target: Any = self._beamline.detector if kind == "camera" else FrameFile
        name = "trigger" if kind == "camera" else "append"
        works, calls = getattr(target, name), iter(range(10_000))

        def fails_once(*arguments: Any) -> Any:
            if next(calls) == exposure:
                self.made += 1
                raise OSError(f"the {kind} fails, the soak says so")
            return works(*arguments)

        setattr(target, name, fails_once)
        try:
            yield
        finally:
            if kind == "camera":
                delattr(target, name)
            else:
                setattr(target, name, works)
