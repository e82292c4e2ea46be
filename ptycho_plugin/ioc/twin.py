"""The digital twin: the beamline's true state, and the light that it lets onto the sample.

One time line of events: the shutter's blades, the gate, the moves. Nothing here waits, and nothing
knows a network. Between two events the beam has one brightness, and the stages have a path.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from math import ceil, prod
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ptycho_plugin.devices.simulated import COHERENT_SLIT_GAPS_UM
from ptycho_plugin.geometry import M_PER_UM, PHOTON_ENERGY_TIMES_WAVELENGTH_EV_M
from ptycho_plugin.ioc.axes import COARSE_AXES, ENERGY_AXIS, GAP_AXES, PIEZO_AXES
from ptycho_plugin.ioc.motion import Axis
from ptycho_plugin.optics import ZonePlate

RING_CURRENT_MA = 400.0
SOURCE_DISTANCE = 40.0
"""From the slits to the zone plate, in metres: they are the source that the zone plate images."""
PIECE_UM = 0.1
"""Of a path on which the stage shines as from one place."""
MOST_PIECES = 16


@dataclass(frozen=True, slots=True)
class Light:
    """A beam of one brightness on a stage at one place, for some time."""

    seconds: float
    beam: float
    """Photons, as a part of the unattenuated source's."""
    stage_um: tuple[float, float]
    coarse_um: tuple[float, float]
    source_fwhm_nm: tuple[float, float]
    """Image of the source at the sample, where the slits let more than one coherent mode pass."""
    energy_eV: float
    defocus: float
    """From the focus downstream to the sample, in metres."""


class Sink(Protocol):
    """Where light goes that no gate is high for."""

    def shine(self, light: Light) -> None:
        """Bring it onto the sample, uncounted by any detector."""


@dataclass(slots=True)
class _Gate:
    lights: list[Light]
    when_low: Callable[[Sequence[Light]], None]


