"""A real Tiled server on the loopback interface, in a child process that ends with its parent."""

from __future__ import annotations

import json
import secrets
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from ptycho_plugin.beamline_file import TiledServer
from ptycho_plugin.child_process import start_module
from ptycho_plugin.errors import PublishingError
from ptycho_plugin.publishing.server_keys import KEY_BYTES, WRITER


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
    port : int
        0 is any free one.

    Attributes
    ----------
    api_key : str
        Random, 32 bytes; it reaches the child through a pipe, never through its arguments.

    Raises
    ------
    PublishingError
        On entering, when the server does not start; it names the log.
    """

    def __init__(self, directory: str | Path, readable: Sequence[str | Path] = (), port: int = 0) -> None:
        self.directory = Path(directory).resolve()
        self.readable = tuple(Path(folder).resolve() for folder in readable)
        self.port = port
        self.api_key = secrets.token_hex(KEY_BYTES)
        self._address = ""
        self._process: subprocess.Popen[str] | None = None
        self._contexts: list[Any] = []

    def __repr__(self) -> str:
        return f"<LocalTiledServer {self._address or 'not started'} in {self.directory}>"

    @property
    def log(self) -> Path:
        """The file that holds what the server's process printed."""
        return self.directory / "server.log"

    @property
    def uri(self) -> str:
        """Address of the tree with the key in its query, as `tiled.client.from_uri` takes it."""
        return f"{self._address}?api_key={self.api_key}"

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
        settings = TiledServer(folder=self.directory, readable=self.readable, port=self.port)
        self._process, self._address = start_module(
            "ptycho_plugin.publishing.serving",
            json.dumps({"settings": settings.model_dump(mode="json"), "keys": {WRITER: self.api_key}}),
            self.log,
        )
        if not self._address:
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

    @property
    def is_down(self) -> bool:
        """Whether there is no server."""
        return self._process is None

    @property
    def process_id(self) -> int | None:
        """Of the server's process, if there is one."""
        return None if self._process is None else self._process.pid

    def kill(self) -> None:
        """End the server's process at once, as a power failure would; entering again starts another one."""
        if self._process is not None:
            self._process.kill()
            self.close()

    def close(self) -> None:
        """End the server and its clients' connections; do nothing if it has ended."""
        while self._contexts:
            self._contexts.pop().close()
        if self._process is not None:
            self._process.communicate()
            self._process = None
