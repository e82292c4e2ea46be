"""A report of regions: one HTML file that holds its pictures, and the same pictures as PNG files."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ptycho_plugin.dose import GY_PER_KGY
from ptycho_plugin.dose_map import DoseMap
from ptycho_plugin.errors import InputError
from ptycho_plugin.io.atomic import check_writable, replacing
from ptycho_plugin.postprocess.account import ROWS
from ptycho_plugin.view.dose_picture import figure_of_dose
from ptycho_plugin.view.region_pictures import (
    LABELS,
    NOTHING,
    Arrays,
    figure_of_correlation,
    figure_of_errors,
    figure_of_phases,
    figure_of_region,
    figure_of_repeats,
    said,
)

TEMPLATE = "report.html"
NO_GROUND = (
    "No ground without matter stands out: the zero of the phase is the upper edge of the phases, and shifts "
    "are lower bounds."
)
SHARED_ERROR = (
    "Errors that all repeats share, as reconstructions of the same places have them, show neither in the "
    "standard error nor in a correlation between repeats: in simulations the average was 2.3 times as far "
    "off as its standard error."
)
"""Decision 23 has the figures."""
LOST = (
    "Repeat {} shows nothing beyond doubt of what the others show: where it lies is a guess, and the figures "
    "suffer from it; leave it out if it shows another place."
)
WIDE = ("maps", "repeats", "errors")
"""Pictures that take the page's whole width."""


class Picture(NamedTuple):
    """A picture of a report, as PNG."""

    name: str
    caption: str
    png: bytes


@dataclass(frozen=True, eq=False, kw_only=True)
class RegionSection:
    """What a report shows of one region.

    Parameters
    ----------
    name : str
    arrays, facts : mapping
        `ptycho_plugin.postprocess.account.arrays_of` and `facts_of`, or the same of Tiled's; the facts
        also have the numbers of the ``repeats``.
    errors : mapping, optional
        Of the reconstructions: see `figure_of_errors`.
    dose : DoseMap, optional
    """

    name: str
    arrays: Arrays
    facts: Mapping[str, Any]
    errors: Mapping[str, tuple[NDArray[np.floating], int]] = field(default_factory=dict)
    dose: DoseMap | None = None

    @cached_property
    def pictures(self) -> list[Picture]:
        """Each drawn once, for the page and for the folder beside it."""
        return [Picture(name, caption, _png(figure)) for name, caption, figure in self._figures()]

    def _figures(self) -> Iterator[tuple[str, str, Figure]]:
        """Yield the name, the caption and the picture of each."""
        arrays, facts = self.arrays, self.facts
        of_maps = f"Average of {len(facts['repeats'])} repeats, its standard error and the average restored."
        of_repeats = "The repeats, registered, and how far each lies away from the first."
        of_correlation = (
            "Fourier ring correlation. A resolution is told where a curve first falls below the darkest "
            "threshold (upright, dotted)."
        )
        yield "maps", of_maps, figure_of_region(arrays, facts)
        yield "repeats", of_repeats, figure_of_repeats(arrays, facts)
        if self.errors:
            yield "errors", "Errors of the reconstructions.", figure_of_errors(self.errors)
        yield "correlation", of_correlation, figure_of_correlation(arrays, facts)
        yield "phases", "How often each phase occurs.", figure_of_phases(arrays, facts)
        if self.dose is not None:
            yield "dose", "Dose of all exposures so far.", figure_of_dose(self.dose)

    @property
    def warnings(self) -> list[str]:
        """What to bear in mind of the figures."""
        told = [SHARED_ERROR] if self.facts["ground_is_seen"] else [SHARED_ERROR, NO_GROUND]
        told += [LOST.format(self.facts["repeats"][index]) for index in self.facts.get("lost_repeats", ())]
        resolutions = self.facts["resolution"].items()
        return told + [f"{LABELS[name]}: {one['warning']}." for name, one in resolutions if one["warning"]]


def report_html(sections: Sequence[RegionSection], title: str) -> str:
    """Return a report as one page of HTML, which needs nothing else.

    Parameters
    ----------
    sections : sequence of RegionSection
        One of a region's report; of a sample or a series all of theirs.
    title : str
    """
    from jinja2 import Environment, select_autoescape

    text = resources.files("ptycho_plugin.view").joinpath(TEMPLATE).read_text("utf-8")
    environment = Environment(autoescape=select_autoescape(default=True, default_for_string=True))
    return environment.from_string(text).render(
        title=title,
        made=f"Made {datetime.now(UTC):%Y-%m-%d %H:%M} UTC by ptycho-plugin.",
        rows=[LABELS[name] for name in ROWS],
        sections=[_shown(section) for section in sections],
    )


def write_report(sections: Sequence[RegionSection], title: str, path: str | Path) -> None:
    """Write a report, and beside it a folder of its name with the pictures as PNG files.

    Raises
    ------
    InputError
        If they cannot be written, or the page's name has no suffix by which the folder's could differ.
    """
    page = Path(path)
    pictures = pictures_beside(page)
    with replacing(page) as part:
        part.write_text(report_html(sections, title), "utf-8")
    pictures.mkdir(exist_ok=True)
    for section in sections:
        slug = re.sub(r"[^A-Za-z0-9]+", "-", section.name).strip("-")
        for picture in section.pictures:
            with replacing(pictures / f"{slug}-{picture.name}.png") as part:
                part.write_bytes(picture.png)


def pictures_beside(page: Path) -> Path:
    """Return the folder that has the pictures of a page: its name without the suffix.

    Raises
    ------
    InputError
        If the page cannot be written, or the folder not be made: there is no suffix, or a file of its name.
    """
    check_writable(page)
    folder = page.with_suffix("")
    if folder == page:
        raise InputError(f"{page} would be the page and the folder of its pictures: name it {page.name}.html")
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} would be the folder of the pictures and is a file: name another page")
    return folder


def _shown(section: RegionSection) -> dict[str, Any]:
    resolutions, largest = section.facts["resolution"], section.facts["maximum_shift"]
    dose = section.dose
    return {
        "name": section.name,
        "repeats": len(section.facts["repeats"]),
        "resolutions": [said(resolutions[name]) if name in resolutions else NOTHING for name in ROWS],
        "largest": f"{largest['rad']:.3f} ± {largest['spread_rad']:.3f} rad",
        "percentile": f"{largest['percentile_99_9_rad']:.3f} ± {largest['percentile_spread_rad']:.3f} rad",
        "dose": NOTHING if dose is None else f"{dose.peak / GY_PER_KGY:.4g} kGy in {dose.material}",
        "warnings": section.warnings,
        "pictures": [
            {"caption": caption, "png": base64.b64encode(png).decode(), "is_wide": name in WIDE}
            for name, caption, png in section.pictures
        ],
        "provenance": json.dumps(section.facts["provenance"], indent=2),
    }


def _png(figure: Figure) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()
