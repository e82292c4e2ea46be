"""``ptycho dose``: what samples have received, from their ledger, which is only read."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ptycho_plugin.cli.dose_choices import (
    ElectronRangeOption,
    IlluminationOf,
    LedgerArgument,
    ProbeOption,
    SignOption,
    TiledOption,
    chosen_regions,
    electron_range_of,
    material_of,
    open_illumination,
)
from ptycho_plugin.errors import InputError
from ptycho_plugin.orientation import PositionSign

if TYPE_CHECKING:
    from ptycho_plugin.ledger import Exposures, Ledger, Region

dose = typer.Typer(
    no_args_is_help=True,
    help="What samples have received, from their ledger, which is only read.",
)
PICTURE, FILE = (".png",), (".h5", ".hdf5")
Row = dict[str, Any]


@dose.command("status")
def show_status(
    ledger: LedgerArgument,
    sample: Annotated[str | None, typer.Option(help="Of this sample only.")] = None,
    tiled: TiledOption = None,
    probe: ProbeOption = None,
    position_sign: SignOption = PositionSign.PROBE,
    electron_range_um: ElectronRangeOption = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one line of JSON instead of a table.")
    ] = False,
) -> None:
    """Show each region's exposures, largest dose and what is left of its budget.

    Exposures that fell beside every region are in a line of their own. Where the illumination is not
    given, it is taken as a point: then no dose is larger than what is shown.

    Example: ptycho dose status dose.sqlite --sample "film 1"
    """
    from ptycho_plugin.ledger import Ledger

    reach = electron_range_of(electron_range_um)
    with (
        open_illumination(tiled, probe, position_sign) as illumination_of,
        Ledger(ledger, read_only=True) as opened,
    ):
        samples = opened.samples.names() if sample is None else (sample,)
        rows = [row for name in samples for row in _rows(opened, name, illumination_of, reach)]
    if as_json:
        print(json.dumps({"ledger": str(ledger), "rows": rows}))
    else:
        _print_table(rows, samples)


@dose.command("map")
def write_map(
    ledger: LedgerArgument,
    sample: Annotated[str, typer.Argument(help="Name of the sample.")],
    area: Annotated[str, typer.Argument(help="Name of the area.")],
    region: Annotated[str, typer.Argument(help="Name of the region.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="PNG picture or HDF5 file (.h5) to write.")],
    material: Annotated[
        str | None,
        typer.Option(metavar="NAME:FORMULA:G_CM3", help="By default the one of the region's budget."),
    ] = None,
    tiled: TiledOption = None,
    probe: ProbeOption = None,
    position_sign: SignOption = PositionSign.PROBE,
    electron_range_um: ElectronRangeOption = None,
) -> None:
    """Draw the dose map of a region, or write it as a file of arrays.

    Example: ptycho dose map dose.sqlite "film 1" "area 1" A -o map.png
    """
    from ptycho_plugin.dose_query import dose_so_far
    from ptycho_plugin.io.atomic import check_writable
    from ptycho_plugin.io.dose_file import write_dose
    from ptycho_plugin.ledger import Ledger
    from ptycho_plugin.provenance import file_source, provenance
    from ptycho_plugin.view.dose_picture import figure_of_dose
    from ptycho_plugin.view.plots import save_png

    kind = output.suffix.lower()
    if kind not in PICTURE + FILE:
        raise InputError(f"{output} is neither a picture nor a file of arrays: name it .png or .h5")
    if output.resolve() == ledger.resolve():
        raise InputError(f"{output} is the ledger itself: name another output")
    check_writable(output)
    with (
        open_illumination(tiled, probe, position_sign) as illumination_of,
        Ledger(ledger, read_only=True) as opened,
    ):
        place = opened.samples.region(sample, area, region)
        found = dose_so_far(
            opened,
            place,
            illumination_of(opened.exposures(place)),
            material=material_of(material) if material else None,
            electron_range=electron_range_of(electron_range_um),
        )
    if kind in PICTURE:
        bound = "\nupper bound: the illumination is taken as a point" if found.illumination.is_point else ""
        save_png(figure_of_dose(found.map, f"{place}{bound}"), output)
    else:
        source = file_source(ledger)
        options = found.model.model_dump(mode="json")
        write_dose(
            output, found, provenance(options=options, frames=(0, len(found.exposures)), source=source)
        )
    print(
        json.dumps(
            {
                "peak_kGy": _kilogray(found.map.peak),
                "material": found.map.material,
                "exposures": len(found.exposures),
                "uncertain": len(found.unconfirmed),
                "illumination": found.illumination.source,
                "output": str(output),
            }
        )
    )


@dose.command("report")
def print_report(
    ledger: LedgerArgument,
    sample: Annotated[str, typer.Argument(help="Name of the sample.")],
    area: Annotated[str | None, typer.Argument(help="Name of the area; by default all.")] = None,
    region: Annotated[str | None, typer.Argument(help="Name of the region; by default all.")] = None,
    materials: Annotated[
        list[str] | None,
        typer.Option(
            "--material",
            metavar="NAME:FORMULA:G_CM3",
            help="What takes the dose, e.g. PMMA:C5H8O2:1.188; by default the budget's. Once more for each "
            "further one, such as CdSe:CdSe:5.82.",
        ),
    ] = None,
    thickness_um: Annotated[
        float | None,
        typer.Option(min=0.0, help="Of the sample, of the first material: for the mean dose through it."),
    ] = None,
    tiled: TiledOption = None,
    probe: ProbeOption = None,
    position_sign: SignOption = PositionSign.PROBE,
    electron_range_um: ElectronRangeOption = None,
) -> None:
    """Print the paragraph on dose for a paper's methods section, one for each region.

    It says what was counted and computed, and what is not known.

    Example: ptycho dose report dose.sqlite "film 1" --material PMMA:C5H8O2:1.188 --thickness-um 24
    """
    from ptycho_plugin.dose_query import dose_so_far
    from ptycho_plugin.geometry import M_PER_UM
    from ptycho_plugin.ledger import Ledger
    from ptycho_plugin.view.dose_report import dose_paragraph, unexposed

    reach = electron_range_of(electron_range_um)
    main, *more = [material_of(said) for said in materials] if materials else [None]
    thickness = None if thickness_um is None else thickness_um * M_PER_UM
    paragraphs = []
    with (
        open_illumination(tiled, probe, position_sign) as illumination_of,
        Ledger(ledger, read_only=True) as opened,
    ):
        for place in chosen_regions(opened, sample, area, region):
            exposures = opened.exposures(place)
            if (exposures.status == "withdrawn").all():
                paragraphs.append(unexposed(place))
                continue
            light = illumination_of(exposures)
            found = dose_so_far(
                opened, place, light, material=main, thickness=thickness, electron_range=reach
            )
            others = [
                dose_so_far(opened, place, light, material=other, electron_range=reach) for other in more
            ]
            paragraphs.append(dose_paragraph(found, others))
    print("\n\n".join(paragraphs))


def _rows(
    ledger: Ledger, sample: str, illumination_of: IlluminationOf, electron_range: float
) -> Iterator[Row]:
    """Yield what the table says of a sample's regions, and of what fell beside them."""
    import numpy as np

    everything, within = ledger.exposures_of_sample(sample), [np.empty(0, np.int64)]
    for region in ledger.samples.regions(sample):
        exposures = ledger.exposures(region)
        within.append(exposures.key)
        yield {
            **_counts(sample, region, exposures),
            **_doses(ledger, region, illumination_of, exposures, electron_range),
        }
    beside = everything.where(~np.isin(everything.key, np.concatenate(within)))
    if len(beside):
        yield _counts(sample, None, beside)


