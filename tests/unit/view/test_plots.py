from datetime import UTC, datetime

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from ptycho_plugin.errors import InputError
from ptycho_plugin.view.plots import (
    figure_of_arrays,
    figure_of_maps,
    figure_of_result,
    headline,
    save_png,
    trusted_window,
)

PIXEL = 13.5e-9


def _figure(**changes):
    rng = np.random.default_rng(0)
    parts = {
        "phase": rng.normal(0, 0.1, (96, 128)),
        "amplitude": np.ones((96, 128)),
        "trusted": np.ones((96, 128), bool),
        "probe": rng.normal(size=(1, 32, 32, 2)).view(complex)[..., 0],
        "errors": [0.5, 0.3, 0.2],
        "likelihood_from": 2,
        "pixel": PIXEL,
        "title": "run 1",
    }
    return figure_of_arrays(**parts | changes)


def test_the_picture_shows_phase_amplitude_probe_and_both_errors():
    figure = _figure()
    phase, amplitude, probe, gap, r_factor = figure.axes
    assert [axes.get_title() for axes in figure.axes] == [
        "phase: denser is more negative",
        "amplitude",
        "probe",
        "difference map: gap; least squares: R",
        "R (maximum likelihood)",
    ]
    assert all(axes.images for axes in (phase, amplitude, probe))
    curves = [
        (line.get_xdata().tolist(), line.get_ydata().tolist()) for line in (*gap.lines, *r_factor.lines)
    ]
    assert curves == [([1, 2], [0.5, 0.3]), ([3], [0.2])]
    assert figure.get_suptitle() == "run 1"


def test_a_result_in_memory_is_drawn_the_same_way(small_result):
    figure = figure_of_result(small_result)
    FigureCanvasAgg(figure).draw()
    np.testing.assert_array_equal(figure.axes[0].images[0].get_array(), small_result.phase)
    assert figure.get_suptitle() == "12 frames, object pixel 162.48 nm, R 0.0900"


def test_a_growing_map_is_drawn_without_probe_and_errors():
    trusted = np.zeros((96, 128), bool)
    trusted[10:30, 40:90] = True
    figure = figure_of_maps(
        phase=np.zeros((96, 128)), amplitude=np.ones((96, 128)), trusted=trusted, pixel=PIXEL, title="run 1"
    )
    FigureCanvasAgg(figure).draw()
    assert [axes.get_title() for axes in figure.axes] == ["phase: denser is more negative", "amplitude"]
    assert figure.axes[0].images[0].get_array().shape == (20, 50)
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


@pytest.mark.parametrize("shape", [(16, 400), (400, 16)])
def test_the_panels_of_a_long_map_do_not_collapse(shape):
    figure = _figure(phase=np.zeros(shape), amplitude=np.ones(shape), trusted=np.ones(shape, bool))
    FigureCanvasAgg(figure).draw()  # a layout that collapses warns, and warnings are errors


def test_the_window_holds_what_is_trusted():
    trusted = np.zeros((6, 8), bool)
    trusted[1, 3] = trusted[4, 2] = True
    assert trusted_window(trusted) == (slice(1, 5), slice(2, 4))


def test_the_headline_says_what_is_known():
    assert headline(324, 13.5417e-9, 0.0403) == "324 frames, object pixel 13.54 nm, R 0.0403"
    date = datetime(2026, 11, 22, 23, 31, 20, tzinfo=UTC)
    assert headline(2, 1e-8, 0.1, run="run abc", date=date) == (
        "run abc: 2 frames, object pixel 10.00 nm, R 0.1000, 2026-11-22 23:31 UTC"
    )
