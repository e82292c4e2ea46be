"""What a plan knows of a beamline: devices by what they can do, and the numbers that go with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from bluesky.protocols import (
    Flyable,
    HasName,
    Movable,
    NamedMovable,
    Pausable,
    Preparable,
    Readable,
    Triggerable,
    WritesStreamAssets,
)
from numpy.typing import NDArray

from ptycho_plugin.dataset import COUNTER_LIMIT
from ptycho_plugin.dose import ShutterTiming
from ptycho_plugin.errors import InputError
from ptycho_plugin.flux import DetectionPath
from ptycho_plugin.geometry import Geometry
from ptycho_plugin.optics import ZonePlate
from ptycho_plugin.orientation import DetectorOrientation, PositionSign
from ptycho_plugin.trajectory import Trajectory

if TYPE_CHECKING:
    from ptycho_plugin.publishing.calibrations import CalibrationStore


class Axis(NamedMovable[float], Readable[float], Protocol):
    """A motor in micrometres."""

    limits: tuple[float, float]
    """Lowest and highest position; equal where none are set."""


class Stage(Protocol):
    """Two axes: y along the object's rows, x along its columns."""

    @property
    def y(self) -> Axis:
        """Along rows."""

    @property
    def x(self) -> Axis:
        """Along columns."""


class GatedCounter(Readable[float], Triggerable, Protocol):
    """Armed by ``trigger()``, it measures during the next exposure; its status is then done."""


class Encoder(GatedCounter, Protocol):
    """The measured stage position, averaged over the exposure, in micrometres."""

    y: HasName
    x: HasName


class FluxMonitor(GatedCounter, Protocol):
    """What is counted during the exposure, in proportion to the photons on the sample."""

    counts: HasName
    gain: Movable[float]
    calibration: Movable[str]
    """Calibration in force, a `ptycho_plugin.flux.FluxCalibration` as JSON, or empty."""


class FrameDetector(Readable[Any], Triggerable, WritesStreamAssets, Protocol):
    """A camera whose full frames are written to HDF5 and referred to by the documents."""

    exposure_time: Movable[float]
    beam_centre_row: Movable[float]
    """Direct beam in the full raw frame, in pixels, as `find_beam_centre` last set it."""
    beam_centre_column: Movable[float]
    beam_centre_measured: Movable[bool]
    """Whether `find_beam_centre` has set it since the start; until then it is the design's."""
    mask_version: Movable[str]
    """Key under ``calibrations/masks`` of the valid-pixel mask in force, or empty."""
    roi_side: Movable[int]
    """Rows and columns, in pixels, of the region of interest about the beam centre."""
    roi_counts: HasName
    """Counts of the last frame in that region."""

    @property
    def frame_key(self) -> str:
        """Data key of the frames."""

    @property
    def frame_shape(self) -> tuple[int, int]:
        """Rows and columns of a full frame."""


class GatedDetector(FrameDetector, Preparable, Protocol):
    """A camera that hardware can trigger: prepared with a number of frames, it takes one in each gate."""


@dataclass(frozen=True, slots=True, eq=False)
class GatedPoints:
    """What a trajectory is to expose.

    Parameters
    ----------
    points_um : ndarray, (point, 2), float64
        Stage positions (row, column), in their order.
    exposure_s : float
        Width of the gate at each.
    """

    points_um: NDArray[np.float64]
    exposure_s: float


@dataclass(frozen=True, slots=True, eq=False)
class Captured:
    """The gates of a trajectory so far.

    Parameters
    ----------
    positions_um : ndarray, (gate, 2), float64
        Measured stage positions (row, column), averaged over each gate.
    counts : ndarray, (gate,), float64
        Of the flux monitor in each gate, at its gain.
    gates_s : ndarray, (gate, 2), float64
        When each began and ended, in seconds since the start.
    begun : int
        Gates that have begun: one more than have ended, while one is high or where one was cut.
    """

    positions_um: NDArray[np.float64]
    counts: NDArray[np.float64]
    gates_s: NDArray[np.float64]
    begun: int

    def __len__(self) -> int:
        return len(self.counts)


