"""A beamline of real devices, as its file says."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ophyd import EpicsSignalRO

from ptycho_plugin.beamline_file import BeamlineFile, read_beamline_file, schema
from ptycho_plugin.devices.beamline import Beamline, DetectorLimits, MoveTiming
from ptycho_plugin.devices.epics.answers import connect
from ptycho_plugin.devices.epics.attenuator import EpicsAttenuator
from ptycho_plugin.devices.epics.axes import Axis, MotorAxis, axis
from ptycho_plugin.devices.epics.counters import EpicsEncoder, EpicsFluxMonitor
from ptycho_plugin.devices.epics.frames import EpicsPilatus
from ptycho_plugin.devices.epics.scanner import EpicsScanner
from ptycho_plugin.devices.epics.shutter import EpicsShutter

MONOCHROMATOR = "monochromator"

if TYPE_CHECKING:
    from ptycho_plugin.publishing.calibrations import CalibrationStore


@dataclass(frozen=True, slots=True)
class EpicsStage:
    """Two axes: y along the object's rows, x along its columns."""

    y: Axis
    x: Axis


def epics_beamline(
    file: str | Path | BeamlineFile,
    directory: str | Path,
    *,
    calibrations: CalibrationStore | None = None,
) -> Beamline:
    """Return a beamline whose devices are process variables.

    Parameters
    ----------
    file : str, Path or BeamlineFile
        A beamline file, or what it says.
    directory : str or Path
        Where the detector's files go, by the same path here and on the detector's machine.
    calibrations : CalibrationStore, optional
        Where probes and masks are kept.

    Raises
    ------
    InputError
        If the file cannot be used.
    DeviceError
        If process variables do not answer; it names them.
    """
    said = file if isinstance(file, BeamlineFile) else read_beamline_file(file)
    prefix = said.prefix
    stage, coarse = _stage(prefix, said.stage, "stage"), _stage(prefix, said.coarse, "coarse")
    detector = EpicsPilatus(
        prefix,
        said.detector,
        name="pilatus",
        directory=Path(directory),
        roi_side=said.geometry.frame_side,
        orientation=said.mounting.detector,
    )
    gated = {"exposure_time": detector.exposure_time}
    encoder = EpicsEncoder(prefix, said.encoder, name="encoder", **gated)
    flux = EpicsFluxMonitor(prefix, said.flux, name="flux", **gated)
    shutter = EpicsShutter(prefix, said.shutter, name="shutter", exposures=detector)
    attenuator = EpicsAttenuator(prefix, said.attenuator, name="attenuator")
    scanner = None if said.trajectory is None else EpicsScanner(prefix + said.trajectory, name="scanner")
    motors = {name: MotorAxis(prefix, one, "um", name=name) for name, one in said.optics.motors.items()}
    if said.source.monochromator is not None:
        motors[MONOCHROMATOR] = MotorAxis(prefix, said.source.monochromator, "eV", name=MONOCHROMATOR)
    ring_current = None
    if said.source.ring_current is not None:
        ring_current = EpicsSignalRO(
            prefix + said.source.ring_current, name="ring_current", auto_monitor=True
        )
    for one in (stage.y, stage.x, coarse.y, coarse.x, *motors.values()):
        one.connect()
    devices = (detector, encoder, flux, shutter, attenuator, scanner, ring_current)
    connect(*(device for device in devices if device is not None))
    return Beamline(
        stage=stage,
        coarse=coarse,
        encoder=encoder,
        flux=flux,
        detector=detector,
        shutter=shutter,
        attenuator=attenuator,
        scanner=scanner,
        calibrations=calibrations,
        monochromator=motors.get(MONOCHROMATOR),
        zone_plate_z=motors.get("zone_plate_z"),
        threshold=detector.threshold_keV,
        ring_current=ring_current,
        others=(*motors.values(), *([] if ring_current is None else [ring_current])),
        **_facts(said),
    )


def _facts(said: BeamlineFile) -> dict[str, Any]:
    """Return what a beamline knows besides its devices."""
    detector = said.detector
    return {
        "name": said.name,
        "geometry": said.geometry,
        "optic": said.optic,
        "beam_centre_px": detector.beam_centre_px,
        "photons_per_second": said.source.photons_per_second,
        "orientation": said.mounting.detector,
        "position_sign": said.mounting.position_sign,
        "focus_size": said.source.focus_size,
        "detector_limits": DetectorLimits(
            detector.counter_limit, detector.counts_per_second, detector.readout_s
        ),
        "trigger_period_s": said.trigger_period_s,
        "shutter_timing": said.shutter.timing,
        "stage_timing": MoveTiming(said.stage.velocity_um_s, said.stage.settle_s),
        "coarse_timing": MoveTiming(said.coarse.velocity_um_s, said.coarse.settle_s),
        "detection": said.detection,
        "places": said.places,
    }


def _stage(prefix: str, said: schema.Stage, name: str) -> EpicsStage:
    y, x = (
        axis(prefix, one, said.velocity_um_s, name=f"{name}_{letter}")
        for letter, one in (("y", said.y), ("x", said.x))
    )
    return EpicsStage(y, x)
