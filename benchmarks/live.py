"""What the live reconstruction costs a scan, and when its maps come: ``python -m benchmarks.live``.

A scan of recorded frames runs in a RunEngine, without anything of ours subscribed and with it, while Tiled is
healthy, slow (stopped nine tenths of the time) and dead. The last line is one JSON object.
"""

from __future__ import annotations

import json
import signal
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from threading import Event, Thread
from time import perf_counter
from typing import Any

import numpy as np
import psutil
import typer
from bluesky import RunEngine
from numpy.typing import NDArray

from ptycho_plugin.callbacks import LiveReconstruction
from ptycho_plugin.devices import replayed_beamline
from ptycho_plugin.plans import ptycho_scan
from ptycho_plugin.publishing.calibrations import CalibrationStore
from ptycho_plugin.publishing.server import LocalTiledServer

MS = 1e-3
STOPPED_S, RUNNING_S = 0.9, 0.1
"""Of a slow server."""


class Timed:
    """Times a callback, point by point: from one exposure's event to the next one's.

    Parameters
    ----------
    callback : callable
        Of documents.
    """

    def __init__(self, callback: Callable[[str, Mapping[str, Any]], None]) -> None:
        self._callback = callback
        self._primary = ""
        self._spent = 0.0
        self.points: list[float] = []

    def __call__(self, name: str, document: Mapping[str, Any]) -> None:
        """Pass one document on."""
        began = perf_counter()
        self._callback(name, document)
        self._spent += perf_counter() - began
        if name == "descriptor" and document["name"] == "primary":
            self._primary = document["uid"]
        if name == "event" and document["descriptor"] == self._primary:
            self.points.append(self._spent)
            self._spent = 0.0

    @property
    def per_point_ms(self) -> NDArray[np.float64]:
        """Of each point but the first, to which all that opens the run belongs."""
        return np.array(self.points[1:]) / MS


State = Callable[[psutil.Process], AbstractContextManager[None]]
"""What is done to a server as long as it lasts."""


@contextmanager
def alone(_: psutil.Process) -> Iterator[None]:
    """Leave a server as it is, and the scan without us."""
    yield


@contextmanager
def healthy(_: psutil.Process) -> Iterator[None]:
    """Leave a server as it is."""
    yield


@contextmanager
def slow(server: psutil.Process) -> Iterator[None]:
    """Stop a server most of the time."""
    over = Event()

    def stop_and_go() -> None:
        while not over.is_set():
            server.send_signal(signal.SIGSTOP)
            over.wait(STOPPED_S)
            server.send_signal(signal.SIGCONT)
            over.wait(RUNNING_S)

    thread = Thread(target=stop_and_go)
    thread.start()
    yield
    over.set()
    thread.join()


@contextmanager
def dead(server: psutil.Process) -> Iterator[None]:
    """Kill a server."""
    server.kill()
    yield


def main(
    scan: Path = Path("../shared/data/standard_case.h5"),
    exposure_s: float = 0.2,
) -> None:
    """Measure."""
    seconds: dict[str, float] = {}
    per_point_ms: dict[str, NDArray[np.float64]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        for state in (alone, healthy, slow, dead):
            timed, seconds[state.__name__] = scanned(
                scan, Path(temporary) / state.__name__, state, exposure_s
            )
            if state is not alone:
                per_point_ms[state.__name__] = timed.per_point_ms
    figures: dict[str, float] = {}
    for name, values in per_point_ms.items():
        figures[f"re_ms_{name}"] = round(float(np.median(values)), 3)
        figures[f"scan_{name}_over_alone"] = round(seconds[name] / seconds["alone"], 3)
    # Of the worst state: what a user has to reckon with.
    figures["re_ms_per_point_median"] = round(max(float(np.median(v)) for v in per_point_ms.values()), 3)
    figures["re_ms_per_point_p99"] = round(max(float(np.quantile(v, 0.99)) for v in per_point_ms.values()), 3)
    print(json.dumps(figures))


def scanned(scan: Path, folder: Path, state: State, exposure_s: float) -> tuple[Timed, float]:
    """Run a scan of recorded frames; return what it cost, and how long it took, in seconds."""
    frames = folder / "frames"
    frames.mkdir(parents=True)
    with (
        LocalTiledServer(folder / "tiled", [frames]) as server,
        LiveReconstruction(server.uri, folder / "spool", frames) as live,
    ):
        timed = Timed((lambda *_: None) if state is alone else live)
        engine = RunEngine({})
        engine.subscribe(timed)
        calibrations = CalibrationStore(server.client())
        beamline = replayed_beamline(scan, frames, calibrations=calibrations, time_factor=1.0)
        with ExitStack() as states:

            def begin(name: str, _: Mapping[str, Any]) -> None:
                if name == "start":  # what a scan needs of Tiled it has by now
                    states.enter_context(state(psutil.Process(server.process_id)))

            engine.subscribe(begin)
            began = perf_counter()
            engine(ptycho_scan(beamline, exposure_s=exposure_s))
            return timed, perf_counter() - began


if __name__ == "__main__":
    typer.run(main)
