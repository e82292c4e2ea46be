"""The picture of a region's dose."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from ptycho_plugin.dose import GY_PER_KGY
from ptycho_plugin.dose_map import DoseMap
from ptycho_plugin.geometry import M_PER_UM
from ptycho_plugin.view.panels import draw_scale_bar

COLOURS = "inferno"
"""Dark where nothing fell."""
POINTS = "deepskyblue"
"""Which is seen on all of them."""
SHOWN = 1e-3
"""Of the largest dose: what is less is left out around the rest."""


def figure_of_dose(dose: DoseMap, title: str = "") -> Figure:
    """Draw a dose map, with its material, the exposures' points and, if there is one, the budget.

    Parameters
    ----------
    dose : DoseMap
    title : str
        By default none; the axes name what is shown.

    Returns
    -------
    matplotlib.figure.Figure
        Made without pyplot: no global state, no display.
    """
    figure = Figure(figsize=(7.2, 6.0), layout="constrained", dpi=150)
    axes = figure.subplots()
    (rows, columns), shown = dose.grid.shape, dose.dose > SHOWN * dose.dose.max()
    pixel_um = dose.grid.pixel / M_PER_UM
    top, left = (corner / M_PER_UM - pixel_um / 2 for corner in dose.grid.corner)
    drawn = axes.imshow(
        dose.dose / GY_PER_KGY,
        cmap=COLOURS,
        vmin=0.0,
        vmax=dose.dose.max() / GY_PER_KGY or 1.0,  # of nothing, any scale will do that begins at 0
        interpolation="none",
        extent=(left, left + columns * pixel_um, top + rows * pixel_um, top),
    )
    figure.colorbar(drawn, label=f"dose in {dose.material} at the surface (kGy)")
    if shown.any():
        across, along = (np.flatnonzero(shown.any(axis=axis)) for axis in (0, 1))
        axes.set_xlim(left + across[0] * pixel_um, left + (across[-1] + 1) * pixel_um)
        axes.set_ylim(top + (along[-1] + 1) * pixel_um, top + along[0] * pixel_um)
    draw_scale_bar(axes, M_PER_UM)
    row, column = dose.points.T / M_PER_UM
    axes.plot(column, row, ".", markersize=3, color=POINTS, markeredgewidth=0, label=_points(len(row)))
    axes.legend(loc="upper right", fontsize="small", labelcolor="white", facecolor="0.2", framealpha=0.6)
    axes.set(
        xlabel="column from the region's centre (µm)",
        ylabel="row from the region's centre (µm)",
        title=_said(dose),
    )
    figure.suptitle(title)
    return figure


def _points(number: int) -> str:
    return f"{number} exposure{'s' * (number != 1)}"


def _said(dose: DoseMap) -> str:
    """Return the figures that belong to the map."""
    budget = "no budget" if dose.budget is None else f"budget {dose.budget / GY_PER_KGY:.4g} kGy"
    blur = f"blurred by {dose.electron_range / M_PER_UM:g} µm for the electrons"
    return f"largest dose {dose.peak / GY_PER_KGY:.4g} kGy, {budget}\n{blur}"
