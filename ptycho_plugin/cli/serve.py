"""``ptycho serve``: a Tiled server of a small beamline's own."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from ptycho_plugin.errors import InputError

LOOPBACK = ("127.0.0.1", "localhost")
FOLDER = "a folder: ptycho serve FOLDER"


def serve_tiled(
    folder: Annotated[
        Path | None, typer.Argument(help="Keeps catalog, arrays, tables and keys; made if it is missing.")
    ] = None,
    beamline: Annotated[
        Path | None, typer.Option(help="Take what is not given here from the [tiled] table of this file.")
    ] = None,
    readable: Annotated[
        list[Path] | None, typer.Option(help="A folder of raw frames that it may serve; may be repeated.")
    ] = None,
    host: Annotated[
        str | None, typer.Option(help="Interface on which it answers; by default the loopback one alone.")
    ] = None,
    port: Annotated[int | None, typer.Option(help="By default any free one.")] = None,
) -> None:
    """Serve Tiled for a beamline until Ctrl-C or SIGTERM; one line says when it is ready.

    Example: ptycho serve out/tiled --readable out/frames
    """
    from ptycho_plugin.beamline_file import TiledServer

    given = {"folder": folder, "readable": readable or None, "host": host, "port": port}
    chosen = {name: value for name, value in given.items() if value is not None}
    settings = TiledServer(**{**_of_beamline(beamline, folder), **chosen})
    try:
        from ptycho_plugin.publishing.serving import serve
    except ModuleNotFoundError:
        raise InputError("a Tiled server needs more than its client: install ptycho-plugin[server]") from None
    if settings.host not in LOOPBACK:
        print(
            f"ptycho: whoever reaches {settings.host} can ask this server, and whoever is on the way can "
            "read keys and data: put TLS before it (docs/serving.md)",
            file=sys.stderr,
        )
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _leave)
    serve(settings, lambda address: _say(settings.folder, address))


def _of_beamline(beamline: Path | None, folder: Path | None) -> dict[str, Any]:
    from ptycho_plugin.beamline_file import read_beamline_file

    table = read_beamline_file(beamline).tiled if beamline is not None else None
    if table is None and folder is None:
        wanted = FOLDER if beamline is None else f"{beamline} a [tiled] table, or the command {FOLDER}"
        raise InputError(f"nothing says where the server keeps its files: give {wanted}")
    return {} if table is None else table.model_dump()


def _say(folder: Path, address: str) -> None:
    from ptycho_plugin.publishing.server_keys import VIEWER, WRITER, key_file

    print(
        f"Tiled answers at {address}, with the key in {key_file(folder, WRITER)} to write "
        f"and that in {key_file(folder, VIEWER)} to read; Ctrl-C ends it",
        flush=True,
    )


def _leave(_number: int, _frame: object) -> None:
    sys.exit(0)
