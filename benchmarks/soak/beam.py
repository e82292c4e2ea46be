"""The beam, in a process of its own: what the shutter let through, whatever becomes of the scan.

It plays the sample, the shutter's blades and the detector's gate. It is told to open and close, to
move, and to expose; it counts photons and writes each opening of the shutter into a log. It closes
the shutter when the process that opened it is gone, as the hardware of a real one must: a killed
process closes nothing. As in the simulated devices, time passes in exposures; after the command to
close, the flux passes for the closing lag. An exposure that is cut counts as far as it had come.

``python -m benchmarks.soak.beam LOG`` says its port, and then the number of each exposure that begins.
"""

from __future__ import annotations

import json
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from math import sin
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingTCPServer
from threading import Condition
from typing import Any

from benchmarks.soak.line import HOST
from benchmarks.soak.options import (
    CLOSING_LAG_S,
    COUNTS_PER_PHOTON,
    FLUX_DRIFT,
    PHOTONS_PER_SECOND,
    TIME_FACTOR,
)


class Beam:
    """Counts photons.

    Parameters
    ----------
    log : Path
        Takes one JSON object for each opening, when it ends.
    """

    def __init__(self, log: Path) -> None:
        self._log = log.open("a", encoding="utf-8")
        self._changed = Condition()
        self._axes: dict[str, float] = {}
        self._opening: dict[str, Any] | None = None
        self._serial = 0
        self._lines: list[int] = []

    @contextmanager
    def line(self, process: int) -> Iterator[None]:
        """Have a line to a scanning process, once those to the one before are seen to be gone.

        When it is gone, the shutter closes: nobody is there who could close it.
        """
        with self._changed:
            self._changed.wait_for(lambda: not {*self._lines} - {process})
            self._lines.append(process)
        try:
            yield
        finally:
            with self._changed:
                self.shutter(open=False)
                self._lines.remove(process)
                self._changed.notify_all()

    def move(self, axis: str, value: float) -> dict[str, Any]:
        """Bring an axis to a place."""
        with self._changed:
            if self._opening is not None:
                self._opening["moved"] = True
            self._axes[axis] = value
        return {}

    def shutter(self, open: bool) -> dict[str, Any]:  # noqa: A002 - what one says of a shutter
        """Open or close the shutter."""
        with self._changed:
            if open and self._opening is None:
                place = [self._place(axis) for axis in ("row", "column")]
                self._opening = {"opened": time.time(), "place": place, "moved": False, "exposures": []}
            elif not open and self._opening is not None:
                opening, self._opening = self._opening, None
                passed = self._flux() * CLOSING_LAG_S
                self._changed.notify_all()
                # An exposure that this cuts adds what it had, before the opening is written.
                self._changed.wait_for(lambda: all("photons" in each for each in opening["exposures"]), 10)
                opening["photons"] = passed + sum(each["photons"] for each in opening["exposures"])
                opening["closed"] = time.time()
                self._log.write(json.dumps(opening) + "\n")
                self._log.flush()
        return {}

    def expose(self, exposure_s: float) -> dict[str, Any]:
        """Expose, through the shutter as it stands, for a time that passes here."""
        with self._changed:
            self._serial += 1
            serial, opening, flux = self._serial, self._opening, self._flux()
            begun, length_s = time.time(), exposure_s * TIME_FACTOR
            exposure: dict[str, Any] = {"serial": serial, "begun": begun}
            if opening is not None:
                opening["exposures"].append(exposure)
            print(json.dumps({"exposing": serial}), flush=True)
            deadline = time.monotonic() + length_s
            cut = self._changed.wait_for(lambda: self._opening is not opening, timeout=length_s)
            left_s = max(0.0, deadline - time.monotonic()) if cut else 0.0
            part = (1.0 - left_s / length_s) if opening is not None else 0.0
            exposure |= {"ended": time.time(), "part": part, "photons": flux * exposure_s * part}
            self._changed.notify_all()
            place = [self._axes.get(f"stage_{axis}", 0.0) for axis in ("row", "column")]
        return {"serial": serial, "place": place, "counts": exposure["photons"] * COUNTS_PER_PHOTON}

    def _place(self, axis: str) -> float:
        return self._axes.get(f"stage_{axis}", 0.0) + self._axes.get(f"coarse_{axis}", 0.0)

    def _flux(self) -> float:
        """Return photons a second: another in each exposure, the same while the shutter closes on it."""
        return PHOTONS_PER_SECOND * (1 + FLUX_DRIFT * sin(self._serial))


class _Handler(StreamRequestHandler):
    """One line: a JSON object asks, a JSON object answers."""

    server: BeamServer

    def handle(self) -> None:
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        beam, questions = self.server.beam, self._questions()
        with beam.line(next(questions)["process"]):
            self._answer({})
            for question in questions:
                self._answer(getattr(beam, question.pop("do"))(**question))

    def _questions(self) -> Iterator[dict[str, Any]]:
        try:
            for line in self.rfile:
                yield json.loads(line)
        except ConnectionError:
            return

    def _answer(self, answer: dict[str, Any]) -> None:
        try:
            self.wfile.write(json.dumps(answer).encode() + b"\n")
        except ConnectionError:
            return


class BeamServer(ThreadingTCPServer):
    """A beam for whoever connects from this machine."""

    daemon_threads = True

    def __init__(self, log: Path) -> None:
        self.beam = Beam(log)
        super().__init__((HOST, 0), _Handler)


if __name__ == "__main__":
    with BeamServer(Path(sys.argv[1])) as server:
        print(json.dumps({"port": server.server_address[1]}), flush=True)
        server.serve_forever()