class TrajectoryScanner(Movable[str], Preparable, Flyable, HasName, Protocol):
    """Hardware that brings the piezo stage from point to point and raises a gate at each, without software.

    ``prepare(GatedPoints)`` loads a trajectory. ``set("armed")`` goes to its first point: it is set like a
    motor, for what is set is stopped by the RunEngine before a pause, and whatever ends a plan.
    ``kickoff()`` starts it; the status of ``complete()`` is done when it has ended, or was stopped, and
    fails if it could not go on.
    """

    async def stop(self, success: bool = True) -> None:
        """End the trajectory before its next gate, and wait until it has; an armed one ends as it starts."""

    @property
    def captured(self) -> Captured:
        """The gates so far of the trajectory that was armed last, each before its frame can be on disk."""

    @property
    def is_running(self) -> bool:
        """Whether a trajectory is under way."""


class Shutter(Movable[str], Pausable, Protocol):
    """Set to "open" or "closed", from any thread; it is closed while the RunEngine is paused."""

    @property
    def openings_s(self) -> Sequence[float]:
        """Seconds from each command to open to its command to close, since the device was made."""


class Attenuator(Movable[float], Readable[float], Protocol):
    """Set to the part of the beam that passes, above 0 and up to 1."""


@dataclass(frozen=True, slots=True)
class DetectorLimits:
    """What the detector can count, by default a Pilatus 2M.

    Parameters
    ----------
    counts : int
        Largest count of a pixel in one exposure.
    counts_per_second : float
        Rate in one pixel above which photons pile up.
    readout_s : float
        Dead time after an exposure.
    """

    counts: int = COUNTER_LIMIT
    counts_per_second: float = 1e6
    readout_s: float = 3e-3


