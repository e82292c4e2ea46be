"""Another photon energy: what moves with it, and what no longer holds."""

from __future__ import annotations

import logging

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
from bluesky.utils import MsgGenerator
from rich.console import Console

from ptycho_plugin.devices import Beamline
from ptycho_plugin.errors import InputError, PreflightRefusal
from ptycho_plugin.geometry import M_PER_UM, Geometry, is_same_energy
from ptycho_plugin.plans.arguments import BeamlineArgument, Energy, checked
from ptycho_plugin.plans.stubs import close_shutter, is_run, value_of

logger = logging.getLogger(__name__)

THRESHOLD = 0.5
"""Of the photon energy: a photon that two pixels share is counted once (Kraft et al., J. Synchrotron Rad. 16,
368 (2009))."""
KEV_PER_EV = 1e-3


@checked
def change_energy(beamline: BeamlineArgument, energy_eV: Energy) -> MsgGenerator[None]:
    """Bring the beamline to another photon energy, and say what no longer holds.

    With the shutter closed, the monochromator moves, and the zone plate, whose focal length grows with the
    energy, moves upstream by as much, so that the sample stays as far behind the focus; the detector's
    threshold is set to half the energy. The geometry, and with it the object's pixel, is that of the new
    energy from then on. The probe to start from, the flux monitor's calibration and the beam's centre were of
    the old one: they are dropped. A change that is cut off brings the zone plate back to where it was; until
    it is made again, or undone, no run can begin.

    Parameters
    ----------
    beamline : Beamline
        With a monochromator.
    energy_eV : float
        In eV.

    Raises
    ------
    InputError
        If the beamline has no monochromator, or an axis cannot go there.
    """
    if not (yield from is_run()):
        return
    if beamline.monochromator is None:
        raise InputError(f"the energy of {beamline.name} cannot be changed: it has no monochromator")
    geometry = beamline.geometry.at_energy(energy_eV)
    yield from close_shutter(beamline)
    yield from _forget(beamline)
    yield from _move(beamline, geometry)
    beamline.retune(geometry)
    _tell(beamline, energy_eV)


def check_energy(beamline: Beamline) -> MsgGenerator[None]:
    """Refuse to go on where the monochromator is at another energy than the beamline's geometry.

    Raises
    ------
    PreflightRefusal
        It names both.
    """
    if beamline.monochromator is None or not (yield from is_run()):
        return
    energy_eV, known_eV = (yield from value_of(beamline.monochromator)), beamline.geometry.energy_eV
    if not is_same_energy(energy_eV, known_eV):
        raise PreflightRefusal(
            f"the monochromator is at {energy_eV:.1f} eV, and the geometry of {beamline.name} is of "
            f"{known_eV:.1f} eV: run change_energy to either of them"
        )


def _forget(beamline: Beamline) -> MsgGenerator[None]:
    yield from bps.mv(beamline.flux.calibration, "", beamline.detector.beam_centre_measured, False)


def _move(beamline: Beamline, geometry: Geometry) -> MsgGenerator[None]:
    """Move what depends on the energy; on a failure the zone plate goes back."""
    moves = [beamline.monochromator, geometry.energy_eV]
    back: list[object] = []
    if beamline.zone_plate_z is not None and beamline.optic is not None:
        found_um = yield from value_of(beamline.zone_plate_z)
        lengths = [beamline.optic.focal_length(one.wavelength) for one in (beamline.geometry, geometry)]
        moves += [beamline.zone_plate_z, found_um - (lengths[1] - lengths[0]) / M_PER_UM]
        back = [beamline.zone_plate_z, found_um]
    if beamline.threshold is not None:
        moves += [beamline.threshold, THRESHOLD * geometry.energy_eV * KEV_PER_EV]

    def undo(_: Exception) -> MsgGenerator[None]:
        if back:
            yield from bps.mv(*back)

    yield from bpp.contingency_wrapper(bps.mv(*moves), except_plan=undo)


def _tell(beamline: Beamline, energy_eV: float) -> None:
    pixel_nm = beamline.geometry.object_pixel * 1e9
    said = (
        f"{beamline.name} is at {energy_eV:.1f} eV: an object pixel is {pixel_nm:.2f} nm. Probe, flux "
        "calibration and beam centre were of another energy: run find_beam_centre, calibrate_flux and "
        "probe_calibration."
    )
    logger.warning(said)
    Console(stderr=True).print(said, style="bold yellow")
