"""What the simulated beamline's process is told when it starts.

Imported by clients' processes too: nothing here, nor in `process`, imports ophyd, which would start
their Channel Access before its environment is set.
"""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Annotated

from pydantic import Field

from ptycho_plugin.checked_model import CheckedModel
from ptycho_plugin.geometry import Geometry
from ptycho_plugin.optics import ZonePlate
from ptycho_plugin.simulation.options import SimulationOptions

LOOPBACK = "127.0.0.1"
PREFIX = "PTYCHO:"
Port = Annotated[int, Field(ge=1024, le=65535)]


def client_environment(port: int, repeater_port: int) -> dict[str, str]:
    """Return what the environment of a client's process must say, before its Channel Access starts."""
    return {
        "EPICS_CA_ADDR_LIST": LOOPBACK,
        "EPICS_CA_AUTO_ADDR_LIST": "NO",
        "EPICS_CA_SERVER_PORT": str(port),
        "EPICS_CA_REPEATER_PORT": str(repeater_port),
    }


class IocSettings(CheckedModel):
    """Names, ports, files and the world of one simulated beamline."""

    prefix: Annotated[str, Field(pattern=r"^[A-Za-z0-9_:\-]+$", max_length=30)] = PREFIX
    """Of every process variable."""
    port: Port
    """Of Channel Access, UDP and TCP, on the loopback interface."""
    repeater_port: Port
    """Where clients look for a repeater: the process answers there, so that they start none."""
    directory: Path
    """The detector's files go below it, and nowhere else."""
    options: SimulationOptions = SimulationOptions()
    geometry: Geometry | None = None
    """By default the published experiment's."""
    optic: ZonePlate = ZonePlate()
    replay: Path | None = None
    """A recorded scan to replay in place of the simulated sample."""

    @property
    def client_environment(self) -> dict[str, str]:
        """As the function of this name."""
        return client_environment(self.port, self.repeater_port)

    @property
    def server_environment(self) -> dict[str, str]:
        """What the environment of the server's process must say."""
        return {
            **self.client_environment,
            "EPICS_CAS_INTF_ADDR_LIST": LOOPBACK,
            "EPICS_CAS_AUTO_BEACON_ADDR_LIST": "NO",
            "EPICS_CAS_BEACON_ADDR_LIST": LOOPBACK,
            "EPICS_CAS_BEACON_PORT": str(self.repeater_port),
            # A monitor waits so long for others to go with it.
            "CAPROTO_SERVER_HIGH_LOAD_TIMEOUT_SEC": "0.001",
            # ophyd only lends its classes here: it must not start a client.
            "OPHYD_CONTROL_LAYER": "dummy",
        }


def free_port() -> int:
    """Return a port of the loopback interface that is free for both TCP and UDP."""
    while True:
        with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
            tcp.bind((LOOPBACK, 0))
            port = int(tcp.getsockname()[1])
            try:
                udp.bind((LOOPBACK, port))
            except OSError:
                continue
            return port
