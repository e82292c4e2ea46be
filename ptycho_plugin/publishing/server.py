"""A real Tiled server on the loopback interface, in a child process that ends with its parent."""

from __future__ import annotations

import json
import secrets
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from ptycho_plugin.child_process import start_module
from ptycho_plugin.errors import PublishingError

SHUTDOWN_SECONDS = 10
"""Grace for requests that are still open when the server is asked to end."""


class LocalTiledServer:
    """A Tiled server on 127.0.0.1, for demonstrations, tests and a beamline without one.

    A context manager. The catalog and everything written stay in the folder, and a server
    that is started there again serves them. Entering takes some ten seconds.

    Parameters
    ----------
    directory : path
        Where the server keeps its catalog, arrays, tables and logs.
    readable : sequence of path
        Folders whose files (the raw frames) the server may read and serve.

    Attributes
    ----------
    api_key : str
        Random, 32 bytes; it reaches the child through a pipe, never through its arguments.

    Raises
    ------
    PublishingError
        On entering, when the server does not start; it names the log.
    """

    def __init__(self, directory: str | Path, readable: Sequence[str | Path] = ()) -> None:
        self.directory = Path(directory).resolve()
        self.readable = [str(Path(folder).resolve()) for folder in readable]
        self.api_key = secrets.token_hex(32)
        self._base_uri = ""
        self._process: subprocess.Popen[str] | None = None
        self._contexts: list[Any] = []

    def __repr__(self) -> str:
        return f"<LocalTiledServer {self._base_uri or 'not started'} in {self.directory}>"

    @property
    def log(self) -> Path:
        """The file that holds what the server's process printed."""
        return self.directory / "server.log"

    @property
    def uri(self) -> str:
        """Address of the tree with the key in its query, as `tiled.client.from_uri` takes it."""
        return f"{self._base_uri}/api/v1?api_key={self.api_key}"

    def client(self) -> Any:
        """Return a client of the tree's root, whose connections end with the server."""
        from ptycho_plugin.publishing.connection import connect

        client = connect(self.uri)
        self._contexts.append(client.context)
        return client

    def __enter__(self) -> LocalTiledServer:
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise PublishingError(
                f"{self.directory} cannot hold a server's files: {error.strerror}"
            ) from None
        settings = {"directory": str(self.directory), "readable": self.readable, "api_key": self.api_key}
        self._process, self._base_uri = start_module(
            "ptycho_plugin.publishing.server", json.dumps(settings), self.log
        )
        if not self._base_uri:
            self.close()
            raise PublishingError(f"the Tiled server in {self.directory} did not start: read {self.log}")
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the server and its clients' connections; do nothing if it has ended."""
        while self._contexts:
            self._contexts.pop().close()
        if self._process is not None:
            self._process.communicate()
            self._process = None


def serve() -> None:
    """Serve until standard input ends: its first line holds the settings, its end the parent's."""
    settings = json.loads(sys.stdin.readline())
    with _simple_server(settings) as server:
        sys.stdout.write(f"http://127.0.0.1:{server.port}\n")
        sys.stdout.flush()
        sys.stdin.read()
        signal.alarm(SHUTDOWN_SECONDS)  # the default action ends a process whose clients hold on


def _simple_server(settings: dict[str, Any]) -> Any:
    from bluesky_tiled_plugins.exporters import json_seq_exporter
    from tiled.media_type_registration import default_serialization_registry
    from tiled.server import SimpleTiledServer
    from tiled.server.logging_config import LOGGING_CONFIG

    default_serialization_registry.register("BlueskyRun", "application/json-seq", json_seq_exporter)
    # The access log writes whole addresses, and a browser's first one holds the key.
    LOGGING_CONFIG["loggers"]["uvicorn.access"]["level"] = "WARNING"
    return SimpleTiledServer(
        settings["directory"], api_key=settings["api_key"], readable_storage=settings["readable"]
    )


if __name__ == "__main__":
    serve()
