"""A Tiled server of one folder, in this process: what it serves, to whom, until when."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import sqlite3
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Any

from ptycho_plugin.beamline_file import TiledServer
from ptycho_plugin.errors import InputError, PublishingError
from ptycho_plugin.io.atomic import replacing
from ptycho_plugin.publishing.server_keys import WRITER, keys_in

CATALOG, ARRAYS, TABLES = "catalog.db", "data", "storage.duckdb"
ADDRESS, LOCK = "address", "lock"
SHUTDOWN_SECONDS = 10
"""Grace for requests that are still open when the server is asked to end."""
ANY_INTERFACE = "0.0.0.0"  # noqa: S104  (compared with, never a default)


def tiled_config(settings: TiledServer) -> dict[str, Any]:
    """Return a server's configuration in Tiled's own format, that of ``tiled serve config``."""
    folder = settings.folder.resolve()
    return {
        "catalog": {
            "uri": f"sqlite:///{folder / CATALOG}",
            "writable_storage": [str(folder / ARRAYS), f"duckdb:///{folder / TABLES}"],
            "readable_storage": [str(path.resolve()) for path in settings.readable],
            "init_if_not_exists": True,
        },
        "streaming_cache": {"uri": "memory"},
        "media_types": {
            "BlueskyRun": {"application/json-seq": "bluesky_tiled_plugins.exporters:json_seq_exporter"}
        },
        "allow_origins": [],
    }


def serve(
    settings: TiledServer, when_ready: Callable[[str], None], keys: Mapping[str, str] | None = None
) -> None:
    """Serve a folder until the process is told to end (SIGTERM, SIGINT).

    Parameters
    ----------
    settings : TiledServer
    when_ready : callable
        Called with the tree's address, which is also in the folder's file ``address``, once it answers.
    keys : mapping of str to str, optional
        By the names in `SCOPES`; by default those in the folder's files.

    Raises
    ------
    InputError
        If the port cannot be used, or a file of the folder holds no key.
    PublishingError
        If the folder cannot hold a server's files, or another server has it.
    """
    folder = settings.folder
    try:
        (folder / ARRAYS).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PublishingError(f"{folder} cannot hold a server's files: {error.strerror}") from error
    with _locked(folder), _listening(settings) as listener:
        keys = keys_in(folder) if keys is None else keys
        port = listener.getsockname()[1]
        host = socket.gethostname() if settings.host == ANY_INTERFACE else settings.host
        address = f"http://{host}:{port}/api/v1"
        try:
            _run(settings, listener, keys, lambda: _tell(folder, address, when_ready))
        finally:
            (folder / ADDRESS).unlink(missing_ok=True)


def _tell(folder: Path, address: str, when_ready: Callable[[str], None]) -> None:
    with replacing(folder / ADDRESS) as part:
        part.write_text(f"{address}\n")
    when_ready(address)


def _run(
    settings: TiledServer, listener: socket.socket, keys: Mapping[str, str], when_ready: Callable[[], None]
) -> None:
    import uvicorn
    from tiled.server.app import build_app_from_config
    from tiled.server.logging_config import LOGGING_CONFIG

    from ptycho_plugin.publishing.admission import admit

    own_key = {"authentication": {"single_user_api_key": keys[WRITER]}}
    app = build_app_from_config({**tiled_config(settings), **own_key})
    _keep_what_is_committed(settings.folder / CATALOG)
    admit(app, keys)
    tiled_lifespan = app.router.lifespan_context

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[None]:
        async with tiled_lifespan(app):
            when_ready()  # the socket listens: who connects now is answered in a moment
            yield

    app.router.lifespan_context = lifespan
    # Access logs and those of subscriptions write whole addresses, and a browser's first one holds the key.
    loggers = {name: {**logger, "level": "WARNING"} for name, logger in LOGGING_CONFIG["loggers"].items()}
    config = uvicorn.Config(
        app,
        loop="asyncio",
        log_config={**LOGGING_CONFIG, "loggers": loggers},
        access_log=False,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
    )
    uvicorn.Server(config).run(sockets=[listener])


def _keep_what_is_committed(catalog: Path) -> None:
    """Have a catalog outlive a power cut from each commit on.

    Tiled leaves ``synchronous`` at SQLite's FULL, which syncs a write-ahead log at each commit, but its
    catalogs (0.2.20) come without one. There a rollback journal is deleted to commit, which is not synced.
    """
    with closing(sqlite3.connect(catalog)) as database:
        database.execute("PRAGMA journal_mode=WAL")  # kept in the file


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keep other servers away for as long as this process lives, and no longer."""
    with (folder / LOCK).open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise PublishingError(
                f"another server has the folder {folder}: use it, its address is in {folder / ADDRESS}"
            ) from None
        yield


def _listening(settings: TiledServer) -> socket.socket:
    try:
        return socket.create_server((settings.host, settings.port))
    except OSError as error:
        raise InputError(
            f"no server can listen on {settings.host}, port {settings.port}: {error.strerror}; choose others"
        ) from None


def _serve_parent() -> None:
    """Serve until standard input ends: its first line holds settings and keys, its end the parent's."""
    told = json.loads(sys.stdin.readline())
    serve(TiledServer(**told["settings"]), _answer_parent, told["keys"])


def _answer_parent(address: str) -> None:
    sys.stdout.write(f"{address}\n")
    sys.stdout.flush()
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    os.read(sys.stdin.fileno(), 1)
    signal.alarm(SHUTDOWN_SECONDS)  # the default action ends a process whose clients hold on
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    _serve_parent()
