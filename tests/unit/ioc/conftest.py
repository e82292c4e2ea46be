"""A beamline without a world or a network."""

import pytest

from ptycho_plugin.devices.simulated import PUBLISHED_GEOMETRY
from ptycho_plugin.ioc.axes import beamline_axes
from ptycho_plugin.ioc.twin import Light, Twin
from ptycho_plugin.optics import ZonePlate


class Dark:
    """Takes the light that no gate is high for, and keeps it."""

    def __init__(self) -> None:
        self.lights: list[Light] = []

    def shine(self, light: Light) -> None:
        self.lights.append(light)

    @property
    def lit_s(self) -> float:
        """Seconds of the full beam."""
        return sum(light.seconds * light.beam for light in self.lights)


@pytest.fixture
def sink() -> Dark:
    return Dark()


@pytest.fixture
def twin(sink: Dark) -> Twin:
    """Since time 0."""
    return Twin(beamline_axes(PUBLISHED_GEOMETRY), sink, ZonePlate(), now=0.0)
