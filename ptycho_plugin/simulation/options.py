"""What a simulated beamline does besides ideal diffraction: all off, but Poisson noise."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from ptycho_plugin.checked_model import CheckedModel
from ptycho_plugin.dose import ShutterTiming
from ptycho_plugin.flux import LOSSLESS, DetectionPath
from ptycho_plugin.orientation import DetectorOrientation, PositionSign

NotNegative = Annotated[float, Field(ge=0)]


class OpticError(CheckedModel):
    """How the true illumination differs from the nominal zone plate.

    The default is small and not zero: 15 um too far behind the focus and a little astigmatic, so that
    a reconstruction that starts from the nominal model has a probe to find.
    """

    defocus_um: float = 15.0
    """True minus nominal distance from the focus to the sample."""
    astigmatism_um: float = 5.0
    """Half the distance between the row's and the column's focus."""


class SimulationOptions(CheckedModel):
    """The simulated world's source, disturbances, detector and conventions."""

    photons_per_second: NotNegative = 5e6
    """On the sample, unattenuated; 0.2 s give the 1e6 photons of a published frame."""
    poisson: bool = True
    """Counting noise of detector and monitor; without it counts are rounded expectations."""
    flux_drift: NotNegative = 0.0
    """Relative standard deviation of the flux's slow wandering."""
    flux_drift_s: Annotated[float, Field(gt=0)] = 60.0
    """Exposed time after which the flux has forgotten its value."""
    monitor_counts_per_photon: Annotated[float, Field(gt=0)] = 0.04
    """What the flux monitor counts, at gain 1, for one photon on the sample: what a calibration finds."""
    detection: DetectionPath = LOSSLESS
    """What takes photons between an empty sample place and the detector's counts."""
    shutter: ShutterTiming = ShutterTiming()
    """While it closes, photons reach the sample that no detector counts."""
    source_fwhm_nm: tuple[NotNegative, NotNegative] = (0.0, 0.0)
    """Image of the source at the sample (row, column): partial coherence blurs the probe by it."""
    jitter_between_nm: NotNegative = 0.0
    """Standard deviation of the stage's error from exposure to exposure; the encoder sees it."""
    jitter_within_nm: NotNegative = 0.0
    """Standard deviation of the stage's motion during an exposure; the encoder averages it."""
    background_counts: NotNegative = 0.0
    """Mean counts in a pixel, as from air, windows and polymer, for 1e6 photons on the sample."""
    hot_pixels: Annotated[int, Field(ge=0)] = 0
    """Pixels that count without light, anywhere on the modules."""
    hot_pixel_counts_per_s: NotNegative = 1e4
    bad_pixels: Annotated[int, Field(ge=0)] = 8
    """Pixels that the camera marks as bad, anywhere on the modules."""
    degrades: bool = False
    """Whether the film dies of radiation; at which dose, its seed decides and nobody is told."""
    optic_error: OpticError = OpticError()
    orientation: DetectorOrientation = DetectorOrientation.AS_IS
    position_sign: PositionSign = PositionSign.PROBE
    beam_centre_px: tuple[int, int] = (945, 737)
    """True direct beam (row, column) on the raw frame; the default is the middle of a module."""
    field_um: Annotated[float, Field(gt=0)] = 8.0
    """Side of the square that each specimen fills; beyond it nothing is in the beam."""
    seed: int = 0
    """The same seed and the same exposures give the same frames."""
