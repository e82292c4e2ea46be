"""Simulated devices on a world, put together to a beamline."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ptycho_plugin.devices.attenuator import SimulatedAttenuator
from ptycho_plugin.devices.beamline import Beamline, DetectorLimits, MoveTiming
from ptycho_plugin.devices.counters import Encoder, FluxMonitor
from ptycho_plugin.devices.gate import ExposureGate
from ptycho_plugin.devices.pilatus import SimulatedPilatus
from ptycho_plugin.devices.scanner import SimulatedScanner
from ptycho_plugin.devices.shutter import SimulatedShutter
from ptycho_plugin.devices.stage import SimulatedAxis, SimulatedStage
from ptycho_plugin.dose import ShutterTiming
from ptycho_plugin.geometry import Geometry
from ptycho_plugin.orientation import DetectorOrientation

if TYPE_CHECKING:
    from ptycho_plugin.simulation.world import World

PIEZO = MoveTiming(velocity_um_s=200.0, settle_s=0.01)
COARSE = MoveTiming(velocity_um_s=2000.0, settle_s=0.1)
COARSE_LIMITS_UM = (-25_000.0, 25_000.0)
LimitsUm = tuple[tuple[float, float], tuple[float, float]]


def assemble(
    world: World,
    directory: str | Path,
    time_factor: float,
    stage_limits_um: LimitsUm,
    *,
    geometry: Geometry,
    orientation: DetectorOrientation = DetectorOrientation.AS_IS,
    shutter_timing: ShutterTiming = ShutterTiming(),  # noqa: B008  frozen
    **facts: Any,
) -> Beamline:
    """Return a beamline of simulated devices that act on a world.

    Parameters
    ----------
    world : World
    directory : str or Path
        Where the detector's files go.
    time_factor : float
        Duration of a simulated second in seconds: 1 is real time, 0 as fast as it goes.
    stage_limits_um : ((float, float), (float, float))
        Limits of the piezo stage along rows and columns.
    geometry : Geometry
        The detector's region of interest is the crop that it names.
    orientation : DetectorOrientation
    shutter_timing : ShutterTiming
    **facts
        The other fields of `Beamline`.
    """
    gate = ExposureGate(world, time_factor)
    flux = FluxMonitor(name="flux", gate=gate)
    stage = _stage(world, "stage", stage_limits_um, time_factor, PIEZO)
    return Beamline(
        stage=stage,
        coarse=_stage(world, "coarse", (COARSE_LIMITS_UM, COARSE_LIMITS_UM), time_factor, COARSE),
        encoder=Encoder(name="encoder", gate=gate),
        flux=flux,
        detector=SimulatedPilatus(
            name="pilatus",
            gate=gate,
            frame_shape=world.detector_shape,
            directory=Path(directory),
            beam_centre_px=world.beam_centre_px,
            roi_side=geometry.frame_side,
            orientation=orientation,
        ),
        shutter=SimulatedShutter(
            name="shutter", world=world, gate=gate, timing=shutter_timing, time_factor=time_factor
        ),
        attenuator=SimulatedAttenuator(name="attenuator", world=world),
        scanner=SimulatedScanner(
            name="scanner",
            stage=stage,
            gate=gate,
            flux=flux,
            timing=PIEZO,
            readout_s=DetectorLimits().readout_s,
        ),
        beam_centre_px=world.beam_centre_px,
        geometry=geometry,
        orientation=orientation,
        shutter_timing=shutter_timing,
        stage_timing=PIEZO,
        coarse_timing=COARSE,
        **facts,
    )


def _stage(
    world: World,
    name: str,
    limits_um: LimitsUm,
    time_factor: float,
    timing: MoveTiming,
) -> SimulatedStage:
    y, x = (
        SimulatedAxis(
            name=f"{name}_{letter}",
            world=world,
            axis=f"{name}_{axis}",
            limits_um=limits,
            velocity_um_s=timing.velocity_um_s,
            settle_s=timing.settle_s,
            time_factor=time_factor,
        )
        for letter, axis, limits in zip("yx", ("row", "column"), limits_um, strict=True)
    )
    return SimulatedStage(y, x)
