"""Another photon energy: what moves with it, and what no longer holds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import bluesky.plan_stubs as bps
from bluesky.utils import MsgGenerator
from rich.console import Console

from ptycho_plugin.devices import Beamline
from ptycho_plugin.devices.beamline import Axis
from ptycho_plugin.devices.travel import check_travel
from ptycho_plugin.errors import InputError, PreflightRefusal
from ptycho_plugin.geometry import M_PER_UM, Geometry, is_same_energy
from ptycho_plugin.plans.arguments import BeamlineArgument, Energy, checked
from ptycho_plugin.plans.stubs import close_shutter, is_run, value_of

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
    the old one: they are dropped. Where a change was cut off, no run can begin until it is made again, to
    that energy, another, or back: the beamline knows where its zone plate stood.

    Parameters
    ----------
    beamline : Beamline
        With a monochromator and, if it has a zone plate, a motor that moves it along the beam.
    energy_eV : float
        In eV.

    Raises
    ------
    InputError
        Before anything moves, if the beamline has no such motor, or an axis cannot go there.
    PreflightRefusal
        Before anything moves, if the monochromator is at another energy than the beamline's geometry: then
        nobody knows for which the zone plate stands.
    """
    if not (yield from is_run()):
        return
    if beamline.monochromator is None:
        raise InputError(f"the energy of {beamline.name} cannot be changed: it has no monochromator")
    geometry = beamline.geometry.at_energy(energy_eV)
    left_um = yield from _zone_plate_left_um(beamline)
    axes = [(beamline.monochromator, energy_eV, "eV"), *_zone_plate_move(beamline, geometry, left_um)]
    for axis, target, units in axes:
        check_travel(axis.name, target, axis.limits, units)
    yield from close_shutter(beamline)
    beamline.leave_energy(left_um)
    yield from bps.mv(beamline.flux.calibration, "", beamline.detector.beam_centre_measured, False)
    moves: list[Any] = [part for axis, target, _ in axes for part in (axis, target)]
    if beamline.threshold is not None:
        moves += [beamline.threshold, THRESHOLD * energy_eV * KEV_PER_EV]
    yield from bps.mv(*moves)
    beamline.retune(geometry)
    _tell(beamline, energy_eV)


def check_energy(beamline: Beamline) -> MsgGenerator[None]:
    """Refuse to go on where the monochromator is at another energy than the beamline's geometry.

    Raises
    ------
    PreflightRefusal
        It names both, or the change that was cut off.
    """
    if beamline.monochromator is None or not (yield from is_run()):
        return
    energy_eV, known_eV = (yield from value_of(beamline.monochromator)), beamline.geometry.energy_eV
    if beamline.zone_plate_left_um is not None:
        raise PreflightRefusal(
            f"a change of the energy of {beamline.name} from {known_eV:.1f} eV was cut off, with the "
            f"monochromator at {energy_eV:.1f} eV: run change_energy again, to a new one or back"
        )
    if not is_same_energy(energy_eV, known_eV):
        raise PreflightRefusal(
            f"the monochromator is at {energy_eV:.1f} eV, and the geometry of {beamline.name} is of "
            f"{known_eV:.1f} eV: bring it back, and run change_energy; or make the beamline with energy_eV = "
            f"{energy_eV:.1f}, if its zone plate stands for that"
        )


def _zone_plate_left_um(beamline: Beamline) -> MsgGenerator[float]:
    """Return where the zone plate stands for the geometry; 0 without one."""
    if beamline.zone_plate_left_um is not None:
        return beamline.zone_plate_left_um
    yield from check_energy(beamline)
    if beamline.optic is None:
        return 0.0
    if beamline.zone_plate_z is None:
        raise InputError(
            f"the energy of {beamline.name} cannot be changed: its zone plate has no motor along the beam to "
            "keep the focus in place; give it a zone_plate_z"
        )
    return (yield from value_of(beamline.zone_plate_z))


def _zone_plate_move(
    beamline: Beamline, geometry: Geometry, left_um: float
) -> Iterator[tuple[Axis, float, str]]:
    """Yield where the zone plate goes, if there is one: upstream by what the focal length grows."""
    if beamline.optic is not None and beamline.zone_plate_z is not None:
        old, new = (beamline.optic.focal_length(one.wavelength) for one in (beamline.geometry, geometry))
        yield beamline.zone_plate_z, left_um - (new - old) / M_PER_UM, "um"


def _tell(beamline: Beamline, energy_eV: float) -> None:
    pixel_nm = beamline.geometry.object_pixel * 1e9
    said = (
        f"{beamline.name} is at {energy_eV:.1f} eV: an object pixel is {pixel_nm:.2f} nm. Probe, flux "
        "calibration and beam centre were of another energy: run find_beam_centre, calibrate_flux and "
        "probe_calibration."
    )
    Console(stderr=True).print(said, style="bold yellow")
