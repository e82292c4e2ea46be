"""What a beamline file says, table by table."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    BeforeValidator,
    Field,
    PlainSerializer,
    ValidationInfo,
    field_validator,
    model_validator,
)

from ptycho_plugin.checked_model import CheckedModel
from ptycho_plugin.dataset import COUNTER_LIMIT
from ptycho_plugin.dose import ShutterTiming
from ptycho_plugin.flux import LOSSLESS, DetectionPath
from ptycho_plugin.geometry import Geometry
from ptycho_plugin.optics import ZonePlate
from ptycho_plugin.orientation import DetectorOrientation, PositionSign

Pv = Annotated[str, Field(pattern=r"^[^\s]+$", max_length=60, description="Process variable.")]
PvPrefix = Annotated[str, Field(pattern=r"^[^\s]*$", max_length=60)]
Detection = Annotated[
    DetectionPath,
    BeforeValidator(lambda value: LOSSLESS if value == "lossless" else value),
    PlainSerializer(lambda path: "lossless" if path == LOSSLESS else path.model_dump(mode="json")),
]
"""TOML has no word for "no sensor": "lossless" says that every photon is counted."""
Positive = Annotated[float, Field(gt=0)]
TRAJECTORY_SETTINGS = ("Y", "X", "EXPOSURE", "LOAD", "ARM", "START", "ABORT")
TRAJECTORY_READINGS = (
    "STATE",
    "MESSAGE",
    "CAPTURED",
    "CAP:Y",
    "CAP:X",
    "CAP:COUNTS",
    "CAP:START",
    "CAP:END",
)
MOTOR_READINGS = ("VELO", "EGU", "MOVN", "MISS", "HLS", "LLS")
CAM_SETTINGS = (
    "Acquire",
    "AcquireTime",
    "AcquirePeriod",
    "ArrayCallbacks",
    "ImageMode",
    "NumImages",
    "TriggerMode",
    "ThresholdEnergy",
)
FILE_SETTINGS = (
    "AutoIncrement",
    "Capture",
    "EnableCallbacks",
    "FileName",
    "FilePath",
    "FileTemplate",
    "FileWriteMode",
    "LazyOpen",
    "NumCapture",
    "NumFramesFlush",
    "SWMRMode",
)
FILE_READINGS = ("FilePathExists_RBV", "NumCaptured_RBV")
NotNegative = Annotated[float, Field(ge=0)]


@dataclass(frozen=True, slots=True)
class ProcessVariable:
    """One that a beamline file names.

    Parameters
    ----------
    entry : str
        Where the file names it, such as ``stage.y``.
    pv : str
        Its whole name.
    writable : bool
        Whether it must be.
    units : str, optional
        In which it must be.
    """

    entry: str
    pv: str
    writable: bool = False
    units: str | None = None


class Limits(CheckedModel):
    """An axis' own limits, besides those that its controller keeps."""

    limits: tuple[float, float] | None = None
    """Lowest and highest position, in the axis' units."""

    @model_validator(mode="after")
    def _in_order(self) -> Limits:
        if self.limits is not None and not self.limits[0] < self.limits[1]:
            raise ValueError(f"limits {list(self.limits)} are not in order: give the lower one first")
        return self


class Motor(Limits):
    """An axis with a motor record."""

    kind: Literal["motor"] = "motor"
    pv: Pv
    """Of the record."""

    def process_variables(self, entry: str, units: str) -> Iterator[ProcessVariable]:
        """Yield the record's fields that are used, without the beamline's prefix."""
        yield ProcessVariable(entry, f"{self.pv}.VAL", writable=True, units=units)
        yield ProcessVariable(entry, f"{self.pv}.RBV", units=units)
        yield ProcessVariable(entry, f"{self.pv}.DMOV")
        yield ProcessVariable(entry, f"{self.pv}.STOP", writable=True)
        yield from (ProcessVariable(entry, f"{self.pv}.{field}") for field in MOTOR_READINGS)
        yield from (ProcessVariable(entry, pv) for pv in self.limit_variables)

    @property
    def limit_variables(self) -> tuple[str, str]:
        """Those of the lowest and the highest position, without the beamline's prefix."""
        return f"{self.pv}.LLM", f"{self.pv}.HLM"


class Piezo(Limits):
    """An axis without a motor record: a set point whose put completes when the axis has settled."""

    kind: Literal["piezo"] = "piezo"
    setpoint: Pv
    readback: Pv
    stop: Pv
    low: Pv
    high: Pv

    def process_variables(self, entry: str, units: str) -> Iterator[ProcessVariable]:
        """Yield what is used, without the beamline's prefix."""
        yield ProcessVariable(entry, self.setpoint, writable=True, units=units)
        yield ProcessVariable(entry, self.readback, units=units)
        yield ProcessVariable(entry, self.stop, writable=True)
        yield from (ProcessVariable(entry, pv, units=units) for pv in self.limit_variables)

    @property
    def limit_variables(self) -> tuple[str, str]:
        """Those of the lowest and the highest position, without the beamline's prefix."""
        return self.low, self.high


