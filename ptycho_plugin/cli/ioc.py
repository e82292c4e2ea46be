"""``ptycho ioc``: a simulated beamline over Channel Access."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ptycho_plugin.ioc.settings import IocSettings


def run_ioc(
    prefix: Annotated[str, typer.Option(help="Of every process variable.")] = "PTYCHO:",
    port: Annotated[
        int | None, typer.Option(help="Of Channel Access, on the loopback interface; by default a free one.")
    ] = None,
    directory: Annotated[
        Path, typer.Option(help="The detector's files go below it, and nowhere else.")
    ] = Path("ioc-frames"),
    seed: Annotated[int, typer.Option(help="The same seed and the same exposures give the same frames.")] = 0,
    replay: Annotated[
        Path | None, typer.Option(help="A recorded scan to replay in place of the simulated sample.")
    ] = None,
    write_beamline: Annotated[
        Path | None, typer.Option(help="Write a beamline file here that names its process variables.")
    ] = None,
) -> None:
    """Serve a simulated beamline on this machine until Ctrl-C; one line says when it is ready, and for whom.

    Example: ptycho ioc --directory out/frames
    """
    from ptycho_plugin.ioc.beamline_file import write_beamline_file
    from ptycho_plugin.ioc.launch import launch

    settings = _settings(prefix, port, directory, seed, replay)
    if write_beamline is not None:
        write_beamline_file(settings, write_beamline)
    launch(settings, lambda line: print(line, flush=True))


def _settings(prefix: str, port: int | None, directory: Path, seed: int, replay: Path | None) -> IocSettings:
    from ptycho_plugin.ioc.settings import IocSettings, free_port
    from ptycho_plugin.simulation.options import SimulationOptions

    return IocSettings(
        prefix=prefix,
        port=port or free_port(),
        repeater_port=free_port(),
        directory=directory.resolve(),
        options=SimulationOptions(seed=seed),
        replay=replay,
    )
