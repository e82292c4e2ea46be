"""The axes of the simulated beamline, by the names of their process variables."""

from __future__ import annotations

from ptycho_plugin.devices.assembly import COARSE, COARSE_LIMITS_UM, PIEZO
from ptycho_plugin.devices.simulated import COHERENT_SLIT_GAPS_UM, PIEZO_LIMITS_UM
from ptycho_plugin.geometry import Geometry
from ptycho_plugin.ioc.motion import Axis, AxisSpec

PIEZO_AXES = ("PIEZO:Y", "PIEZO:X")
COARSE_AXES = ("COARSE:Y", "COARSE:X")
GAP_AXES = ("SLITS:YGAP", "SLITS:XGAP")
ENERGY_AXIS = "MONO:ENERGY"

_PIEZO = AxisSpec("um", PIEZO_LIMITS_UM, PIEZO.velocity_um_s, PIEZO.settle_s)
_COARSE = AxisSpec("um", COARSE_LIMITS_UM, COARSE.velocity_um_s, COARSE.settle_s)
_ALONG_THE_BEAM = AxisSpec("um", (-20_000.0, 20_000.0), velocity=2000.0, settle_s=0.05)
_OPTIC = AxisSpec("um", (-5000.0, 5000.0), velocity=500.0, settle_s=0.05)
_SPECS = {
    **dict.fromkeys(PIEZO_AXES, _PIEZO),
    **dict.fromkeys(COARSE_AXES, _COARSE),
    "SAMPLE:Z": _ALONG_THE_BEAM,
    "ZP:Z": _ALONG_THE_BEAM,
    "ZP:Y": _OPTIC,
    "ZP:X": _OPTIC,
    "STOP:Y": _OPTIC,
    "STOP:X": _OPTIC,
    "OSA:Y": _OPTIC,
    "OSA:X": _OPTIC,
    "OSA:Z": _ALONG_THE_BEAM,
    **{
        name: AxisSpec("um", (0.0, 500.0), velocity=100.0, settle_s=0.02, start=gap)
        for name, gap in zip(GAP_AXES, COHERENT_SLIT_GAPS_UM, strict=True)
    },
}


def beamline_axes(geometry: Geometry) -> dict[str, Axis]:
    """Return every axis, at its start, the monochromator at the geometry's energy."""
    mono = AxisSpec("eV", (4000.0, 12_000.0), velocity=1000.0, settle_s=0.1, start=geometry.energy_eV)
    return {name: Axis(name, spec) for name, spec in {**_SPECS, ENERGY_AXIS: mono}.items()}


def is_motor(name: str) -> bool:
    """Return whether an axis has a motor record; the piezo controller has none."""
    return name not in PIEZO_AXES
