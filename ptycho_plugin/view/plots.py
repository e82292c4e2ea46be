"""Pictures of a reconstruction. Figures are made without pyplot: no global state, no display."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import hsv_to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from matplotlib.ticker import LogLocator, NullFormatter
from numpy.typing import ArrayLike, NDArray

from ptycho_plugin.io.atomic import replacing

Window = tuple[slice, slice]

PERCENTILES = (0.5, 99.5)
"""What lies outside is clipped, so that a few hot pixels do not take the colours."""


def figure_of_result(
    *,
    phase: NDArray[np.floating],
    amplitude: NDArray[np.floating],
    probe: NDArray[np.complexfloating],
    errors: ArrayLike,
    likelihood_from: int,
    pixel: float,
    title: str = "",
    positions_px: NDArray[np.float64] | None = None,
) -> Figure:
    """Draw phase map, amplitude, probe and error curve.

    Parameters
    ----------
    phase, amplitude : ndarray, (row, column), float
        Phase in radians.
    probe : ndarray, (mode, row, column), complex
        The first mode is shown: phase as hue, modulus as brightness.
    errors : array_like, (iteration,)
        Error per iteration.
    likelihood_from : int
        Index of the first maximum-likelihood iteration: from there on the error is R.
    pixel : float
        Object pixel in metres.
    title : str
    positions_px : ndarray, (frame, 2), optional
        Top-left pixel of each frame's patch; the maps are cropped to what the probe's centre
        visited. Without it they are shown whole.

    Returns
    -------
    matplotlib.figure.Figure
    """
    window: Window = np.s_[:, :]
    if positions_px is not None:
        window = scanned_window(positions_px, probe.shape[-1], phase.shape)
    figure = Figure(figsize=(12, 5.8), layout="constrained", dpi=150)
    axes = figure.subplot_mosaic("ppab;ppee", height_ratios=[3, 2])
    draw_phase(axes["p"], phase[window], pixel)
    draw_amplitude(axes["a"], amplitude[window], pixel)
    draw_probe(axes["b"], probe[0], pixel)
    draw_errors(axes["e"], errors, likelihood_from)
    figure.suptitle(title)
    return figure


def figure_of_maps(
    *, phase: NDArray[np.floating], amplitude: NDArray[np.floating], pixel: float, title: str = ""
) -> Figure:
    """Draw phase map and amplitude, whole; all there is of a reconstruction that is not done.

    Parameters
    ----------
    phase, amplitude : ndarray, (row, column), float
        Phase in radians.
    pixel : float
        Object pixel in metres.
    title : str

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure = Figure(figsize=(12, 5.8), layout="constrained", dpi=150)
    left, right = figure.subplots(1, 2)
    draw_phase(left, phase, pixel)
    draw_amplitude(right, amplitude, pixel)
    figure.suptitle(title)
    return figure


def scanned_window(positions_px: NDArray[np.float64], frame_side: int, shape: tuple[int, ...]) -> Window:
    """Return the rows and columns that the centre of the frames' patches visited.

    Parameters
    ----------
    positions_px : ndarray, (frame, 2)
        Top-left pixel of each patch.
    frame_side : int
    shape : (int, int)
        Of the map.
    """
    centres = positions_px + frame_side / 2
    low = np.clip(np.floor(centres.min(axis=0)).astype(int), 0, None)
    high = np.minimum(np.ceil(centres.max(axis=0)).astype(int) + 1, shape)
    return slice(low[0], high[0]), slice(low[1], high[1])


def draw_phase(axes: Axes, phase: NDArray[np.floating], pixel: float) -> None:
    """Draw a phase map (row, column) in radians, with colour bar and scale bar."""
    _draw_map(axes, phase, pixel, "phase", "rad", "cividis_r")


def draw_amplitude(axes: Axes, amplitude: NDArray[np.floating], pixel: float) -> None:
    """Draw the modulus of the transmission (row, column), with colour bar and scale bar."""
    _draw_map(axes, amplitude, pixel, "amplitude", "", "gray")


def draw_probe(axes: Axes, probe: NDArray[np.complexfloating], pixel: float) -> None:
    """Draw one probe mode (row, column): phase as hue, modulus as brightness."""
    modulus = np.abs(probe)
    hue = (np.angle(probe) / (2 * np.pi)) % 1.0
    brightness = np.clip(modulus / np.percentile(modulus, 99.9), 0, 1)
    axes.imshow(hsv_to_rgb(np.stack([hue, np.full_like(hue, 0.9), brightness], axis=-1)))
    _finish(axes, "probe (hue: phase)", probe.shape, pixel)


def draw_errors(axes: Axes, errors: ArrayLike, likelihood_from: int) -> None:
    """Draw the error per iteration on a logarithmic scale, a line for each of the two engines."""
    values = np.asarray(errors, np.float64)
    iterations = np.arange(1, values.size + 1)
    parts = {"difference map: gap": np.s_[:likelihood_from], "maximum likelihood: R": np.s_[likelihood_from:]}
    for label, part in parts.items():
        if values[part].size:
            axes.plot(iterations[part], values[part], label=label, linewidth=1.5)
    if axes.lines:
        axes.legend()
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("iteration")
    axes.set_ylabel("error")
    axes.grid(alpha=0.3, which="both")


def save_png(figure: Figure, path: str | Path) -> None:
    """Save a figure as PNG; the file appears whole or not at all.

    Raises
    ------
    InputError
        If the file cannot be written.
    """
    with replacing(Path(path)) as part:
        figure.savefig(part, format="png")


def scale_bar_length(width: float) -> float:
    """Return the largest 1, 2 or 5 times a power of ten within 30 % of a width, in its unit."""
    exponent = np.floor(np.log10(0.3 * width))
    steps = np.array([1.0, 2.0, 5.0]) * 10.0**exponent
    return float(steps[steps <= 0.3 * width * (1 + 1e-9)].max())


def _draw_map(
    axes: Axes, image: NDArray[np.floating], pixel: float, name: str, unit: str, colours: str
) -> None:
    low, high = np.percentile(image, PERCENTILES)
    drawn = axes.imshow(image, cmap=colours, vmin=low, vmax=high, interpolation="none")
    axes.figure.colorbar(drawn, ax=axes, label=unit, shrink=0.8, pad=0.02)
    _finish(axes, name, image.shape, pixel)


def _finish(axes: Axes, name: str, shape: tuple[int, ...], pixel: float) -> None:
    """Name an image, take its ticks away and draw a scale bar on it."""
    axes.set_title(name)
    axes.set_xticks([])
    axes.set_yticks([])
    rows, columns = shape
    length_um = scale_bar_length(columns * pixel * 1e6)
    length_px = length_um * 1e-6 / pixel
    height = max(rows * 0.012, 1.0)
    left, top = columns * 0.05, rows * 0.93
    axes.add_patch(Rectangle((left, top), length_px, height, color="white", ec="black", linewidth=0.4))
    label = axes.text(left + length_px / 2, top - height, f"{length_um:g} µm", color="white", ha="center")
    label.set_path_effects([withStroke(linewidth=2, foreground="black")])
