"""The world behind the simulated beamline."""

from __future__ import annotations

from collections.abc import Sequence
from math import hypot

import numpy as np
from numpy.typing import NDArray

from ptycho_plugin.dose import DoseModel
from ptycho_plugin.errors import InputError
from ptycho_plugin.geometry import M_PER_UM, Geometry
from ptycho_plugin.optics import ZonePlate
from ptycho_plugin.orientation import crop_corner
from ptycho_plugin.simulation import pilatus
from ptycho_plugin.simulation.controls import Controls, Exposure, World, check_exposure
from ptycho_plugin.simulation.degradation import DegradingTransmission, critical_repeats, repeats_per_photon
from ptycho_plugin.simulation.diffraction import (
    OVERSAMPLING,
    SliceGap,
    downsample,
    fine_geometry,
    zone_plate_illumination,
)
from ptycho_plugin.simulation.options import SimulationOptions
from ptycho_plugin.simulation.source import DriftingFlux, source_points_um
from ptycho_plugin.simulation.specimens import (
    EMPTY,
    EMPTY_PLACE_UM,
    HOLDER,
    RadiationSensitive,
    Specimen,
    Thick,
    Truth,
)

__all__ = ["Exposure", "SimulatedWorld", "World"]

UM_PER_NM = 1e-3
NOMINAL_PHOTONS = 1e6
"""For which the background's mean is stated."""
SHUTTER_STREAM = 1
"""Of random numbers: a shutter's jitter leaves the frames' noise as it is."""
DEGRADATION_STREAM = 2
"""Of random numbers: what a sample endures leaves the frames' noise as it is."""
JITTER_SAMPLES = 4
"""Places of the probe during one exposure."""
NOTHING = np.ones((1, 1), np.complex64)
"""The transmission of an empty place."""


