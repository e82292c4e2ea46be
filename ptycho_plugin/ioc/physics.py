"""The world behind the twin, in a thread of its own: light, frames and files, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from ptycho_plugin.ioc.twin import Light, mean_beam, path_um
from ptycho_plugin.simulation.controls import Exposure

Keep = Callable[[NDArray[np.int32]], None]
T = TypeVar("T")


class LitWorld(Protocol):
    """A simulated or a recorded world."""

    @property
    def photons_on_sample(self) -> float:
        """Photons that the sample has received."""

    def move(self, axis: str, value_um: float) -> None:
        """Bring one axis to a place, at once."""

    def set_source(self, fwhm_nm: tuple[float, float]) -> None:
        """Widen the source's image."""

    def set_optics(self, energy_eV: float, defocus: float) -> None:
        """Change the beam's energy, and how far the sample stands behind its focus."""

    def expose_along(self, path_um: NDArray[np.float64], exposure_s: float, beam: float) -> Exposure:
        """Take one exposure."""

    def shine(self, stage_um: tuple[float, float], seconds: float, beam: float) -> None:
        """Bring light onto the sample that no detector counts."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What the counters say of one exposure; its frame goes another way, since it is large."""

    seconds: float
    position_um: tuple[float, float]
    """Stage (row, column), averaged over the exposure."""
    monitor_counts: float
    """Of the flux monitor, at gain 1."""


class Physics:
    """Does what takes long in one thread, in the order in which it was asked for.

    A frame is computed and kept in one job, so that no more than one is ever in memory.

    Parameters
    ----------
    world : LitWorld
    """

    def __init__(self, world: LitWorld) -> None:
        self._world = world
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="physics")

    def do(self, job: Callable[..., T], *args: object) -> Future[T]:
        """Do anything in the thread, when its turn comes."""
        return self._thread.submit(job, *args)

    def photons(self) -> Future[float]:
        """Return the photons that the sample has received, all light so far included."""
        return self.do(lambda: self._world.photons_on_sample)

    def shine(self, light: Light) -> None:
        """Bring light onto the sample that no detector counts."""
        self.do(self._shine, light)

    def expose(self, lights: Sequence[Light], reading: Future[Reading], keep: Keep | None) -> Future[None]:
        """Take one exposure.

        Parameters
        ----------
        lights : sequence of Light
            What came while the gate was high.
        reading : Future
            Done when the counters can be read, or failed if there is no such exposure.
        keep : callable, optional
            Called with the frame, in the thread.

        Returns
        -------
        Future
            Done when the frame has been kept.
        """
        return self.do(self._expose, lights, reading, keep)

    def close(self) -> None:
        """Finish what was asked for, and end the thread."""
        self._thread.shutdown()

    def _shine(self, light: Light) -> None:
        self._bring(light)
        self._world.shine(light.stage_um, light.seconds, light.beam)

    def _expose(self, lights: Sequence[Light], reading: Future[Reading], keep: Keep | None) -> None:
        middle = lights[len(lights) // 2]
        seconds = sum(light.seconds for light in lights)
        try:
            self._bring(middle)
            self._world.set_optics(middle.energy_eV, middle.defocus)
            self._world.set_source(middle.source_fwhm_nm)
            exposure = self._world.expose_along(path_um(lights), seconds, mean_beam(lights))
        except Exception as error:  # the counters must hear of it, whatever it is
            reading.set_exception(error)
            raise
        reading.set_result(Reading(seconds, exposure.position_um, exposure.monitor_counts))
        if keep is not None:
            keep(exposure.frame)

    def _bring(self, light: Light) -> None:
        """Bring the world's coarse stage to where the light was."""
        row, column = light.coarse_um
        self._world.move("coarse_row", row)
        self._world.move("coarse_column", column)
