"""``ptycho report``: the regions of a sample or of a series, as one HTML page."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from ptycho_plugin.errors import InputError, PublishingError


def make_report(
    tiled: Annotated[str, typer.Option(help="Address of the Tiled tree; its key is in TILED_API_KEY.")],
    sample: Annotated[str | None, typer.Option(help="Name of a sample, to show all its regions.")] = None,
    series: Annotated[str | None, typer.Option(help="Uid of a dose series, to show its regions.")] = None,
    output: Annotated[
        Path, typer.Option("-o", "--output", help="The page; its pictures go into a folder beside it.")
    ] = Path("report.html"),
    publish: Annotated[
        bool, typer.Option("--publish/--no-publish", help="Put the page into the Tiled tree too.")
    ] = True,
) -> None:
    """Write a report of what is in Tiled: maps, resolutions, dose, errors, provenance. The last line is JSON.

    The tree keeps the newest of each sample and series: client["reports"].of_sample(NAME), .of_series(UID).

    Example: ptycho report --tiled http://127.0.0.1:8000/api/v1 --sample "film 1" -o film-1.html
    """
    from ptycho_plugin.publishing.connection import connect
    from ptycho_plugin.publishing.report_client import Subject
    from ptycho_plugin.publishing.reports import publish_report, sections_of_sample, sections_of_series
    from ptycho_plugin.view.report import pictures_beside, write_report

    if (sample is None) == (series is None):
        raise InputError("say what to report of: --sample NAME or --series UID")
    pictures_beside(output)  # refused before anything is fetched
    client = connect(tiled)
    with closing(client.context):
        if sample is not None:
            subject, sections = Subject("sample", sample), sections_of_sample(client, sample)
        else:
            subject, sections = Subject("series", str(series)), sections_of_series(client, str(series))
        write_report(sections, subject.title, output)
        told: dict[str, Any] = {"report": str(output), "regions": [section.name for section in sections]}
        if publish:
            with _after(output):
                told["tiled_path"] = publish_report(client, subject, sections)
    print(json.dumps(told))


@contextmanager
def _after(page: Path) -> Iterator[None]:
    """Say of what Tiled does not take that its page is written all the same."""
    try:
        yield
    except PublishingError as error:
        raise PublishingError(
            f"{page} is written, but not in Tiled: {error}; --no-publish leaves Tiled as it is"
        ) from error
