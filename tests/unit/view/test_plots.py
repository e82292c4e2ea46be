import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ptycho_plugin.errors import InputError
from ptycho_plugin.view.plots import (
    draw_errors,
    draw_phase,
    draw_probe,
    figure_of_maps,
    figure_of_result,
    save_png,
    scale_bar_length,
    scanned_window,
)

PIXEL = 13.5e-9


def _figure(**changes):
    rng = np.random.default_rng(0)
    parts = {
        "phase": rng.normal(0, 0.1, (96, 128)),
        "amplitude": np.ones((96, 128)),
        "probe": rng.normal(size=(1, 32, 32, 2)).view(complex)[..., 0],
        "errors": [0.5, 0.3, 0.2],
        "likelihood_from": 2,
        "pixel": PIXEL,
        "title": "run 1",
    }
    return figure_of_result(**parts | changes)


def test_the_picture_shows_phase_amplitude_probe_and_errors():
    figure = _figure()
    titles = [axes.get_title() for axes in figure.axes]
    assert titles[:3] == ["phase", "amplitude", "probe (hue: phase)"]
    assert figure.axes[3].get_yscale() == "log"
    assert [list(line.get_ydata()) for line in figure.axes[3].lines] == [[0.5, 0.3], [0.2]]
    assert figure.get_suptitle() == "run 1"
    assert "rad" in [axes.get_ylabel() for axes in figure.axes]


def test_a_growing_map_is_drawn_without_probe_and_errors():
    figure = figure_of_maps(
        phase=np.zeros((96, 128)), amplitude=np.ones((96, 128)), pixel=PIXEL, title="run 1"
    )
    FigureCanvasAgg(figure).draw()
    assert [axes.get_title() for axes in figure.axes[:2]] == ["phase", "amplitude"]
    assert figure.get_suptitle() == "run 1"


def test_no_global_state_is_touched():
    from matplotlib import pyplot

    _figure()
    assert pyplot.get_fignums() == []


def test_the_png_is_a_picture(tmp_path):
    save_png(_figure(), tmp_path / "map.png")
    assert (tmp_path / "map.png").read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in tmp_path.iterdir()] == ["map.png"]


def test_a_png_that_cannot_be_written_is_one_sentence(tmp_path):
    with pytest.raises(InputError, match="could not be written"):
        save_png(_figure(), tmp_path / "none" / "map.png")


def test_a_map_of_nothing_is_drawn_all_the_same():
    figure = _figure(phase=np.zeros((96, 128)), errors=[])
    FigureCanvasAgg(figure).draw()


def test_the_maps_are_cropped_to_what_was_scanned():
    positions_px = np.array([[10.2, 20.0], [40.0, 60.7]])
    figure = _figure(positions_px=positions_px)
    assert figure.axes[0].images[0].get_array().shape == (31, 42)


def test_the_scanned_window_stays_on_the_map():
    rows, columns = scanned_window(np.array([[-20.0, 3.0], [90.0, 120.0]]), 32, (96, 128))
    assert (rows, columns) == (slice(0, 96), slice(19, 128))


def test_hot_pixels_do_not_take_the_colours():
    phase = np.random.default_rng(0).normal(0, 0.1, (100, 100))
    phase[0, 0] = 3.0
    figure = Figure()
    draw_phase(figure.add_subplot(), phase, PIXEL)
    assert figure.axes[0].images[0].get_clim()[1] < 0.5


def test_a_probe_s_phase_is_its_hue():
    probe = np.exp(1j * np.array([[0, 2 * np.pi / 3], [-2 * np.pi / 3, 0]]))
    figure = Figure()
    draw_probe(figure.add_subplot(), probe, PIXEL)
    colours = np.asarray(figure.axes[0].images[0].get_array())
    assert np.argmax(colours, axis=-1).tolist() == [[0, 1], [2, 0]]  # red, green, blue


@pytest.mark.parametrize(("likelihood_from", "iterations"), [(0, [[1, 2]]), (1, [[1], [2]]), (2, [[1, 2]])])
def test_error_curves_start_at_iteration_one_and_engines_stay_apart(likelihood_from, iterations):
    figure = Figure()
    draw_errors(figure.add_subplot(), [0.4, 0.2], likelihood_from)
    assert [list(line.get_xdata()) for line in figure.axes[0].lines] == iterations


@given(st.floats(1e-3, 1e6))
def test_a_scale_bar_is_a_round_length_that_fits(width):
    length = scale_bar_length(width)
    assert 0.1 * width < length <= 0.3 * width * (1 + 1e-6)
    assert f"{length:.0e}"[0] in "125"