Axis = Annotated[Motor | Piezo, Field(discriminator="kind")]


class Stage(CheckedModel):
    """Two axes in micrometres: y along the object's rows, x along its columns."""

    y: Axis
    x: Axis
    velocity_um_s: Positive
    settle_s: NotNegative = 0.0
    """From arrival until a move counts as done."""

    def process_variables(self, entry: str) -> Iterator[ProcessVariable]:
        """Yield those of both axes, without the beamline's prefix."""
        yield from self.y.process_variables(f"{entry}.y", "um")
        yield from self.x.process_variables(f"{entry}.x", "um")


class Encoder(CheckedModel):
    """A position capture: armed, it averages over the next exposure."""

    arm: Pv
    y: Pv
    x: Pv

    def process_variables(self, entry: str) -> Iterator[ProcessVariable]:
        """Yield them without the beamline's prefix."""
        yield ProcessVariable(f"{entry}.arm", self.arm, writable=True)
        yield ProcessVariable(f"{entry}.y", self.y, units="um")
        yield ProcessVariable(f"{entry}.x", self.x, units="um")


class Flux(CheckedModel):
    """A scaler record that the detector's gate lets count, its clock (channel 1) too, behind an amplifier."""

    scaler: Pv
    channel: Annotated[int, Field(ge=1, le=32)]
    gain: Pv

    def process_variables(self, entry: str) -> Iterator[ProcessVariable]:
        """Yield them without the beamline's prefix."""
        yield ProcessVariable(f"{entry}.scaler", f"{self.scaler}.CNT", writable=True)
        yield ProcessVariable(f"{entry}.scaler", f"{self.scaler}.TP", writable=True)
        yield ProcessVariable(f"{entry}.scaler", f"{self.scaler}.S{self.channel}")
        yield ProcessVariable(f"{entry}.gain", self.gain, writable=True)


class Camera(CheckedModel):
    """An areaDetector Pilatus with its HDF5 plugin."""

    cam: Pv
    hdf: Pv
    frame_shape: tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]] = (1679, 1475)
    """Rows and columns."""
    beam_centre_px: tuple[float, float]
    """Direct beam (row, column) in the full raw frame, by design."""
    counter_limit: Annotated[int, Field(ge=1)] = COUNTER_LIMIT
    counts_per_second: Positive = 1e6
    """Rate in one pixel above which photons pile up."""
    readout_s: NotNegative = 3e-3

    @field_validator("beam_centre_px")
    @classmethod
    def _in_the_frame(cls, centre: tuple[float, float], others: ValidationInfo) -> tuple[float, float]:
        rows, columns = others.data.get("frame_shape", (math.inf, math.inf))
        if not (0 <= centre[0] < rows and 0 <= centre[1] < columns):
            raise ValueError(f"give the direct beam's (row, column) in a frame of {rows} x {columns} px")
        return centre

    def process_variables(self, entry: str) -> Iterator[ProcessVariable]:
        """Yield what a scan sets or reads, without the beamline's prefix."""
        yield ProcessVariable(f"{entry}.cam", f"{self.cam}Armed")
        yield from (
            ProcessVariable(f"{entry}.cam", f"{self.cam}{end}", writable=True) for end in CAM_SETTINGS
        )
        yield from (
            ProcessVariable(f"{entry}.hdf", f"{self.hdf}{end}", writable=True) for end in FILE_SETTINGS
        )
        yield from (ProcessVariable(f"{entry}.hdf", f"{self.hdf}{end}") for end in FILE_READINGS)


class Shutter(CheckedModel):
    """A fast shutter: a command (0 closed, 1 open) that completes when it has moved, and its limit switch."""

    command: Pv
    status: Pv
    timing: ShutterTiming = ShutterTiming()

    def process_variables(self, entry: str) -> Iterator[ProcessVariable]:
        """Yield them without the beamline's prefix."""
        yield ProcessVariable(f"{entry}.command", self.command, writable=True)
        yield ProcessVariable(f"{entry}.status", self.status)


class Attenuator(CheckedModel):
    """Absorbers, set by the part of the beam that passes."""

    setpoint: Pv
    readback: Pv

    def process_variables(self, entry: str) -> Iterator[ProcessVariable]:
        """Yield them without the beamline's prefix."""
        yield ProcessVariable(f"{entry}.setpoint", self.setpoint, writable=True)
        yield ProcessVariable(f"{entry}.readback", self.readback)


class Optics(CheckedModel):
    """Motors of the optic, in micrometres."""

    zone_plate_z: Motor | None = None
    """Along the beam, positive downstream: an energy change moves it."""
    zone_plate_y: Motor | None = None
    zone_plate_x: Motor | None = None
    central_stop_y: Motor | None = None
    central_stop_x: Motor | None = None
    aperture_y: Motor | None = None
    aperture_x: Motor | None = None
    aperture_z: Motor | None = None
    sample_z: Motor | None = None
    slit_gap_y: Motor | None = None
    """Opening of the slits that set the coherence."""
    slit_gap_x: Motor | None = None

    @property
    def motors(self) -> dict[str, Motor]:
        """Those that there are, by their names."""
        named = {name: getattr(self, name) for name in type(self).model_fields}
        return {name: motor for name, motor in named.items() if motor is not None}

    def process_variables(self, entry: str) -> Iterator[ProcessVariable]:
        """Yield those of every motor, without the beamline's prefix."""
        for name, motor in self.motors.items():
            yield from motor.process_variables(f"{entry}.{name}", "um")


