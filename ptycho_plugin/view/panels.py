"""The panels of a picture: maps, probe and error curves, each drawn into axes that it is given."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import hsv_to_rgb
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from matplotlib.ticker import NullLocator
from numpy.typing import ArrayLike, NDArray

from ptycho_plugin.geometry import M_PER_UM

PERCENTILES = (0.5, 99.5)
"""Of the trusted pixels; what lies outside is clipped, so that a few of them do not take the colours."""
GAP = "difference map: gap; least squares: R"
R = "R (maximum likelihood)"
MOST_TICKS = 7
ROUND_STEPS = ((1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9), (1, 2, 3, 5), (1,))
"""Of a logarithmic scale, within a decade."""


def draw_phase(axes: Axes, phase: NDArray[np.floating], trusted: NDArray[np.bool_], pixel: float) -> None:
    """Draw the trusted part of a phase map (row, column) in radians, with colour bar and scale bar."""
    draw_map(axes, phase, trusted, pixel, "phase (rad)", "cividis")
    axes.set_title("phase: denser is more negative")


def draw_amplitude(
    axes: Axes, amplitude: NDArray[np.floating], trusted: NDArray[np.bool_], pixel: float
) -> None:
    """Draw the trusted part of the transmission's modulus (row, column), with colour bar and scale bar."""
    draw_map(axes, amplitude, trusted, pixel, "", "gray")
    axes.set_title("amplitude")


def draw_probe(axes: Axes, probe: NDArray[np.complexfloating], pixel: float) -> None:
    """Draw one probe mode (row, column) with its colour key: phase as hue, modulus as brightness."""
    modulus = np.abs(probe)
    axes.imshow(_coloured(np.angle(probe), np.clip(modulus / np.percentile(modulus, 99.9), 0, 1)))
    axes.set_title("probe")
    axes.set_xlabel("hue: phase, brightness: amplitude", fontsize="small")
    _draw_colour_wheel(axes.inset_axes((0.78, 0.78, 0.2, 0.2)))
    _take_ticks_away(axes)
    draw_scale_bar(axes, pixel)


def draw_errors(axes: Axes, errors: ArrayLike, first: int, name: str) -> None:
    """Draw one engine's error per iteration on a logarithmic scale whose ticks enclose it.

    Parameters
    ----------
    axes : Axes
    errors : array_like, (iteration,)
    first : int
        Number of the first iteration.
    name : str
        Of the quantity: `GAP` or `R`.
    """
    values = np.asarray(errors, np.float64)
    axes.set_title(name, fontsize="small")
    drawable = values[values > 0]
    if not drawable.size:
        axes.text(0.5, 0.5, "none", transform=axes.transAxes, ha="center", va="center")
        axes.set(xticks=[], yticks=[])
        return
    axes.set_xlabel("iteration")
    axes.plot(np.arange(first, first + values.size), values, linewidth=1.5)
    ticks = enclosing_ticks(drawable.min(), drawable.max())
    axes.set_yscale("log")
    axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_ylim(ticks[0], ticks[-1])
    axes.grid(alpha=0.3)


def enclosing_ticks(low: float, high: float) -> NDArray[np.float64]:
    """Return round numbers from below ``low`` to above ``high``, the densest that are not too many."""
    decades = 10.0 ** np.arange(np.floor(np.log10(low)) - 1, np.ceil(np.log10(high)) + 2)
    for steps in ROUND_STEPS:
        ticks = np.outer(decades, steps).ravel()
        ticks = ticks[ticks[ticks < low].size - 1 : ticks[ticks <= high].size + 1]
        if ticks.size <= MOST_TICKS:
            break
    return ticks


def scale_bar_length(width: float) -> float:
    """Return the largest 1, 2 or 5 times a power of ten within 30 % of a width, in its unit."""
    exponent = np.floor(np.log10(0.3 * width))
    steps = np.array([1.0, 2.0, 5.0]) * 10.0**exponent
    return float(steps[steps <= 0.3 * width * (1 + 1e-9)].max())


def draw_map(
    axes: Axes,
    image: NDArray[np.floating],
    trusted: NDArray[np.bool_],
    pixel: float,
    label: str,
    colours: str,
) -> None:
    """Draw the trusted part of any map (row, column), with colour bar and scale bar."""
    low, high = np.percentile(image[trusted], PERCENTILES)
    shown = np.ma.masked_array(image, ~trusted)
    drawn = axes.imshow(shown, cmap=colours, vmin=low, vmax=high, interpolation="none")
    room = axes.inset_axes((1.03, 0, 0.05, 1))  # as high as the image, whatever its shape
    axes.figure.colorbar(drawn, cax=room, label=label, extend="both")
    axes.set_facecolor("0.92")
    axes.set_xlabel(
        f"colours: percentiles {PERCENTILES[0]:g} to {PERCENTILES[1]:g}\nof the trusted area",
        fontsize="small",
    )
    _take_ticks_away(axes)
    draw_scale_bar(axes, pixel)


def draw_scale_bar(axes: Axes, unit: float) -> None:
    """Draw a scale bar into the lower left of an image as far as it is shown.

    Parameters
    ----------
    axes : Axes
        That have the image, its rows downwards.
    unit : float
        Of their coordinates, in metres: the pixel, where these are pixels.
    """
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    width, height = right - left, bottom - top
    length_um = scale_bar_length(width * unit / M_PER_UM)
    length = length_um * M_PER_UM / unit
    thickness = 0.012 * height
    corner = (left + 0.05 * width, top + 0.93 * height)
    axes.add_patch(Rectangle(corner, length, thickness, color="white", ec="black", linewidth=0.4))
    _outlined(axes, corner[0] + length / 2, corner[1] - thickness, f"{length_um:g} µm", ha="center")


def _coloured(angle: NDArray[np.floating], brightness: NDArray[np.floating]) -> NDArray[np.float64]:
    hue = (angle / (2 * np.pi)) % 1.0
    return hsv_to_rgb(np.stack([hue, np.full_like(hue, 0.9), brightness], axis=-1))


def _draw_colour_wheel(axes: Axes) -> None:
    """Draw the key of `draw_probe`: phase 0 to the right, growing counterclockwise."""
    along = np.linspace(-1, 1, 101)
    radius = np.hypot(along, along[:, None])
    angle = np.arctan2(along[:, None], along)
    wheel = np.dstack([_coloured(angle, np.clip(radius, 0, 1)), radius <= 1])
    axes.imshow(wheel, origin="lower", extent=(-1, 1, -1, 1))
    axes.axis("off")
    for x, label, side in ((0.9, "0", "right"), (-0.9, "π", "left")):
        _outlined(axes, x, 0, label, ha=side, va="center", fontsize="small")


def _take_ticks_away(axes: Axes) -> None:
    axes.set(xticks=[], yticks=[])


def _outlined(axes: Axes, x: float, y: float, label: str, **style: Any) -> None:
    """Write in white with a black outline, which every colour lets one read."""
    text = axes.text(x, y, label, color="white", **style)
    text.set_path_effects([withStroke(linewidth=2, foreground="black")])
