"""JSON, a line each, over a loopback socket or a pipe."""

from __future__ import annotations

import json
import os
import socket
from threading import Lock
from typing import Any

HOST = "127.0.0.1"


class Line:
    """Asks the beam over a socket, from any thread, one question after the other.

    Parameters
    ----------
    port : int
        On this machine.
    """

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection((HOST, port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._file = self._socket.makefile("rw", encoding="utf-8")
        self._lock = Lock()
        self.ask(process=os.getpid())

    def ask(self, **question: Any) -> Any:
        """Return the answer."""
        with self._lock:
            self._file.write(json.dumps(question) + "\n")
            self._file.flush()
            answer = self._file.readline()
        if not answer:
            raise ConnectionError(f"nobody answers {question}")
        return json.loads(answer)

    def close(self) -> None:
        """Hang up."""
        self._file.close()
        self._socket.close()