@dataclass(frozen=True, slots=True)
class MoveTiming:
    """How long a stage takes to move; its two axes move at the same time.

    Parameters
    ----------
    velocity_um_s : float
        Of each axis, in micrometres a second.
    settle_s : float
        From arrival until a move counts as done.
    """

    velocity_um_s: float
    settle_s: float = 0.0

    def path_s(self, places_um: NDArray[np.float64]) -> float:
        """Return the seconds that a stage takes from the first of some places (place, 2) to the last."""
        return float(np.sum(self.steps_s(places_um)))

    def steps_s(self, places_um: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the seconds that a stage takes from each of some places (place, 2) to the next."""
        steps_um = np.abs(np.diff(places_um, axis=0)).max(axis=1, initial=0.0)
        return np.asarray(steps_um / self.velocity_um_s + self.settle_s)


@dataclass(slots=True, kw_only=True, eq=False, repr=False)
class Beamline:
    """A ptychography beamline; simulated, replayed or real, a plan cannot tell.

    It is one object for as long as the session lasts, in every namespace: what depends on the energy is
    changed in it, by `leave_energy` and `retune` alone.

    Parameters
    ----------
    name : str
    stage : Stage
        The piezo stage that scans.
    coarse : Stage
        The stage that brings another place into the beam.
    encoder : Encoder
    flux : FluxMonitor
    detector : FrameDetector
    shutter : Shutter
    attenuator : Attenuator
    scanner : TrajectoryScanner, optional
        What scans the piezo stage by hardware; the detector is then a `GatedDetector`.
    geometry : Geometry
        Its ``frame_side`` is the crop that is reconstructed.
    optic : ZonePlate, optional
        The nominal optic.
    orientation : DetectorOrientation
        How the camera is mounted.
    position_sign : PositionSign
        Whether the stage carries the probe or the sample.
    beam_centre_px : (float, float)
        Direct beam (row, column) in the full raw frame, by design.
    photons_per_second : float
        On the sample, unattenuated.
    focus_size : float, optional
        The stated diameter of the illumination in metres, for the sampling that is reported.
    slit_gaps_um : (float, float), optional
        Openings (row, column) of the slits that set the coherence; kept with every run and probe.
    detector_limits : DetectorLimits
    trigger_period_s : float, optional
        From one trigger to the next, where hardware gives them.
    shutter_timing : ShutterTiming
        How late the shutter opens and closes.
    stage_timing, coarse_timing : MoveTiming, optional
        How long the stages take to move, for what is said of a scan before it begins.
    detection : DetectionPath
        What takes photons between an empty sample place and the detector's counts.
    places : mapping of str to (float, float)
        Coarse positions (row, column) in micrometres: "sample", "specimen", "empty".
    calibrations : CalibrationStore, optional
        Where probes and masks are kept, and background runs are looked up.
    trajectory : Trajectory, optional
        The scan to make where none is asked for.
    start_probe : str, optional
        Uid of the stored probe to start from where none is asked for.
    monochromator : Axis, optional
        In eV.
    zone_plate_z : Axis, optional
        The zone plate along the beam, in micrometres, positive downstream.
    threshold : Movable, optional
        Photon energy in keV from which the detector counts.
    ring_current : Readable, optional
        In mA; what `ring_current_suspender` watches.
    others : sequence of Readable
        What is read once at the beginning of each run, such as slits and the sample along the beam.

    Raises
    ------
    InputError
        If the flux is negative or no number.
    """

    name: str
    stage: Stage
    coarse: Stage
    encoder: Encoder
    flux: FluxMonitor
    detector: FrameDetector
    shutter: Shutter
    attenuator: Attenuator
    geometry: Geometry
    optic: ZonePlate | None
    beam_centre_px: tuple[float, float]
    photons_per_second: float
    orientation: DetectorOrientation = DetectorOrientation.AS_IS
    position_sign: PositionSign = PositionSign.PROBE
    focus_size: float | None = None
    slit_gaps_um: tuple[float, float] | None = None
    detector_limits: DetectorLimits = DetectorLimits()
    trigger_period_s: float | None = None
    shutter_timing: ShutterTiming = field(default_factory=ShutterTiming)
    scanner: TrajectoryScanner | None = None
    stage_timing: MoveTiming | None = None
    coarse_timing: MoveTiming | None = None
    detection: DetectionPath = field(default_factory=DetectionPath)
    places: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    calibrations: CalibrationStore | None = None
    trajectory: Trajectory | None = None
    start_probe: str | None = None
    monochromator: Axis | None = None
    zone_plate_z: Axis | None = None
    threshold: Movable[float] | None = None
    ring_current: Readable[float] | None = None
    others: Sequence[Readable[Any]] = ()
    zone_plate_left_um: float | None = field(default=None, init=False)
    """Where the zone plate stood, 0 without one, when a change of the energy began that has not ended; None
    where none is under way."""

    def __post_init__(self) -> None:
        if not 0 <= self.photons_per_second < inf:
            raise InputError(
                f"beamline {self.name} cannot have photons_per_second = {self.photons_per_second:g}: give a "
                "finite number >= 0"
            )

    def __repr__(self) -> str:
        places = ", ".join(self.places) or "none"
        return f"<Beamline {self.name}, {self.geometry.energy_eV:.0f} eV, places: {places}>"

    def leave_energy(self, zone_plate_um: float) -> None:
        """Remember, as a change of the energy begins, where the zone plate stands for the geometry."""
        self.zone_plate_left_um = zone_plate_um

    def retune(self, geometry: Geometry) -> None:
        """Take over the geometry of another energy; the probe to start from was of the old one."""
        self.geometry = geometry
        self.start_probe = self.zone_plate_left_um = None

    def transits_s(self, points_um: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the seconds from the end of each gate of a trajectory to the beginning of the next.

        Parameters
        ----------
        points_um : ndarray, (point, 2), float64

        Raises
        ------
        InputError
            If the beamline does not say how long its stage takes to move.
        """
        if self.stage_timing is None:
            raise InputError(
                f"beamline {self.name} does not say how fast its stage moves, so that what a trajectory "
                "takes between its gates cannot be told: give it a stage_timing"
            )
        return self.stage_timing.steps_s(points_um) + self.detector_limits.readout_s

    def place_um(self, name: str) -> tuple[float, float]:
        """Return the coarse position (row, column) of a place in micrometres.

        Raises
        ------
        InputError
            If the beamline has no such place.
        """
        try:
            return self.places[name]
        except KeyError:
            known = ", ".join(self.places) or "none"
            raise InputError(f"beamline {self.name} has no place '{name}': it has {known}") from None
