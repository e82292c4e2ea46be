import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

from ptycho_plugin.view.panels import (
    GAP,
    MOST_TICKS,
    R,
    draw_amplitude,
    draw_errors,
    draw_phase,
    draw_probe,
    enclosing_ticks,
    scale_bar_length,
)

PIXEL = 13.5e-9


@pytest.fixture
def axes():
    return Figure().add_subplot()


def colour_bar(axes):
    (room,) = axes.child_axes
    return room


def test_noise_that_is_not_trusted_is_not_shown_and_takes_no_colours(axes):
    phase = np.random.default_rng(0).uniform(-np.pi, np.pi, (100, 100))
    trusted = np.zeros((100, 100), bool)
    trusted[20:80, 20:80] = True
    phase[trusted] = np.linspace(-0.2, 0.1, 3600)
    draw_phase(axes, phase, trusted, PIXEL)
    (image,) = axes.images
    np.testing.assert_array_equal(image.get_array().mask, ~trusted)
    assert image.get_clim() == pytest.approx((-0.1985, 0.0985))
    assert "percentiles 0.5 to 99.5" in axes.get_xlabel()


def test_a_few_hot_pixels_do_not_take_the_colours(axes):
    phase = np.random.default_rng(0).normal(0, 0.1, (100, 100))
    phase[0, 0] = 3.0
    draw_phase(axes, phase, np.ones((100, 100), bool), PIXEL)
    assert axes.images[0].get_clim()[1] < 0.5


def test_the_maps_say_what_they_show_and_that_more_is_clipped(axes):
    ones = np.ones((8, 8))
    draw_phase(axes, ones, ones.astype(bool), PIXEL)
    assert axes.get_title() == "phase: denser is more negative"
    assert colour_bar(axes).get_ylabel() == "phase (rad)"
    assert axes.images[0].colorbar.extend == "both"


def test_less_is_darker_in_both_maps(axes):
    for draw in (draw_phase, draw_amplitude):
        draw(axes, np.array([[0.1, 0.2]]), np.ones((1, 2), bool), PIXEL)
        colours = axes.images[-1].cmap([0.0, 1.0])[:, :3]
        assert colours[0].sum() < colours[1].sum()


def test_a_probe_s_phase_is_its_hue(axes):
    probe = np.exp(1j * np.array([[0, 2 * np.pi / 3], [-2 * np.pi / 3, 0]]))
    draw_probe(axes, probe, PIXEL)
    colours = np.asarray(axes.images[0].get_array())
    assert np.argmax(colours, axis=-1).tolist() == [[0, 1], [2, 0]]  # red, green, blue


def test_the_colour_wheel_is_the_key_of_the_probe(axes):
    draw_probe(axes, np.exp(1j * np.array([[0, np.pi / 2], [np.pi, -np.pi / 2]])), PIXEL)
    probe = np.asarray(axes.images[0].get_array())
    (key,) = axes.child_axes
    wheel = np.asarray(key.images[0].get_array())
    assert key.images[0].origin == "lower"
    middle, last = len(wheel) // 2, len(wheel) - 1
    rim = [wheel[middle, last], wheel[last, middle], wheel[middle, 0], wheel[0, middle]]
    expected = [probe[0, 0], probe[0, 1], probe[1, 0], probe[1, 1]]
    np.testing.assert_allclose([colour[:3] for colour in rim], expected, atol=1e-6)
    assert [wheel[0, 0, 3], wheel[middle, middle, 3]] == [0, 1]


def test_an_error_curve_starts_where_its_engine_did_between_ticks(axes):
    draw_errors(axes, [0.044, 0.0405, 0.0395], 542, R)
    (line,) = axes.lines
    assert line.get_xdata().tolist() == [542, 543, 544]
    assert line.get_ydata().tolist() == [0.044, 0.0405, 0.0395]
    assert (axes.get_title(), axes.get_yscale()) == ("R (maximum likelihood)", "log")
    assert [label.get_text() for label in axes.get_yticklabels()] == ["0.03", "0.04", "0.05"]
    assert axes.get_ylim() == pytest.approx((0.03, 0.05))


@pytest.mark.parametrize("errors", [[], [0.0, 0.0]])
def test_an_engine_without_errors_has_no_curve(axes, errors):
    draw_errors(axes, errors, 1, GAP)
    assert not axes.lines
    assert [text.get_text() for text in axes.texts] == ["none"]


@given(st.floats(1e-7, 1.0), st.floats(1.0, 1e4))
def test_ticks_enclose_the_data_and_are_round_and_few(low, ratio):
    ticks = enclosing_ticks(low, low * ratio)
    assert ticks[0] < low
    assert ticks[-1] > low * ratio
    assert 2 <= ticks.size <= MOST_TICKS
    assert (np.diff(ticks) > 0).all()
    assert all(float(f"{tick:.1e}") == pytest.approx(tick) for tick in ticks)


@given(st.floats(1e-3, 1e6))
def test_a_scale_bar_is_a_round_length_that_fits(width):
    length = scale_bar_length(width)
    assert 0.1 * width < length <= 0.3 * width * (1 + 1e-6)
    assert f"{length:.0e}"[0] in "125"
