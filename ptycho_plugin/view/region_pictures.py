"""The pictures of a region: its maps, how its repeats correlate, and how its phases are spread."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ptycho_plugin.geometry import M_PER_NM
from ptycho_plugin.postprocess.account import ROWS
from ptycho_plugin.postprocess.frc import Threshold, pixels_in_rings, threshold
from ptycho_plugin.view.panels import draw_map, draw_scale_bar

LABELS = {
    "single": "a pair of single maps",
    "averaged": "averages of disjoint repeats",
    "restored": "the same, restored",
}
NOTHING = "none"
"""What is told where there is no figure."""
THRESHOLDS: dict[Threshold, tuple[str, str]] = {
    "half_bit": ("half-bit threshold", "--"),
    "one_bit": ("one-bit threshold", "-."),
    "one_seventh": ("1/7", ":"),
}
"""How each is named, and its line."""
HISTOGRAM_BINS = 120

Arrays = Mapping[str, NDArray[Any]]


def figure_of_region(arrays: Arrays, facts: Mapping[str, Any]) -> Figure:
    """Draw the average, its standard error, and the restored map where there is one.

    Parameters
    ----------
    arrays, facts : mapping
        `ptycho_plugin.postprocess.account.arrays_of` and `facts_of`, or the same of Tiled's.

    Returns
    -------
    matplotlib.figure.Figure
        Made without pyplot: no global state, no display.
    """
    pixel = facts["object_pixel"]
    maps = {"average": arrays["phase"], "standard error": arrays["standard_error"]}
    if "restored" in arrays:
        maps["restored"] = arrays["restored"]
    figure = Figure(figsize=(5.2 * len(maps), 4.8), layout="constrained", dpi=120)
    for axes, (title, image) in zip(np.ravel(figure.subplots(1, len(maps))), maps.items(), strict=True):
        colours = "viridis" if title == "standard error" else "cividis"
        draw_map(axes, image, np.ones(image.shape, bool), pixel, "phase (rad)", colours)
        axes.set_title(title)
    return figure


def figure_of_repeats(arrays: Arrays, facts: Mapping[str, Any]) -> Figure:
    """Draw each repeat, registered, in the same colours and with a scale bar."""
    phases = arrays["phases"]
    low, high = np.percentile(phases, (0.5, 99.5))
    figure = Figure(figsize=(3.2 * len(phases), 3.5), layout="constrained", dpi=120)
    drift_nm = arrays["drift"] / M_PER_NM + 0.0  # no negative zeros
    for number, axes in enumerate(np.ravel(figure.subplots(1, len(phases)))):
        drawn = axes.imshow(phases[number], cmap="cividis", vmin=low, vmax=high, interpolation="none")
        row, column = drift_nm[number]
        axes.set(xticks=[], yticks=[])
        draw_scale_bar(axes, facts["object_pixel"])
        name = f"repeat {facts['repeats'][number]}\ndrift ({row:.1f}, {column:.1f}) nm"
        axes.set_title(name, fontsize="small")
    figure.colorbar(drawn, ax=figure.axes, label="phase (rad)", extend="both", fraction=0.02, pad=0.005)
    return figure


def figure_of_correlation(arrays: Arrays, facts: Mapping[str, Any]) -> Figure:
    """Draw the Fourier ring correlations and all thresholds: darkest the one that resolutions are told by."""
    figure = Figure(figsize=(6.6, 5.0), layout="constrained", dpi=120)
    axes = figure.subplots()
    frequency = arrays["frequency"] * M_PER_NM
    for name in ROWS:
        if name in facts["resolution"]:
            _draw_curve(axes, frequency, arrays[f"correlation_{name}"], name, facts["resolution"][name])
    taken = facts["resolution"]["single"]["threshold"]
    pixels = pixels_in_rings(len(arrays["phase"]))
    for asked, (label, line) in THRESHOLDS.items():
        color, width = ("0.1", 1.4) if asked == taken else ("0.5", 1.0)
        level = threshold(asked, pixels)
        axes.plot(frequency, level, linestyle=line, color=color, linewidth=width, label=label)
    axes.set(
        xlim=(0, frequency[-1]),
        ylim=(-0.1, 1.05),
        xlabel="spatial frequency (1/nm, full periods)",
        ylabel="Fourier ring correlation",
    )
    axes.grid(alpha=0.3)
    figure.legend(loc="outside lower center", ncols=2, fontsize="small")
    return figure


def figure_of_phases(arrays: Arrays, facts: Mapping[str, Any]) -> Figure:
    """Draw how often each phase occurs in the maps, with the ground and the largest shift."""
    figure = Figure(figsize=(6.6, 5.0), layout="constrained", dpi=120)
    axes = figure.subplots()
    edges = np.linspace(arrays["phases"].min(), arrays["phases"].max(), HISTOGRAM_BINS).tolist()
    for image in arrays["phases"]:
        axes.hist(image.ravel(), edges, histtype="step", color="0.6", linewidth=0.8, density=True)
    for name, label, colour in (("phase", "average", "C0"), ("restored", "restored", "C3")):
        if name in arrays:
            values = arrays[name].ravel()
            axes.hist(values, edges, histtype="step", density=True, color=colour, linewidth=1.5, label=label)
    largest = -facts["maximum_shift"]["rad"]
    axes.axvline(0, color="0.3", linewidth=1, linestyle="--", label="ground")
    axes.axvline(largest, color="C2", linewidth=1, linestyle=":", label="largest shift, mean of the maps")
    axes.set(xlabel="phase (rad)", ylabel="density (1/rad)", yscale="log")
    axes.legend(fontsize="small", title="grey: single maps", title_fontsize="small")
    return figure


def figure_of_errors(errors: Mapping[str, tuple[NDArray[np.floating], int]]) -> Figure:
    """Draw the errors of the reconstructions, iteration by iteration.

    Parameters
    ----------
    errors : mapping of str to (ndarray, int)
        Of each repeat: its errors, and the index of the first that are R of the maximum likelihood.
    """
    figure = Figure(figsize=(9.0, 3.6), layout="constrained", dpi=120)
    left, right = figure.subplots(1, 2)
    for name, (values, first) in errors.items():
        left.semilogy(np.arange(1, first + 1), values[:first], linewidth=1, label=name)
        right.semilogy(np.arange(first + 1, len(values) + 1), values[first:], linewidth=1, label=name)
    left.set(title="difference map: gap", xlabel="iteration")
    right.set(title="maximum likelihood: R", xlabel="iteration")
    for axes in (left, right):
        axes.grid(alpha=0.3, which="both")
    left.legend(fontsize="small")
    return figure


def _draw_curve(
    axes: Axes, frequency: NDArray[np.float64], curve: NDArray[np.float64], name: str, told: Mapping[str, Any]
) -> None:
    (line,) = axes.plot(frequency, curve, linewidth=1.4, label=f"{LABELS[name]}: {said(told)}")
    if told["crosses"] and _is_resolved(told):
        axes.axvline(
            M_PER_NM / (2 * told["half_period"]), color=line.get_color(), linewidth=0.8, linestyle=":"
        )


def said(told: Mapping[str, Any]) -> str:
    """Return a resolution in words: half a period, with its uncertainty, or that there is none."""
    if not _is_resolved(told):
        return NOTHING
    if not told["crosses"]:
        return f"{told['half_period'] / M_PER_NM:.1f} nm or better"
    return f"{told['half_period'] / M_PER_NM:.1f} ± {told['sigma'] / M_PER_NM:.1f} nm"


def _is_resolved(told: Mapping[str, Any]) -> bool:
    return bool(told.get("resolved", True))  # which regions did not tell at first