def _counts(sample: str, region: Region | None, exposures: Exposures) -> Row:
    from ptycho_plugin.dose_query import counted_photons

    counted = exposures.where(exposures.status != "withdrawn")
    return {
        "sample": sample,
        "area": region.area if region else None,
        "region": region.name if region else None,
        "exposures": len(counted),
        "uncertain": int((counted.status != "done").sum()),
        "unplaced": exposures.unplaced,
        "photons": counted_photons(counted).number,
    }


def _doses(
    ledger: Ledger,
    region: Region,
    illumination_of: IlluminationOf,
    exposures: Exposures,
    electron_range: float,
) -> Row:
    from ptycho_plugin.dose_query import dose_so_far

    if ledger.samples.budget_or_none(region) is None:
        return {}
    found = dose_so_far(ledger, region, illumination_of(exposures), electron_range=electron_range)
    assert found.map.budget is not None  # noqa: S101
    assert found.map.remaining is not None  # noqa: S101
    return {
        "material": found.map.material,
        "peak_kGy": _kilogray(found.map.peak),
        "budget_kGy": _kilogray(found.map.budget),
        "remaining_kGy": _kilogray(found.map.remaining),
        "illumination": found.illumination.source,
    }


def _kilogray(dose: float) -> float:
    from ptycho_plugin.dose import GY_PER_KGY

    return round(dose / GY_PER_KGY, 4)


def _print_table(rows: list[Row], samples: Sequence[str]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("sample", "area", "region", box=None, padding=(0, 2, 0, 0), header_style="bold underline")
    for name in ("expo-\nsures", "uncer-\ntain", "photons", "peak\n(kGy)", "budget\n(kGy)", "left\n(kGy)"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("mate-\nrial")
    for row in rows:
        if row["region"]:
            over, doubtful = row.get("remaining_kGy", 0) < 0, row["uncertain"]
            table.add_row(*_cells(row), style="bold red" if over else "yellow" if doubtful else "none")
    console = Console(highlight=False)
    if table.row_count:
        console.print(table)
    for note in _notes(rows, samples):
        console.print(note, soft_wrap=True)


def _cells(row: Row) -> Iterator[str]:
    yield from (row["sample"], row["area"], row["region"])
    yield from (str(row["exposures"]), str(row["uncertain"]), f"{row['photons']:.3g}")
    if "peak_kGy" in row:
        yield from (f"{row[f'{name}_kGy']:.4g}" for name in ("peak", "budget", "remaining"))
        yield row["material"]
    else:
        yield from ("", "none", "", "")


def _notes(rows: list[Row], samples: Sequence[str]) -> Iterator[str]:
    """Yield what the figures rest on, and what there is none of."""
    if not samples:
        yield "No sample has been mounted yet."
    told = {row["sample"] for row in rows}
    yield from (f"'{name}' has no region and no exposure yet." for name in samples if name not in told)
    for source in dict.fromkeys(row["illumination"] for row in rows if "illumination" in row):
        yield f"Illumination: {source}."
    for row in rows:
        if not row["region"]:
            uncertain = f", {row['uncertain']} of them uncertain" if row["uncertain"] else ""
            yield (
                f"'{row['sample']}': {row['exposures']} exposures with {row['photons']:.3g} photons beside "
                f"all regions{uncertain}."
            )
    unplaced = {row["sample"]: row["unplaced"] for row in rows if row["unplaced"]}
    for sample, number in unplaced.items():
        yield (
            f"'{sample}': {number} exposures may lie anywhere on it, made since it was mounted again and "
            "before its marks were found."
        )
