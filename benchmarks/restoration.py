"""The command: what a restoration makes of edges and corners, on a phantom, beside simpler filters."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Annotated

import matplotlib.figure
import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from scipy import ndimage
from skimage.restoration import denoise_bilateral, denoise_tv_chambolle

from benchmarks.report import Figure, print_table
from benchmarks.restoration_phantom import Phantom, phantom
from ptycho_plugin.postprocess.restoration import RestorationOptions, restore

REPEATS = 4
COMBINED = RestorationOptions()
TV_ALONE = RestorationOptions(bilateral_ratio=0.0)
STRENGTHS = np.geomspace(0.02, 3.0, 16)
"""Of total variation, over the noise's standard deviation, from which hindsight takes the best."""
COLOUR_PX = 0.7
"""Standard deviation of the Gaussian that makes noise smooth."""

Image = NDArray[np.float64]
Method = Callable[[Image], Image]


@dataclass(frozen=True, slots=True)
class Maps:
    """Repeats (repeat, row, column) of the phantom, with noise that their average has a sigma of."""

    repeats: Image
    sigma: float

    @property
    def average(self) -> Image:
        """What is restored."""
        return np.asarray(self.repeats.mean(axis=0))

    @property
    def halves(self) -> tuple[Image, Image]:
        """Averages of the odd and of the even repeats."""
        return self.repeats[::2].mean(axis=0), self.repeats[1::2].mean(axis=0)

    @property
    def standard_error(self) -> float:
        """Of the average, from the spread of the repeats, rms over the map."""
        return float(np.sqrt(self.repeats.var(axis=0, ddof=1).mean() / len(self.repeats)))


def main(
    picture: Annotated[Path | None, typer.Option(help="Where to draw the maps at the first sigma.")] = None,
    sigma_rad: Annotated[list[float] | None, typer.Option(help="Noise of the average.")] = None,
) -> None:
    """Restore the phantom in every way; each filter has the strength that hindsight finds best for it."""
    drawn, figures = phantom(), []
    for sigma in sigma_rad or [0.005, 0.01]:
        for kind, smooth_px in (("white", 0.0), ("smooth", COLOUR_PX)):
            maps = simulated(drawn, sigma, smooth_px)
            restored = {"none": maps.average} | best_in_hindsight(maps, drawn)
            strengths = dict(chosen(maps))
            restored |= {f"combined_{rule}": image for rule, (image, _) in strengths.items()}
            prefix = f"{kind}_{1e3 * sigma:g}_mrad_"
            figures += _errors(prefix, restored, drawn)
            figures += [Figure(f"{prefix}{rule}_s", seconds) for rule, (_, seconds) in strengths.items()]
            if picture:
                draw(drawn, restored, picture)
                picture = None
    print_table(figures)
    print(json.dumps({figure.name: float(figure.printed) for figure in figures}))


def simulated(drawn: Phantom, sigma: float, smooth_px: float) -> Maps:
    """Return repeats with white noise, or with noise that is smooth."""
    noise = np.random.default_rng(0).normal(size=(REPEATS, *drawn.true.shape))
    noise = ndimage.gaussian_filter(noise, (0, smooth_px, smooth_px), mode="wrap")
    return Maps(drawn.blurred + noise * (sigma * np.sqrt(REPEATS) / noise.std()), sigma)


def methods(sigma: float) -> dict[str, Iterator[Method]]:
    """Return each way to restore, at one strength after another."""
    grid = sigma * STRENGTHS

    def bilateral(image: Image, contrast: float) -> Image:
        span = np.ptp(image)
        unit = (image - image.min()) / span  # it takes no negative values
        return denoise_bilateral(unit, sigma_color=contrast / span, sigma_spatial=1.0) * span + image.min()

    def deconvolution(image: Image, options: RestorationOptions, strength: float) -> Image:
        return restore(image, options, strength=strength).phase

    return {
        "tv": (lambda image, s=s: denoise_tv_chambolle(image, weight=s, eps=1e-6) for s in 3 * grid),
        "bilateral": (lambda image, s=s: bilateral(image, s) for s in 20 * grid),
        "tv_deconvolution": (lambda image, s=s: deconvolution(image, TV_ALONE, s) for s in grid),
        "combined": (lambda image, s=s: deconvolution(image, COMBINED, s) for s in grid),
    }


def best_in_hindsight(maps: Maps, drawn: Phantom) -> dict[str, Image]:
    """Return each method's map of least rms error."""
    described = track(methods(maps.sigma).items(), "methods", console=Console(stderr=True))
    return {
        name: min((way(maps.average) for way in ways), key=lambda image: np.std(image - drawn.true))
        for name, ways in described
    }


def chosen(maps: Maps) -> Iterator[tuple[str, tuple[Image, float]]]:
    """Yield the combined restoration by each rule, and the seconds that it took."""
    given = {"discrepancy": {"noise_sigma": maps.standard_error}, "split_half": {"halves": maps.halves}}
    for rule, data in given.items():
        began = perf_counter()
        restored = restore(maps.average, RestorationOptions(rule=rule), **data)
        yield rule, (restored.phase, perf_counter() - began)


def draw(drawn: Phantom, restored: dict[str, Image], path: Path) -> None:
    """Draw truth and maps: turned squares above, the fan, octapods below."""
    names = ("none", "tv", "bilateral", "tv_deconvolution", "combined_split_half")
    images = {"truth": drawn.true} | {name.replace("_", " "): restored[name] for name in names}
    figure = matplotlib.figure.Figure(figsize=(12.0, 6.2), layout="constrained", dpi=65)
    squares, fan = (slice(176, 236), slice(8, 68)), (slice(30, 90), slice(120, 180))
    parts = squares, fan, (slice(140, 200), slice(140, 200))
    axes = figure.subplots(len(parts), len(images))
    for column, (name, image) in zip(axes.T, images.items(), strict=True):
        column[0].set_title(name)
        for place, part in zip(column, parts, strict=True):
            shown = place.imshow(image[part], cmap="cividis", interpolation="nearest", vmin=-0.16, vmax=0.02)
            place.set(xticks=[], yticks=[])
    figure.colorbar(shown, ax=axes, label="phase (rad)", shrink=0.8)
    figure.savefig(path)


def _errors(prefix: str, restored: dict[str, Image], drawn: Phantom) -> Iterator[Figure]:
    """Yield rms errors in mrad."""
    for name, image in restored.items():
        for region, where in drawn.regions.items():
            error = 1e3 * float(np.sqrt(np.mean((image - drawn.true)[where] ** 2)))
            yield Figure(f"{prefix}{name}_{region}_mrad", error)


if __name__ == "__main__":
    typer.run(main)
