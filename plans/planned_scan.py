"""A scan before it is made: what a preflight judges."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ptycho_plugin.devices import DetectorLimits
from ptycho_plugin.dose import Photons, ShutterTiming
from ptycho_plugin.geometry import Geometry
from ptycho_plugin.optics import enclosing_diameter
from ptycho_plugin.orientation import DetectorOrientation
from ptycho_plugin.plans.sample import Sample
from ptycho_plugin.plans.trajectory_light import TrajectoryLight


@dataclass(frozen=True, kw_only=True)
class PlannedScan:
    """Everything that decides whether a scan can work.

    Parameters
    ----------
    geometry : Geometry
    probe : ndarray, (mode, row, column), complex64
        Where the reconstruction starts from; any scale.
    points_um : ndarray, (point, 2), float64
        Stage positions (row, column).
    exposed_um : ndarray, (point, 2), float64
        Those that are to be exposed: not all, where a scan goes on.
    step_um : float
        Largest step that joins the points to one scan.
    travel_um : ((float, float), (float, float))
        Limits of the stage along rows and columns; equal where none are set.
    exposure_s : float
    transits_s : ndarray, (exposed - 1,), float64, optional
        From the end of one exposure to the beginning of the next, where hardware makes them in one go with
        the shutter open.
    trigger_period_s : float, optional
        From one trigger to the next, where hardware gives them.
    photons_per_frame : float
    shutter : ShutterTiming
    detector : DetectorLimits
    frame_shape : (int, int)
        Rows and columns of a full raw frame.
    orientation : DetectorOrientation
    beam_centre_px, design_centre_px : (float, float)
        Direct beam (row, column), as found and as the beamline was designed.
    centre_measured : bool
        Whether the beam centre was found since the start, and is not just the design's.
    valid : ndarray of bool, (row, column), optional
        Trusted pixels of a full raw frame.
    focus_size : float, optional
        Stated diameter of the illumination in metres.
    sample : Sample, optional
    """

    geometry: Geometry
    probe: NDArray[np.complex64]
    points_um: NDArray[np.float64]
    exposed_um: NDArray[np.float64]
    step_um: float
    travel_um: tuple[tuple[float, float], tuple[float, float]]
    exposure_s: float
    transits_s: NDArray[np.float64] | None = None
    trigger_period_s: float | None = None
    photons_per_frame: float
    shutter: ShutterTiming
    detector: DetectorLimits
    frame_shape: tuple[int, int]
    orientation: DetectorOrientation
    beam_centre_px: tuple[float, float]
    design_centre_px: tuple[float, float]
    centre_measured: bool
    valid: NDArray[np.bool_] | None = None
    focus_size: float | None = None
    sample: Sample | None = None

    @property
    def light(self) -> TrajectoryLight | None:
        """Where the beam falls along a trajectory; None of a scan that has none."""
        if self.transits_s is None:
            return None
        timing = self.shutter
        return TrajectoryLight.along(self.exposed_um, self.exposure_s, self.transits_s, timing.closing_lag_s)

    @property
    def photons_on_sample(self) -> float:
        """Photons that one exposure brings to the sample, with those that no detector counts."""
        counted, commanded_s = Photons(self.photons_per_frame), self.shutter.commanded_s(self.exposure_s)
        return self.shutter.on_sample(counted, self.exposure_s, commanded_s).number

    @cached_property
    def far_field(self) -> NDArray[np.float64]:
        """Photons expected in each pixel of a frame without sample, (row, column)."""
        wave = np.fft.fft2(np.fft.ifftshift(self.probe, axes=(-2, -1)))
        intensity = np.fft.fftshift(np.sum(np.abs(wave) ** 2, axis=0, dtype=np.float64))
        return np.asarray(self.photons_per_frame * intensity / intensity.sum())

    def probe_diameter(self, fraction: float) -> float:
        """Return the diameter in metres that holds a fraction of the probe, at least a pixel."""
        pixel = self.geometry.object_pixel
        return max(enclosing_diameter(self.probe, fraction, pixel), pixel)
