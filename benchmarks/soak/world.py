"""A beamline whose stages, shutter and gate act on the beam in the other process."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.soak.line import Line
from benchmarks.soak.options import (
    CLOSING_LAG_S,
    COUNTS_PER_PHOTON,
    EXPOSURE_S,
    FRAME_SHAPE,
    GEOMETRY,
    OPENING_LAG_S,
    OPTIC,
    PHOTONS_PER_SECOND,
    TIME_FACTOR,
)
from ptycho_plugin.devices import Beamline
from ptycho_plugin.devices.assembly import assemble
from ptycho_plugin.dose import ShutterTiming
from ptycho_plugin.simulation.calibration import true_calibration
from ptycho_plugin.simulation.controls import Exposure
from ptycho_plugin.simulation.options import SimulationOptions


class BeamWorld:
    """What the simulated devices act on, at the other ends of two lines.

    Each frame holds the number of its exposure everywhere.

    Parameters
    ----------
    port : int
        Of the beam.
    """

    detector_shape = FRAME_SHAPE
    beam_centre_px = (FRAME_SHAPE[0] // 2, FRAME_SHAPE[1] // 2)

    def __init__(self, port: int) -> None:
        self._controls, self._gate = Line(port), Line(port)

    def move(self, axis: str, value_um: float) -> None:
        """Bring one axis to a place."""
        self._controls.ask(do="move", axis=axis, value=value_um)

    def set_shutter(self, open: bool) -> None:  # noqa: A002 - what one says of a shutter
        """Open or close the shutter."""
        self._controls.ask(do="shutter", open=open)

    def set_transmission(self, value: float) -> None:
        """Accept full transmission, the only one there is."""
        if value != 1:
            raise ValueError(f"the beam has no attenuator: a transmission of {value} cannot be set")

    def expose(self, exposure_s: float) -> Exposure:
        """Return an exposure when it has ended."""
        answer = self._gate.ask(do="expose", exposure_s=exposure_s)
        frame = np.full(FRAME_SHAPE, answer["serial"], np.int32)
        return Exposure(frame, tuple(answer["place"]), answer["counts"])


def soak_beamline(port: int, frames: Path) -> Beamline:
    """Return a beamline at a beam, with its flux monitor calibrated."""
    timing = ShutterTiming(opening_lag_s=OPENING_LAG_S, closing_lag_s=CLOSING_LAG_S, jitter_s=0.0)
    travel_um = (-50.0, 50.0)
    beamline = assemble(
        BeamWorld(port),
        frames,
        TIME_FACTOR,
        (travel_um, travel_um),
        name="soak",
        geometry=GEOMETRY,
        optic=OPTIC,
        photons_per_second=PHOTONS_PER_SECOND,
        shutter_timing=timing,
    )
    options = SimulationOptions(
        photons_per_second=PHOTONS_PER_SECOND, monitor_counts_per_photon=COUNTS_PER_PHOTON
    )
    calibration = true_calibration(options, GEOMETRY.energy_eV, EXPOSURE_S, scatter=0.0)
    beamline.flux.calibration.set(calibration.model_dump_json()).wait(timeout=5)
    return beamline
