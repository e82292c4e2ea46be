"""The picture of a scanning-transmission map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from ptycho_plugin.postprocess.stxm import Position, StxmMap

RAD_PER_URAD = 1e-6
REGION_COLOUR = "red"


def figure_of_stxm(
    stxm: StxmMap, regions: Sequence[Position] = (), size_um: float = 4.0, title: str = ""
) -> Figure:
    """Draw transmission, dark field and the beam's deflection along rows and columns.

    Parameters
    ----------
    stxm : StxmMap
    regions : sequence of (float, float)
        Stage positions (row, column) in micrometres to be marked, such as those of `find_regions`.
    size_um : float
        Side of the squares that mark them.
    title : str

    Returns
    -------
    matplotlib.figure.Figure
        Made without pyplot: no global state, no display.
    """
    figure = Figure(figsize=(10.0, 8.4), layout="constrained", dpi=150)
    axes = figure.subplots(2, 2, sharex=True, sharey=True)
    down, across = np.moveaxis(stxm.deflection / RAD_PER_URAD, -1, 0)
    limit = max(np.abs(stxm.deflection).max() / RAD_PER_URAD, np.finfo(float).tiny)
    signed: dict[str, Any] = {"vmin": -limit, "vmax": limit, "cmap": "RdBu"}
    panels: tuple[tuple[Axes, NDArray[np.float64], str, dict[str, Any]], ...] = (
        (axes[0, 0], stxm.transmission, "transmission of the direct beam", {"cmap": "gray"}),
        (
            axes[0, 1],
            stxm.dark_field,
            "dark field: part that was scattered",
            {"cmap": "inferno", "vmin": 0.0},
        ),
        (axes[1, 0], down, "differential phase along rows: deflection (µrad)", signed),
        (axes[1, 1], across, "differential phase along columns (µrad)", signed),
    )
    for place, image, name, style in panels:
        _draw(place, stxm, image, name, style)
        for row, column in regions:
            corner = column - size_um / 2, row - size_um / 2
            place.add_patch(Rectangle(corner, size_um, size_um, fill=False, ec=REGION_COLOUR, linewidth=1.2))
    for place in axes[1]:
        place.set_xlabel("stage column (µm)")
    for place in axes[:, 0]:
        place.set_ylabel("stage row (µm)")
    figure.suptitle(title)
    return figure


def _draw(axes: Axes, stxm: StxmMap, image: NDArray[np.float64], name: str, style: dict[str, Any]) -> None:
    half = stxm.step_um / 2
    (top, left), (bottom, right) = stxm.stage_um[0, 0], stxm.stage_um[-1, -1]
    extent = (left - half, right + half, bottom + half, top - half)
    drawn = axes.imshow(image, interpolation="none", extent=extent, **style)
    axes.figure.colorbar(drawn, ax=axes)
    axes.set_title(name, fontsize="medium")
