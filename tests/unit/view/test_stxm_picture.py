import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from ptycho_plugin.postprocess.stxm import StxmMap
from ptycho_plugin.view.stxm_picture import figure_of_stxm


def stxm_map(deflection=1e-6):
    stage_um = np.moveaxis(np.indices((4, 6), float), 0, -1) * 2.0 + (10.0, -5.0)
    return StxmMap(
        stage_um=stage_um,
        bright=np.full((4, 6), 100.0),
        dark=np.arange(24.0).reshape(4, 6),
        flux=np.ones((4, 6)),
        deflection=np.full((4, 6, 2), deflection),
        step_um=2.0,
    )


def test_four_panels_in_stage_positions_with_regions_marked():
    figure = figure_of_stxm(stxm_map(), [(12.0, -1.0)], size_um=4.0, title="film")
    FigureCanvasAgg(figure).draw()
    panels = [axes for axes in figure.axes if axes.get_title()]
    assert [axes.get_title().split(":")[0] for axes in panels] == [
        "transmission of the direct beam",
        "dark field",
        "differential phase along rows",
        "differential phase along columns (µrad)",
    ]
    for axes in panels:
        assert axes.images[0].get_extent() == pytest.approx([-6.0, 6.0, 17.0, 9.0])
        (square,) = axes.patches
        assert square.get_xy() == (-3.0, 10.0)
    assert figure.get_suptitle() == "film"


def test_no_deflection_is_drawn_too():
    FigureCanvasAgg(figure_of_stxm(stxm_map(0.0))).draw()