class Source(CheckedModel):
    """The beam, unattenuated on the sample."""

    photons_per_second: NotNegative
    focus_size: Positive | None = None
    """Stated diameter of the illumination in metres."""
    monochromator: Motor | None = None
    """In eV."""
    ring_current: Pv | None = None
    """In mA."""

    def process_variables(self, entry: str) -> Iterator[ProcessVariable]:
        """Yield them without the beamline's prefix."""
        if self.monochromator is not None:
            yield from self.monochromator.process_variables(f"{entry}.monochromator", "eV")
        if self.ring_current is not None:
            yield ProcessVariable(f"{entry}.ring_current", self.ring_current, units="mA")


class Mounting(CheckedModel):
    """How camera and stage are mounted: see `ptycho_plugin.orientation`."""

    detector: DetectorOrientation
    position_sign: PositionSign


class TiledServer(CheckedModel):
    """The Tiled server that ``ptycho serve`` starts: a small beamline's own."""

    folder: Path
    """Keeps catalog, arrays, tables and keys. A relative path begins where the server is started."""
    readable: tuple[Path, ...] = ()
    """Folders whose files, the raw frames, it may read and serve."""
    host: Annotated[str, Field(pattern=r"^[^\s:]+$")] = "127.0.0.1"
    """Name or IPv4 address of the interface on which it answers."""
    port: Annotated[int, Field(ge=0, le=65535)] = 0
    """0 is any free one."""


class BeamlineFile(CheckedModel):
    """A beamline.

    Parameters
    ----------
    name : str
    prefix : str
        Before every process variable of the file.
    geometry : Geometry
        Its ``frame_side`` is the crop that is reconstructed.
    optic : ZonePlate, optional
    source : Source
    mounting : Mounting
    stage, coarse : Stage
        What scans, and what brings another place into the beam.
    encoder : Encoder
    flux : Flux
    detector : Camera
    shutter : Shutter
    attenuator : Attenuator
    optics : Optics
    trajectory : str, optional
        Prefix of the records of hardware-timed scans.
    trigger_period_s : float, optional
        From one trigger to the next, where hardware gives them.
    detection : DetectionPath
        Materials that take photons between an empty sample place and the detector's counts, or "lossless".
    places : mapping of str to (float, float)
        Coarse positions (row, column) in micrometres, such as "sample", "specimen", "empty".
    tiled : TiledServer, optional
        Where the beamline has a Tiled server of its own.
    """

    name: Annotated[str, Field(min_length=1)]
    prefix: PvPrefix = ""
    geometry: Geometry
    optic: ZonePlate | None = None
    source: Source
    mounting: Mounting
    stage: Stage
    coarse: Stage
    encoder: Encoder
    flux: Flux
    detector: Camera
    shutter: Shutter
    attenuator: Attenuator
    optics: Optics = Optics()
    trajectory: Pv | None = None
    trigger_period_s: Positive | None = None
    detection: Detection = DetectionPath()
    places: dict[str, tuple[float, float]] = Field(default_factory=dict)
    tiled: TiledServer | None = None

    def process_variables(self) -> list[ProcessVariable]:
        """Return every process variable that a scan needs, by its whole name."""
        tables = (
            "stage",
            "coarse",
            "encoder",
            "flux",
            "detector",
            "shutter",
            "attenuator",
            "optics",
            "source",
        )
        named = chain.from_iterable(getattr(self, table).process_variables(table) for table in tables)
        return [
            replace(one, pv=f"{self.prefix}{one.pv}")
            for one in chain(named, _of_trajectory("trajectory", self.trajectory))
        ]

    @property
    def axes(self) -> dict[str, Motor | Piezo]:
        """All axes, by the names of their entries."""
        stages = {"stage": self.stage, "coarse": self.coarse}
        scanning = {
            f"{name}.{letter}": axis
            for name, one in stages.items()
            for letter, axis in (("y", one.y), ("x", one.x))
        }
        optics = {f"optics.{name}": motor for name, motor in self.optics.motors.items()}
        monochromator = self.source.monochromator
        return {
            **scanning,
            **optics,
            **({"source.monochromator": monochromator} if monochromator else {}),
        }


def _of_trajectory(entry: str, prefix: str | None) -> Iterator[ProcessVariable]:
    if prefix is None:
        return
    yield from (ProcessVariable(entry, f"{prefix}{end}", writable=True) for end in TRAJECTORY_SETTINGS)
    yield from (ProcessVariable(entry, f"{prefix}{end}") for end in TRAJECTORY_READINGS)
