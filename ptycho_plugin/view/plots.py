"""Pictures of a reconstruction. Figures are made without pyplot: no global state, no display."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from ptycho_plugin.io.atomic import replacing
from ptycho_plugin.reconstruction.result import Result
from ptycho_plugin.view.panels import GAP, R, draw_amplitude, draw_errors, draw_phase, draw_probe

Window = tuple[slice, slice]

MAP_HEIGHT_INCHES = 4.8
WIDTH_OVER_HEIGHT = (0.6, 2.0)
"""Of the paper for a map; one that is longer has bands beside it."""


def figure_of_result(result: Result) -> Figure:
    """Draw what `ptycho_plugin.reconstruct` returns.

    Returns
    -------
    matplotlib.figure.Figure
    """
    return figure_of_arrays(
        phase=result.phase,
        amplitude=result.amplitude,
        trusted=result.trusted,
        probe=result.probe,
        errors=result.errors,
        likelihood_from=result.likelihood_from,
        pixel=result.object_pixel,
        title=headline(len(result.positions), result.object_pixel, result.residual),
    )


def figure_of_arrays(
    *,
    phase: NDArray[np.floating],
    amplitude: NDArray[np.floating],
    trusted: NDArray[np.bool_],
    probe: NDArray[np.complexfloating],
    errors: ArrayLike,
    likelihood_from: int,
    pixel: float,
    title: str = "",
) -> Figure:
    """Draw phase map, amplitude, probe and error curves.

    Parameters
    ----------
    phase, amplitude : ndarray, (row, column), float
        Phase in radians.
    trusted : ndarray of bool, (row, column)
        What is shown of the maps; the rest is noise.
    probe : ndarray, (mode, row, column), complex
        The first mode is shown.
    errors : array_like, (iteration,)
        Error per iteration.
    likelihood_from : int
        Index of the first maximum-likelihood iteration: from there on the error is R.
    pixel : float
        Object pixel in metres.
    title : str

    Returns
    -------
    matplotlib.figure.Figure
    """
    window = trusted_window(trusted)
    width = _width_inches(trusted[window])
    figure = Figure(figsize=(width + 7.6, MAP_HEIGHT_INCHES + 1.2), layout="constrained", dpi=150)
    axes = figure.subplot_mosaic("pab;pgr", width_ratios=[width, 2.7, 2.7], height_ratios=[3, 2])
    draw_phase(axes["p"], phase[window], trusted[window], pixel)
    draw_amplitude(axes["a"], amplitude[window], trusted[window], pixel)
    draw_probe(axes["b"], probe[0], pixel)
    values = np.asarray(errors, np.float64)
    draw_errors(axes["g"], values[:likelihood_from], 1, GAP)
    draw_errors(axes["r"], values[likelihood_from:], likelihood_from + 1, R)
    figure.suptitle(title)
    return figure


def figure_of_maps(
    *,
    phase: NDArray[np.floating],
    amplitude: NDArray[np.floating],
    trusted: NDArray[np.bool_],
    pixel: float,
    title: str = "",
) -> Figure:
    """Draw phase map and amplitude, all there is of a reconstruction that is not done.

    Parameters
    ----------
    phase, amplitude : ndarray, (row, column), float
        Phase in radians.
    trusted : ndarray of bool, (row, column)
        What is shown of the maps; the rest is noise.
    pixel : float
        Object pixel in metres.
    title : str

    Returns
    -------
    matplotlib.figure.Figure
    """
    window = trusted_window(trusted)
    width = _width_inches(trusted[window])
    figure = Figure(figsize=(2 * (width + 1.2), MAP_HEIGHT_INCHES + 1.2), layout="constrained", dpi=150)
    left, right = figure.subplots(1, 2)
    draw_phase(left, phase[window], trusted[window], pixel)
    draw_amplitude(right, amplitude[window], trusted[window], pixel)
    figure.suptitle(title)
    return figure


def headline(frames: int, pixel: float, r_factor: float, run: str = "", date: datetime | None = None) -> str:
    """Return a title that says what is shown, as far as it is known.

    Parameters
    ----------
    frames : int
    pixel : float
        Object pixel in metres.
    r_factor : float
    run : str
        What the run is called.
    date : datetime, optional
        When the map was made.
    """
    facts = f"{frames} frames, object pixel {pixel * 1e9:.2f} nm, R {r_factor:.4f}"
    made = f", {date:%Y-%m-%d %H:%M %Z}" if date else ""
    return (f"{run}: " if run else "") + facts + made


def trusted_window(trusted: NDArray[np.bool_]) -> Window:
    """Return the rows and columns that hold every trusted pixel of a map (row, column)."""
    rows, columns = (np.flatnonzero(trusted.any(axis=other)) for other in (1, 0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def save_png(figure: Figure, path: str | Path) -> None:
    """Save a figure as PNG; the file appears whole or not at all.

    Raises
    ------
    InputError
        If the file cannot be written.
    """
    with replacing(Path(path)) as part:
        figure.savefig(part, format="png")


def _width_inches(shown: NDArray[np.bool_]) -> float:
    rows, columns = shown.shape
    return MAP_HEIGHT_INCHES * float(np.clip(columns / rows, *WIDTH_OVER_HEIGHT))
