from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ptycho_plugin.devices.simulated import PUBLISHED_GEOMETRY
from ptycho_plugin.ioc.axes import beamline_axes
from ptycho_plugin.ioc.twin import Light, Twin, mean_beam, path_um
from ptycho_plugin.optics import ZonePlate


def test_nothing_shines_through_a_closed_shutter(twin: Twin, sink: Any) -> None:
    twin.advance(10.0)
    assert sink.lights == []


def test_light_comes_as_long_as_the_blades_are_open(twin: Twin, sink: Any) -> None:
    twin.set_shutter(True, 1.003)
    twin.set_shutter(False, 3.504)
    twin.advance(10.0)
    assert sink.lit_s == pytest.approx(2.501)


def test_what_comes_while_the_gate_is_high_is_the_gates(twin: Twin, sink: Any) -> None:
    gates: list[Any] = []
    twin.set_shutter(True, 1.0)
    begin, end = twin.raise_gate(0.5, 2.0, gates.append)
    assert (begin, end) == (2.0, 2.5)
    twin.set_shutter(False, 2.4)
    twin.advance(4.0)
    (lights,) = gates
    assert sum(light.seconds for light in lights) == pytest.approx(0.5)
    assert mean_beam(lights) == pytest.approx(0.4 / 0.5)
    assert sink.lit_s == pytest.approx(1.0)


steps = st.lists(
    st.tuples(
        st.sampled_from(["open", "close", "expose", "move", "attenuate", "wait"]), st.floats(0.001, 0.5)
    ),
    max_size=30,
)


@given(steps)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_light_is_lost_or_counted_twice(events: list[tuple[str, float]]) -> None:
    """All light, in gates or between them, is the open time at the transmission of the moment."""
    lights: list[Light] = []

    class Sink:
        def shine(self, light: Light) -> None:
            lights.append(light)

    twin = Twin(beamline_axes(PUBLISHED_GEOMETRY), Sink(), ZonePlate(), now=0.0)
    now, gated_until, opened, transmission, expected = 0.0, 0.0, False, 1.0, 0.0
    for event, seconds in events:
        match event:
            case "open" | "close":
                opened = event == "open"
                twin.set_shutter(opened, now)
            case "expose" if now >= gated_until:
                _, gated_until = twin.raise_gate(seconds, now, lights.extend)
            case "move":
                twin.move("PIEZO:X", 40 * seconds, now)
            case "attenuate":
                transmission = seconds
                twin.set_transmission(seconds, now)
        expected += seconds * opened * transmission
        now += seconds
        twin.advance(now)
    rest = max(0.0, gated_until - now)
    twin.advance(now + rest)
    expected += rest * opened * transmission
    assert sum(light.seconds * light.beam for light in lights) == pytest.approx(expected, abs=1e-9)


def test_light_lies_along_the_way(twin: Twin, sink: Any) -> None:
    twin.set_shutter(True, 0.0)
    twin.move("PIEZO:X", 1.0, now=0.0)
    twin.advance(0.005)  # at 200 um/s
    x = [light.stage_um[1] for light in sink.lights]
    assert len(x) == 10
    assert x == pytest.approx([0.05 + 0.1 * number for number in range(10)])


def test_the_beam_goes_with_current_attenuator_and_gaps(twin: Twin) -> None:
    twin.set_shutter(True, 0.0)
    twin.advance(1.0)
    assert twin.beam() == 1
    twin.set_ring_current(200.0, now=1.0)
    twin.set_transmission(0.1, now=1.0)
    twin.move("SLITS:YGAP", 40.0, now=1.0)
    twin.advance(5.0)
    assert twin.beam() == pytest.approx(0.5 * 0.1 * 4)
    twin.set_ring_current(0.0, now=5.0)
    assert twin.beam() == 0


def test_wide_slits_blur_the_probe_along_their_axis(twin: Twin, sink: Any) -> None:
    twin.set_shutter(True, 0.0)
    twin.advance(0.1)
    twin.move("SLITS:YGAP", 40.0, now=0.1)
    twin.advance(2.0)
    assert sink.lights[0].source_fwhm_nm == (0, 0)
    assert sink.lights[-1].source_fwhm_nm == pytest.approx((50, 0))  # 40 um * 50 mm / 40 m


def test_the_focus_goes_with_energy_and_zone_plate(twin: Twin) -> None:
    """The focal length of 50 mm grows by 5 mm with a tenth more energy: the zone plate goes back by that."""
    lights: list[Light] = []

    def defocus_at(now: float) -> float:
        twin.raise_gate(0.1, now, lights.extend)
        twin.advance(now + 0.1)
        return lights[-1].defocus

    assert defocus_at(0.0) == pytest.approx(270e-6)
    first_eV = twin.axes["MONO:ENERGY"].target
    twin.move("MONO:ENERGY", 1.1 * first_eV, now=1.0)
    assert defocus_at(10.0) == pytest.approx(270e-6 - 5e-3)
    twin.move("ZP:Z", -5000.0, now=11.0)
    assert defocus_at(20.0) == pytest.approx(270e-6)
    assert lights[-1].energy_eV == 1.1 * first_eV
    twin.move("SAMPLE:Z", 30.0, now=21.0)
    assert defocus_at(30.0) == pytest.approx(300e-6)


def test_two_exposures_at_a_time_are_refused(twin: Twin) -> None:
    twin.raise_gate(1.0, 0.0, lambda _lights: None)
    with pytest.raises(RuntimeError, match="exposure is under way"):
        twin.raise_gate(1.0, 0.5, lambda _lights: None)


def test_a_gate_that_is_late_is_not_short(twin: Twin) -> None:
    twin.advance(5.0)
    assert twin.raise_gate(0.2, 4.9, lambda _lights: None) == (5.0, 5.2)


def test_a_stage_that_stands_has_one_place(twin: Twin) -> None:
    gates: list[Any] = []
    twin.raise_gate(0.5, 0.0, gates.append)
    twin.set_shutter(True, 0.2)
    twin.advance(1.0)
    assert len(gates[0]) == 2
    assert path_um(gates[0]).tolist() == [[0, 0]]