class SimulatedWorld(Controls):
    """Diffraction of a zone plate's probe from the specimens of a holder, on a Pilatus 2M.

    Parameters
    ----------
    geometry : Geometry
        Of the reconstruction; its crop is inside what is computed.
    optic : ZonePlate
        Nominal; the true one differs by `SimulationOptions.optic_error`.
    options : SimulationOptions
    holder : sequence of Specimen
    """

    def __init__(
        self,
        geometry: Geometry,
        optic: ZonePlate = ZonePlate(),  # noqa: B008 - frozen
        options: SimulationOptions = SimulationOptions(),  # noqa: B008 - frozen
        holder: Sequence[Specimen] = HOLDER,
    ) -> None:
        super().__init__()
        self.options = options
        self.detector_shape = pilatus.SHAPE
        self.beam_centre_px = options.beam_centre_px
        self.places = {specimen.name: specimen.place_um for specimen in holder} | {EMPTY: EMPTY_PLACE_UM}
        self._specimens = {specimen.name: specimen for specimen in holder}
        self._transmissions: dict[str, NDArray[np.complex64]] = {}
        self._gaps: dict[str, SliceGap] = {}
        self._degrading: dict[str, DegradingTransmission] = {}
        self._tune(geometry, optic)
        self._camera = pilatus.Pilatus2M(
            options.bad_pixels, options.hot_pixels, options.hot_pixel_counts_per_s, options.seed
        )
        self._rng = np.random.default_rng(options.seed)
        self._flux = DriftingFlux(options, self._rng)
        self._shutter_rng = np.random.default_rng((options.seed, SHUTTER_STREAM))
        self._critical_repeats = critical_repeats(np.random.default_rng((options.seed, DEGRADATION_STREAM)))
        self.set_source((0.0, 0.0))
        self._photons_on_sample = 0.0

    @property
    def photons_on_sample(self) -> float:
        """Photons that exposures have brought onto specimens so far."""
        return self._photons_on_sample

    def set_shutter(self, open: bool) -> None:  # noqa: A002 - what one says of a shutter
        """Open the shutter, or close it: until it has closed, photons still come."""
        with self._lock:
            if self._open and not open:
                timing = self.options.shutter
                closing_s = max(0.0, self._shutter_rng.normal(timing.closing_lag_s, timing.jitter_s))
                row, column = self._pair("stage")
                self.shine((row, column), closing_s, self._attenuator_transmission)
            super().set_shutter(open)

    def expose(self, exposure_s: float) -> Exposure:
        """Take one exposure where the stages stand, through a shutter that has opened if it was told to.

        Parameters
        ----------
        exposure_s : float
            In seconds; it is not waited for.

        Raises
        ------
        InputError
            If the exposure time is not a positive number.
        """
        with self._lock:
            return self.expose_along(self._pair("stage")[None], exposure_s, self.beam)

    def expose_along(self, path_um: NDArray[np.float64], exposure_s: float, beam: float) -> Exposure:
        """Take one exposure of a stage that may move, in a beam of any brightness.

        Parameters
        ----------
        path_um : ndarray, (place, 2)
            Stage positions (row, column) in micrometres, for equal parts of the time.
        exposure_s : float
            In seconds; it is not waited for.
        beam : float
            Photons, as a part of the unattenuated source's; shutter and attenuator are not asked.

        Raises
        ------
        InputError
            If the exposure time is not a positive number.
        """
        check_exposure(exposure_s)
        with self._lock:
            stage_um = self._stage_during_exposure(path_um)
            photons = self._flux.photons(exposure_s) * beam
            name, on_specimen_um = self._in_beam(stage_um)
            frame = self._frame(self._pattern(name, on_specimen_um), photons, exposure_s)
            self._bring(photons, name, on_specimen_um)
            row, column = stage_um.mean(axis=0)
            return Exposure(frame, (float(row), float(column)), self._monitor(photons))

    def shine(self, stage_um: tuple[float, float], seconds: float, beam: float) -> None:
        """Bring light onto what is in the beam that no detector counts, as on the way between exposures.

        Parameters
        ----------
        stage_um : (float, float)
            Stage position (row, column) in micrometres.
        seconds, beam : float
            As for `expose_along`.
        """
        with self._lock:
            self._bring(self._flux.per_second * seconds * beam, *self._in_beam(np.array([stage_um])))

    def set_source(self, fwhm_nm: tuple[float, float]) -> None:
        """Widen the source's image (row, column) at the sample, besides what the options say of it."""
        row, column = (hypot(*widths) for widths in zip(self.options.source_fwhm_nm, fwhm_nm, strict=True))
        with self._lock:
            self._source = source_points_um((row, column), self._optic.outermost_zone * 1e9)
            self._blur()

    def set_optics(self, energy_eV: float, defocus: float) -> None:
        """Change the beam's energy, and how far in metres the sample is said to stand behind its focus.

        At another energy the specimens are made anew: what a degrading one has endured is forgotten.
        """
        with self._lock:
            if (energy_eV, defocus) == (self.geometry.energy_eV, self._optic.defocus):
                return
            if energy_eV != self.geometry.energy_eV:
                self._transmissions.clear()
            self._tune(
                self.geometry.model_copy(update={"energy_eV": energy_eV}),
                self._optic.model_copy(update={"defocus": defocus}),
            )
            self._blur()

    def _tune(self, geometry: Geometry, optic: ZonePlate) -> None:
        """Compute what depends on the beam."""
        self.geometry, self._optic = geometry, optic
        self._fine = fine_geometry(geometry)
        self._illumination = zone_plate_illumination(optic, self.options.optic_error, geometry)
        self._detected = self.options.detection.efficiency(geometry.energy_eV)

    def _blur(self) -> None:
        """Compute what the source's width makes of the illumination."""
        places_um, weights = self._source
        self._modes = self._illumination.blurred(places_um * M_PER_UM / self._fine.object_pixel, weights)

    def mount(self) -> None:
        """Make the specimen that is in the beam, which the first exposure would wait for."""
        name, _ = self._in_beam(self._pair("stage")[None])
        if name is not None:
            with self._lock:
                self._transmission(name)

    def truth(self, name: str) -> Truth:
        """Return what a perfect reconstruction of a specimen, as it is now, would be.

        Raises
        ------
        InputError
            If no specimen has this name.
        """
        if name not in self._specimens:
            raise InputError(f"there is no specimen '{name}': take one of {', '.join(self._specimens)}")
        with self._lock:
            fine = self._transmission(name)
        if name in self._gaps:
            fine = fine.prod(axis=0)
        corner = -(len(fine) // 2) * self._fine.object_pixel
        return Truth(downsample(fine), self.geometry.object_pixel, (corner, corner))

    def _bring(self, photons: float, name: str | None, on_specimen_um: NDArray[np.float64]) -> None:
        """Bring photons onto a specimen, if one is in the beam, where its probe is on average."""
        if name is None:
            return
        self._photons_on_sample += photons
        if self.options.degrades and isinstance(self._specimens[name].sample, RadiationSensitive):
            centre_px = self._to_px(on_specimen_um.mean(axis=0), self._transmission(name).shape)
            self._degrading[name].receive(centre_px, photons)

    def _stage_during_exposure(self, path_um: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the true stage positions ``(sample, 2)``, in micrometres at moments of one exposure."""
        within = self.options.jitter_within_nm * UM_PER_NM
        between = self._rng.normal(scale=self.options.jitter_between_nm * UM_PER_NM, size=2)
        stands = len(path_um) == 1
        motion = self._rng.normal(
            scale=within, size=(JITTER_SAMPLES if within and stands else len(path_um), 2)
        )
        return path_um + between + motion

    def _frame(self, pattern: NDArray[np.float32], photons: float, exposure_s: float) -> NDArray[np.int32]:
        orientation = self.options.orientation
        return self._camera.read_out(
            orientation.to_raw(np.float32(photons * self._detected) * pattern),
            crop_corner(self.beam_centre_px, self._fine.frame_side, orientation),
            self.options.background_counts * photons / NOMINAL_PHOTONS,
            exposure_s,
            self._rng if self.options.poisson else None,
        )

    def _pattern(self, name: str | None, on_specimen_um: NDArray[np.float64]) -> NDArray[np.float32]:
        """Return the expected pattern of one photon: an incoherent sum over source and motion."""
        transmission = NOTHING if name is None else self._transmission(name)
        gap = self._gaps.get(name) if name is not None else None
        share = np.float32(1 / len(on_specimen_um))
        pattern = np.zeros((self._fine.frame_side,) * 2, np.float32)
        for centre in self._to_px(on_specimen_um, transmission.shape[-2:]):
            for mode in self._modes:
                pattern += share * (
                    mode.diffract(transmission, centre)
                    if gap is None
                    else mode.diffract_through(transmission, centre, gap)
                )
        return pattern

    def _in_beam(self, stage_um: NDArray[np.float64]) -> tuple[str | None, NDArray[np.float64]]:
        """Return the specimen that the probe is on, if any, and where on it, from its centre."""
        for name, specimen in self._specimens.items():
            from_centre = self._pair("coarse") + stage_um - np.array(specimen.place_um)
            if np.all(np.abs(from_centre.mean(axis=0)) <= self.options.field_um / 2):
                return name, self.options.position_sign.to_probe_positions(from_centre)
        return None, np.zeros((1, 2))

    def _transmission(self, name: str) -> NDArray[np.complex64]:
        if name not in self._transmissions:
            self._transmissions[name] = self._mounted(name)
        return self._transmissions[name]

    def _mounted(self, name: str) -> NDArray[np.complex64]:
        """Return the transmission of a specimen's field, which changes in its place if it degrades."""
        unit = 2 * OVERSAMPLING
        side = unit * round(self.options.field_um * M_PER_UM / self._fine.object_pixel / unit)
        sample, pixel, energy_eV = self._specimens[name].sample, self._fine.object_pixel, self._fine.energy_eV
        if isinstance(sample, Thick):
            slices = sample.sliced((side, side), pixel, energy_eV)
            self._gaps[name] = SliceGap.between(len(slices), sample.slice_distance, self._fine)
            return slices
        if not (self.options.degrades and isinstance(sample, RadiationSensitive)):
            return sample.transmission((side, side), pixel, energy_eV)
        dose = repeats_per_photon(self._illumination.intensity, pixel, DoseModel(energy_eV=energy_eV))
        degrading = DegradingTransmission(sample, (side, side), self._fine, dose / self._critical_repeats)
        self._degrading[name] = degrading
        return degrading.transmission

    def _to_px(self, on_specimen_um: NDArray[np.float64], shape: tuple[int, ...]) -> NDArray[np.float64]:
        return np.array(shape) // 2 + on_specimen_um / (self._fine.object_pixel / M_PER_UM)

    def _monitor(self, photons: float) -> float:
        expected = photons * self.options.monitor_counts_per_photon
        return float(self._rng.poisson(expected)) if self.options.poisson else expected
