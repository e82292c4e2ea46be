"""The published experiment's beamline, simulated."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ptycho_plugin.devices.assembly import assemble
from ptycho_plugin.devices.beamline import Beamline
from ptycho_plugin.geometry import Geometry
from ptycho_plugin.optics import ZonePlate
from ptycho_plugin.simulation.options import SimulationOptions

if TYPE_CHECKING:
    from ptycho_plugin.publishing.calibrations import CalibrationStore

PUBLISHED_GEOMETRY = Geometry.from_wavelength(0.2e-9, distance=2.236, detector_pixel=172e-6, frame_side=192)
PUBLISHED_FOCUS_SIZE = 450e-9
"""The diameter that the published experiment states, in metres."""
COHERENT_SLIT_GAPS_UM = (10.0, 10.0)
"""A source aperture 40 m upstream, as stated by the simulation: there lambda L / gap is 800 um at the
zone plate, four times its diameter, so that it is coherently illuminated."""
PIEZO_LIMITS_UM = (-50.0, 50.0)


def simulated_beamline(
    directory: str | Path,
    *,
    calibrations: CalibrationStore | None = None,
    time_factor: float = 1.0,
    geometry: Geometry = PUBLISHED_GEOMETRY,
    optic: ZonePlate = ZonePlate(),  # noqa: B008  frozen
    options: SimulationOptions = SimulationOptions(),  # noqa: B008  frozen
    slit_gaps_um: tuple[float, float] | None = COHERENT_SLIT_GAPS_UM,
) -> Beamline:
    """Return a beamline whose frames are computed where its stages stand.

    Parameters
    ----------
    directory : str or Path
        Where the detector's files go.
    calibrations : CalibrationStore, optional
        Where probes and masks are kept.
    time_factor : float
        Duration of a simulated second in seconds: 1 is real time, 0 as fast as it goes.
    geometry : Geometry
    optic : ZonePlate
        Nominal; the true one differs by ``options.optic_error``.
    options : SimulationOptions
        What the world does besides ideal diffraction, and its seed.
    slit_gaps_um : (float, float), optional
        Openings (row, column) to be recorded. The default is one of a coherent beam, which the
        simulated one is unless ``options.source_fwhm_nm`` says otherwise: state others with it.
    """
    from ptycho_plugin.simulation.specimens import EMPTY, FILM, TEST_SPECIMEN
    from ptycho_plugin.simulation.world import SimulatedWorld

    world = SimulatedWorld(geometry, optic, options)
    return assemble(
        world,
        directory,
        time_factor,
        (PIEZO_LIMITS_UM, PIEZO_LIMITS_UM),
        name="simulated",
        geometry=geometry,
        optic=optic,
        orientation=options.orientation,
        position_sign=options.position_sign,
        photons_per_second=options.photons_per_second,
        shutter_timing=options.shutter,
        detection=options.detection,
        focus_size=PUBLISHED_FOCUS_SIZE,
        slit_gaps_um=slit_gaps_um,
        places={
            "sample": world.places[FILM],
            "specimen": world.places[TEST_SPECIMEN],
            "empty": world.places[EMPTY],
        },
        calibrations=calibrations,
    )