class Twin:
    """Everything true of the beamline, as of a time that only goes forward.

    Parameters
    ----------
    axes : dict of str to Axis
    sink : Sink
    optic : ZonePlate
        As it stands with every axis at its start.
    now : float
        In seconds on the clock that all times are on.
    """

    def __init__(self, axes: dict[str, Axis], sink: Sink, optic: ZonePlate, now: float) -> None:
        self.axes = axes
        self.is_open = False
        self.ring_current_mA = RING_CURRENT_MA
        self.transmission = 1.0
        self._sink = sink
        self._defocus = optic.defocus
        self._focal_length_per_eV = optic.focal_length(PHOTON_ENERGY_TIMES_WAVELENGTH_EV_M)
        self._first_energy_eV = axes[ENERGY_AXIS].target
        self._now = now
        self._gate: _Gate | None = None
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()

    def at(self, when: float, change: Callable[[], None]) -> None:
        """Let something change at a time, or now if that has passed."""
        heapq.heappush(self._due, (when, next(self._order), change))

    def advance(self, now: float) -> None:
        """Let time pass: what was due happens, and light shines in between."""
        while self._due and self._due[0][0] <= now:
            when, _, change = heapq.heappop(self._due)
            self._shine_until(when)
            change()
        self._shine_until(now)

    def move(self, name: str, target: float, now: float) -> None:
        """Let an axis move from now on.

        Raises
        ------
        InputError
            If the target is outside its limits.
        """
        self.advance(now)
        self.axes[name].move(target, now)

    def stop(self, name: str, now: float) -> None:
        """Let an axis stand still from now on."""
        self.advance(now)
        self.axes[name].stop(now)

    def hinder(self, name: str, speed_factor: float, now: float) -> None:
        """Let an axis go so many times as fast as it should from now on."""
        self.advance(now)
        self.axes[name].hinder(speed_factor, now)

    def set_transmission(self, value: float, now: float) -> None:
        """Let so much of the beam through the attenuator from now on."""
        self.advance(now)
        self.transmission = value

    def set_ring_current(self, current_mA: float, now: float) -> None:
        """Store such a current in the ring from now on."""
        self.advance(now)
        self.ring_current_mA = current_mA

    def set_shutter(self, is_open: bool, when: float) -> None:
        """Let the shutter's blades be open, or closed, from a time on."""
        self.at(when, lambda: setattr(self, "is_open", is_open))

    def raise_gate(
        self, exposure_s: float, begin: float, when_low: Callable[[Sequence[Light]], None]
    ) -> tuple[float, float]:
        """Hold the gate high for a time, and hand over the light that came meanwhile when it is low.

        Returns
        -------
        (float, float)
            When it rises and falls: a time that has passed already cannot be exposed.

        Raises
        ------
        RuntimeError
            If it is high.
        """
        self.advance(begin)
        if self._gate is not None:
            raise RuntimeError("an exposure is under way: wait until it has ended")
        begin = max(begin, self._now)
        self._gate = _Gate([], when_low)
        self.at(begin + exposure_s, self._lower_gate)
        return begin, begin + exposure_s

    def beam(self) -> float:
        """Return the photons that reach the sample, as a part of the unattenuated source's."""
        if not self.is_open:
            return 0.0
        gaps = prod(self._at(GAP_AXES, self._now)) / prod(COHERENT_SLIT_GAPS_UM)
        return self.ring_current_mA / RING_CURRENT_MA * self.transmission * gaps

    def _lower_gate(self) -> None:
        gate, self._gate = self._gate, None
        if gate is not None:
            gate.when_low(gate.lights)

    def _shine_until(self, now: float) -> None:
        seconds = now - self._now
        if seconds <= 0:
            return
        beam = self.beam()
        if self._gate is not None or beam > 0:
            pieces = self._pieces(now)
            for number in range(pieces):
                self._shine(
                    self._light(self._now + (number + 0.5) / pieces * seconds, seconds / pieces, beam)
                )
        self._now = now

    def _shine(self, light: Light) -> None:
        if self._gate is None:
            self._sink.shine(light)
        else:
            self._gate.lights.append(light)

    def _pieces(self, now: float) -> int:
        travelled = max(
            abs(end - begin)
            for axes in (PIEZO_AXES, COARSE_AXES)
            for begin, end in zip(self._at(axes, self._now), self._at(axes, now), strict=True)
        )
        return max(1, min(MOST_PIECES, ceil(travelled / PIECE_UM)))

    def _light(self, when: float, seconds: float, beam: float) -> Light:
        return Light(
            seconds=seconds,
            beam=beam,
            stage_um=self._at(PIEZO_AXES, when),
            coarse_um=self._at(COARSE_AXES, when),
            source_fwhm_nm=self._source_fwhm_nm(when),
            energy_eV=self.axes[ENERGY_AXIS].position(when),
            defocus=self._defocus_at(when),
        )

    def _defocus_at(self, when: float) -> float:
        """Return how far behind the focus the sample stands: the focal length grows with the energy."""
        sample, zone_plate = self._at(("SAMPLE:Z", "ZP:Z"), when)
        gained_eV = self.axes[ENERGY_AXIS].position(when) - self._first_energy_eV
        return self._defocus + (sample - zone_plate) * M_PER_UM - self._focal_length_per_eV * gained_eV

    def _source_fwhm_nm(self, when: float) -> tuple[float, float]:
        """Return the size of the source's image, 0 up to the gap at which the beam counts as coherent."""
        focal_length = self._focal_length_per_eV * self.axes[ENERGY_AXIS].position(when)
        row, column = (
            gap * M_PER_UM * focal_length / SOURCE_DISTANCE * 1e9 if gap > coherent else 0.0
            for gap, coherent in zip(self._at(GAP_AXES, when), COHERENT_SLIT_GAPS_UM, strict=True)
        )
        return row, column

    def _at(self, axes: tuple[str, str], when: float) -> tuple[float, float]:
        row, column = (self.axes[name].position(when) for name in axes)
        return row, column


def path_um(lights: Sequence[Light]) -> NDArray[np.float64]:
    """Return the different places (place, 2) of a stage, in their order."""
    return np.array(list(dict.fromkeys(light.stage_um for light in lights)))


def mean_beam(lights: Sequence[Light]) -> float:
    """Return the brightness averaged over time."""
    return sum(light.beam * light.seconds for light in lights) / sum(light.seconds for light in lights)
