"""What the simulated experiment was like, fixed before it ran, with the source of each number."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, field_validator

from ptycho_plugin.checked_model import CheckedModel
from ptycho_plugin.flux import DetectionPath
from ptycho_plugin.geometry import Geometry
from ptycho_plugin.optics import ZonePlate
from ptycho_plugin.reconstruction.options import ReconstructionOptions
from ptycho_plugin.region_matrix import RegionMatrix
from ptycho_plugin.simulation.options import OpticError, SimulationOptions
from ptycho_plugin.simulation.samples import SAMPLES
from ptycho_plugin.trajectory import ConcentricRings

NotNegative = Annotated[float, Field(ge=0)]
ONE_REGION = RegionMatrix(areas=("1",), regions=("A",))
FILMS = ("PMMA-120", "PMMA-350", "PS-350", "PS-190")
"""In the order of the published contrast."""


class Conditions(CheckedModel):
    """Beamline, scan and recipe. "Published" is what the paper prints; the rest is assumed, and why."""

    geometry: Geometry = Geometry.from_wavelength(
        0.2e-9, distance=2.236, detector_pixel=172e-6, frame_side=192
    )
    """Published: 0.2 nm, a Pilatus 2M at 2.236 m, of which 192 x 192 px are used."""
    optic: ZonePlate = ZonePlate()
    """Published: 200 um wide, outermost zone 50 nm, sample some 270 um behind the focus. Assumed: a central
    stop of 40 um, which the zone plate's order selection needs."""
    optic_error: OpticError = OpticError()
    """Assumed: no zone plate is perfect, or exactly where it is said to be. The calibration finds it."""
    trajectory: ConcentricRings = ConcentricRings()
    """Published: rings 0.2 um apart, 5 points in the first, 4 x 4 um: 324 points."""
    exposure_s: Annotated[float, Field(gt=0)] = 0.2
    """Published."""
    photons: Annotated[float, Field(gt=0)] = 1e6
    """On the sample, at a point. Not printed; the standard case of this package, about 28 kGy in PMMA."""
    detection: DetectionPath = DetectionPath()
    """Published: a helium flight tube, of which the distance gives the length. Assumed: its windows."""
    background_counts: NotNegative = 0.01
    """In a pixel, at 1e6 photons. Published: the tube cuts scatter. Assumed: ten times what its helium
    scatters into a pixel at the crop's edge (some 1e-3), for windows and apertures scatter too."""
    source_fwhm_nm: tuple[NotNegative, NotNegative] = (10.0, 25.0)
    """Image of the source at the sample (row, column). Published: a horizontal aperture sets the coherence.
    Assumed: to a coherence length of twice the zone plate's width, which is lambda f / 400 um = 25 nm; and
    upright, where an undulator's source is small, what vibrations make of it. 12 % of the photons are then in
    other modes than the first."""
    flux_drift: NotNegative = 0.01
    """Relative. Assumed: a ring that is topped up."""
    jitter_between_nm: NotNegative = 10.0
    """Of the stage from point to point, which its encoder sees. Assumed: less than an object pixel."""
    drift_nm: NotNegative = 20.0
    """Of the sample from one repeat to the next, in each direction, which no encoder sees. Assumed, since the
    repeats had to be aligned to fractions of a pixel."""
    recipe: ReconstructionOptions = ReconstructionOptions()
    """Published: 200 iterations of the difference map, 100 of maximum likelihood, one slice, from the probe
    that was found on a test specimen."""
    field_um: Annotated[float, Field(gt=0)] = 8.0
    """Side of the simulated piece of a sample, which repeats itself beyond: twice the scan."""
    seed: int = 0
    """Of all noise, and of every place on a sample."""

    def beamline(self, seed: int) -> SimulationOptions:
        """Return the simulated beamline's options for one scan, whose noise has this seed."""
        return SimulationOptions(
            photons_per_second=self.photons / self.exposure_s,
            flux_drift=self.flux_drift,
            detection=self.detection,
            source_fwhm_nm=self.source_fwhm_nm,
            jitter_between_nm=self.jitter_between_nm,
            background_counts=self.background_counts,
            optic_error=self.optic_error,
            field_um=self.field_um,
            seed=seed,
        )


class ReproductionOptions(CheckedModel):
    """What is measured, and under which conditions: by default one region of each sample, five times."""

    conditions: Conditions = Conditions()
    samples: Annotated[tuple[str, ...], Field(min_length=1)] = ("OCT", *FILMS)
    """Names of `SAMPLES`. The drop is left out unless it is asked for: the paper prints no figure of it."""
    matrix: RegionMatrix = ONE_REGION

    @field_validator("samples")
    @classmethod
    def _samples_are_known(cls, samples: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [name for name in samples if name not in SAMPLES]
        if unknown:
            raise ValueError(f"there is no sample {', '.join(unknown)}: take some of {', '.join(SAMPLES)}")
        if len(set(samples)) < len(samples):
            raise ValueError(f"{', '.join(samples)} names a sample twice: name each once")
        return samples

    @classmethod
    def quick(cls) -> Self:
        """Return a reproduction that takes seconds and whose figures mean nothing: a trial of the way."""
        published = Conditions()
        conditions = published.model_copy(
            update={
                "geometry": published.geometry.with_frame_side(64),
                "trajectory": ConcentricRings(height_um=1.2, width_um=1.2),
                "recipe": ReconstructionOptions(
                    difference_map_iterations=10, maximum_likelihood_iterations=10
                ),
                "field_um": 4.0,
            }
        )
        matrix = RegionMatrix(areas=("1",), regions=("A",), repeats=2)
        return cls(conditions=conditions, samples=("OCT", "PS-190"), matrix=matrix)
