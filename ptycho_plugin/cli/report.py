"""``ptycho report``: the regions of a sample or of a series, as one HTML page."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from ptycho_plugin.errors import InputError


def make_report(
    tiled: Annotated[str, typer.Option(help="Address of the Tiled tree; its key is in TILED_API_KEY.")],
    sample: Annotated[str | None, typer.Option(help="Name of a sample, to show all its regions.")] = None,
    series: Annotated[str | None, typer.Option(help="Uid of a dose series, to show its regions.")] = None,
    output: Annotated[
        Path, typer.Option("-o", "--output", help="The page; its pictures go into a folder beside it.")
    ] = Path("report.html"),
) -> None:
    """Write a report of what is in Tiled: maps, resolutions, dose, errors, provenance. The last line is JSON.

    Example: ptycho report --tiled http://127.0.0.1:8000/api/v1 --sample "film 1" -o film-1.html
    """
    from ptycho_plugin.publishing.connection import connect
    from ptycho_plugin.publishing.reports import sections_of_sample, sections_of_series
    from ptycho_plugin.view.report import write_report

    if (sample is None) == (series is None):
        raise InputError("say what to report of: --sample NAME or --series UID")
    client = connect(tiled)
    with closing(client.context):
        if sample is not None:
            sections, title = sections_of_sample(client, sample), f"Sample {sample}"
        else:
            sections, title = sections_of_series(client, str(series)), f"Series {series}"
    write_report(sections, title, output)
    print(json.dumps({"report": str(output), "regions": [section.name for section in sections]}))
