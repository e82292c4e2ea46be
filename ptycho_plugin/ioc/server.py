"""The simulated beamline's process: every record on one digital twin, served over Channel Access."""

from __future__ import annotations

import asyncio
import signal
import socket
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from caproto.asyncio.server import Context

from ptycho_plugin.devices.simulated import PUBLISHED_GEOMETRY
from ptycho_plugin.ioc.attenuator import Attenuator
from ptycho_plugin.ioc.axes import PIEZO_AXES, beamline_axes, is_motor
from ptycho_plugin.ioc.camera import Camera
from ptycho_plugin.ioc.encoder import EncoderCapture
from ptycho_plugin.ioc.faults import Faults
from ptycho_plugin.ioc.gate import Gate
from ptycho_plugin.ioc.hdf5 import Hdf5Plugin
from ptycho_plugin.ioc.motor import Motor
from ptycho_plugin.ioc.physics import Physics
from ptycho_plugin.ioc.piezo import Piezo
from ptycho_plugin.ioc.repeater import Repeater
from ptycho_plugin.ioc.ring import Ring
from ptycho_plugin.ioc.scaler import Amplifier, Scaler
from ptycho_plugin.ioc.sequencer import Sequencer
from ptycho_plugin.ioc.settings import LOOPBACK, IocSettings
from ptycho_plugin.ioc.shutter import Shutter
from ptycho_plugin.ioc.trajectory import TrajectoryRecords
from ptycho_plugin.ioc.twin import Twin
from ptycho_plugin.ioc.twin_records import TwinRecords
from ptycho_plugin.simulation.recorded import RecordedWorld
from ptycho_plugin.simulation.world import SHUTTER_STREAM, SimulatedWorld


def serve(settings: IocSettings, when_ready: Callable[[str], None]) -> None:
    """Serve a simulated beamline until the process is told to end.

    Parameters
    ----------
    settings : IocSettings
    when_ready : callable
        As for `ptycho_plugin.ioc.launch.launch`, which has set the environment and checked what it can.

    Raises
    ------
    InputError
        If there is nothing to replay.
    """
    world = make_world(settings)
    physics = Physics(world)
    try:
        asyncio.run(_serve(settings, world, physics, when_ready))
    finally:
        physics.close()


def make_world(settings: IocSettings) -> SimulatedWorld | RecordedWorld:
    """Return the world that the settings ask for."""
    if settings.replay is None:
        return SimulatedWorld(settings.geometry or PUBLISHED_GEOMETRY, settings.optic, settings.options)
    from ptycho_plugin.io import read_dataset

    return RecordedWorld(read_dataset(settings.replay))


def records(settings: IocSettings, world: SimulatedWorld | RecordedWorld, physics: Physics) -> dict[str, Any]:
    """Return every process variable by its name."""
    prefix, shape = settings.prefix, world.detector_shape
    twin = Twin(beamline_axes(world.geometry), physics, settings.optic, time.monotonic())
    gate, faults = Gate(twin, physics), Faults(twin)
    amplifier = Amplifier(prefix=f"{prefix}AMP:")
    plugin = Hdf5Plugin(
        prefix=f"{prefix}PIL:HDF1:", physics=physics, folder=settings.directory, frame_shape=shape
    )
    camera = Camera(prefix=f"{prefix}PIL:cam1:", gate=gate, faults=faults, plugin=plugin, frame_shape=shape)
    rng = np.random.default_rng((settings.options.seed, SHUTTER_STREAM))
    groups: list[Any] = [
        *(Motor(prefix=prefix + axis, twin=twin, axis=axis) for axis in twin.axes if is_motor(axis)),
        *(Piezo(prefix=prefix + axis, twin=twin, axis=axis) for axis in PIEZO_AXES),
        Shutter(prefix=f"{prefix}SHUTTER:", twin=twin, timing=settings.options.shutter, rng=rng),
        Attenuator(prefix=f"{prefix}ATT:", twin=twin),
        Ring(prefix=f"{prefix}RING:", twin=twin),
        amplifier,
        Scaler(prefix=f"{prefix}SCALER", gate=gate, amplifier=amplifier),
        EncoderCapture(prefix=f"{prefix}ENC:", gate=gate),
        plugin,
        camera,
        TrajectoryRecords(prefix=f"{prefix}TRAJ:", sequencer=Sequencer(twin, camera), amplifier=amplifier),
        TwinRecords(prefix=f"{prefix}TWIN:", twin=twin, physics=physics, gate=gate, faults=faults),
    ]
    return {name: record for group in groups for name, record in group.pvdb.items()}


async def _serve(
    settings: IocSettings,
    world: SimulatedWorld | RecordedWorld,
    physics: Physics,
    when_ready: Callable[[str], None],
) -> None:
    loop = asyncio.get_running_loop()
    repeater, _ = await loop.create_datagram_endpoint(Repeater, local_addr=(LOOPBACK, settings.repeater_port))
    database = records(settings, world, physics)
    context = Context(database)
    announce = _announce(settings, world, physics, when_ready, len(database))

    async def begin(library: Any) -> None:
        _answer_at_once(context)
        await announce(library)

    serving = loop.create_task(context.run(startup_hook=begin))
    for signal_number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(signal_number, serving.cancel)
    try:
        await serving
    except asyncio.CancelledError:
        pass
    finally:
        repeater.close()


def _answer_at_once(context: Context) -> None:
    """Send each answer at once: a client's kernel confirms one 40 ms late, which would hold up the next."""
    for listener in context.tcp_sockets.values():  # whose clients' sockets inherit it
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _announce(
    settings: IocSettings,
    world: SimulatedWorld | RecordedWorld,
    physics: Physics,
    when_ready: Callable[[str], None],
    served: int,
) -> Callable[[Any], Any]:
    async def announce(_library: Any) -> None:
        if isinstance(world, SimulatedWorld):
            await asyncio.wrap_future(physics.do(world.mount))
        environment = " ".join(f"{name}={value}" for name, value in settings.client_environment.items())
        when_ready(
            f"{settings.prefix} is served, {served} process variables, the detector's files go below "
            f"{settings.directory}; in a client's terminal: export {environment}"
        )

    return announce
