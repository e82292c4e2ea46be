"""Starts the simulated beamline in this process."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable

from ptycho_plugin.errors import InputError
from ptycho_plugin.ioc.settings import LOOPBACK, IocSettings


def launch(settings: IocSettings, when_ready: Callable[[str], None]) -> None:
    """Serve a simulated beamline until the process is told to end.

    Parameters
    ----------
    settings : IocSettings
    when_ready : callable
        Called with one line for people when every process variable answers and the sample is mounted.

    Raises
    ------
    InputError
        If a port is taken, the folder cannot be made, there is nothing to replay, or caproto is missing.
    """
    _check_port(settings.port)
    try:
        settings.directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{settings.directory} cannot hold frames: {error.strerror}") from None
    os.environ.update(settings.server_environment)  # before caproto and ophyd are imported, which read it
    try:
        from ptycho_plugin.ioc.server import serve
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("caproto"):
            raise InputError("a simulated beamline needs caproto: install ptycho-plugin[ioc]") from None
        raise
    serve(settings, when_ready)


def _check_port(port: int) -> None:
    """Refuse a port that another process listens on: caproto would take the next one."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError as error:
            raise InputError(f"port {port} cannot be used: {error.strerror}; choose another") from None
