import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from ptycho_plugin.dose import Grid
from ptycho_plugin.dose_map import DoseMap
from ptycho_plugin.view.dose_picture import figure_of_dose


def dose_map(**changes):
    dose = np.zeros((60, 80))
    dose[20:40, 30:50] = 27.5e3
    parts = {
        "dose": dose,
        "grid": Grid(dose.shape, 0.1e-6, (-3e-6, -4e-6)),
        "points": np.array([[0.0, -0.5e-6], [0.2e-6, 0.5e-6]]),
        "peak": 27.54e3,
        "material": "PMMA",
        "electron_range": 0.5e-6,
        "budget": 50e3,
    }
    return DoseMap(**parts | changes)


def test_the_picture_says_what_it_shows():
    figure = figure_of_dose(dose_map(), "region A")
    FigureCanvasAgg(figure).draw()
    axes, bar = figure.axes
    assert axes.images[0].get_array().max() == pytest.approx(27.5)
    assert bar.get_ylabel() == "dose in PMMA at the surface (kGy)"
    assert "largest dose 27.54 kGy, budget 50 kGy" in axes.get_title()
    assert "0.5 µm for the electrons" in axes.get_title()
    assert axes.get_xlabel() == "column from the region's centre (µm)"
    assert figure.get_suptitle() == "region A"
    (scale_bar,) = axes.patches
    assert (scale_bar.get_width(), axes.texts[0].get_text()) == (0.5, "0.5 µm"), "of 2 um that are shown"


def test_pixels_and_points_are_where_they_are_on_the_sample():
    figure = figure_of_dose(dose_map())
    (axes, _), (points,) = figure.axes, figure.axes[0].lines
    np.testing.assert_allclose(points.get_xdata(), [-0.5, 0.5])
    np.testing.assert_allclose(points.get_ydata(), [0.0, 0.2])
    assert axes.images[0].get_extent() == pytest.approx([-4.05, 3.95, 2.95, -3.05])
    assert axes.get_xlim() == pytest.approx((-1.05, 0.95)), "what received nothing is left out"
    assert axes.get_ylim() == pytest.approx((0.95, -1.05))


@pytest.mark.parametrize("points", [np.zeros((0, 2)), np.zeros((1, 2))])
def test_no_dose_is_drawn_too(points):
    figure = figure_of_dose(dose_map(dose=np.zeros((60, 80)), peak=0.0, points=points, budget=None))
    FigureCanvasAgg(figure).draw()
    assert figure.axes[0].images[0].get_clim() == (0, 1), "dark, and no dose is negative"
    assert "largest dose 0 kGy, no budget" in figure.axes[0].get_title()
