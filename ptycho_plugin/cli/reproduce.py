"""``ptycho reproduce``: the published experiment, simulated and reconstructed."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from ptycho_plugin.errors import InputError
from ptycho_plugin.view.bars import progress_bars

COLUMNS = (
    ("half-bit, pair of single maps", "34 to 41"),
    ("half-bit, averages", "not printed"),
    ("half-bit, averages restored", "20 to 27"),
    ("restored, against the truth", "not known"),
    ("largest shift", "rising in this order"),
    ("its truth / as shown", "not known"),
    ("99.9th percentile", "not printed"),
    ("its truth / as shown", "not known"),
)
"""Of the table, with what the paper prints."""
CAPTION = (
    "Half-bit and truth: half periods in nm, a mean over the sample's regions. Largest shift and percentile: "
    "of the phase, in rad, ± what the single maps span. As shown: by maps as sharp and as noisy as these."
)
CELL = len("0.000 ± 0.000")
WIDTH = 10 * (CELL + 3)


def run_reproduction(
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Folder of the maps; those in it are not made again.")
    ] = Path("reproduction"),
    sample: Annotated[
        list[str] | None,
        typer.Option(help="Sample to measure, all but the drop unless given; may be given several times."),
    ] = None,
    full: Annotated[
        bool, typer.Option("--full", help="Two areas of five regions for each sample, instead of one region.")
    ] = False,
    quick: Annotated[
        bool,
        typer.Option(
            "--quick", help="A trial in a minute or two, on a small scale: its figures mean nothing."
        ),
    ] = False,
) -> None:
    """Reproduce the published experiment by simulation: 25 maps, or 250 in full.

    It can be cut off and goes on where it was. The last line is one JSON object, which also says where the
    report is.

    Example: ptycho reproduce -o reproduction
    """
    from ptycho_plugin.region_matrix import RegionMatrix
    from ptycho_plugin.reproduction.figures import figures, judged, section
    from ptycho_plugin.reproduction.options import ReproductionOptions
    from ptycho_plugin.reproduction.run import reproduce
    from ptycho_plugin.view.report import write_report

    if full and quick:
        raise InputError("--full and --quick: choose one of them")
    options = ReproductionOptions.quick() if quick else ReproductionOptions()
    chosen = options.model_dump() | ({"samples": tuple(sample)} if sample else {})
    if full:
        chosen["matrix"] = RegionMatrix()
    options = ReproductionOptions(**chosen)
    with progress_bars() as bars:
        task = bars.add_task("maps", total=None, note="")
        regions = reproduce(
            options,
            output,
            lambda made, total, name: bars.update(task, completed=made, total=total, note=name),
        )
    codes = {repeat.code_sha256 for maps in regions for repeat in maps.repeats}
    if len(codes) > 1:
        print(f"ptycho: maps in {output} are of {len(codes)} states of the code", file=sys.stderr)
    shown = [judged(options.conditions, measured) for measured in regions]
    found = figures(options.conditions, shown)
    page, title = output / "report.html", "The published experiment, reproduced"
    if quick:
        title = "A trial of the reproduction, on a small scale: its figures mean nothing"
    write_report([section(options.conditions, one) for one in shown], title, page)
    print_table(found, title)
    print(json.dumps(found | {"report": str(page)}))


def print_table(found: dict[str, Any], title: str) -> None:
    """Print the figures beside the published ones, as far as those are printed."""
    from rich.console import Console
    from rich.table import Table

    table = Table("sample", title=title, caption=CAPTION)
    for heading, _ in COLUMNS:
        table.add_column(heading, min_width=CELL)
    table.add_row("published", *(printed for _, printed in COLUMNS), style="bold")
    for name, sample in found["samples"].items():
        table.add_row(name, *cells(sample))
    Console(width=WIDTH).print(table)


def cells(sample: dict[str, float | None]) -> list[str]:
    """Return a row of the table."""

    def half_period(key: str) -> str:
        value = sample[key]
        return "none" if value is None else f"{value:.1f}"

    return [
        *(half_period(f"half_bit_{row}_nm") for row in ("single", "average", "restored")),
        half_period("true_restored_nm"),
        f"{sample['max_phase_rad']:.3f} ± {sample['max_phase_error_rad']:.3f}",
        f"{sample['max_phase_true_rad']:.3f} / {sample['max_phase_true_as_shown_rad']:.3f}",
        f"{sample['percentile_rad']:.3f} ± {sample['percentile_error_rad']:.3f}",
        f"{sample['percentile_true_rad']:.3f} / {sample['percentile_true_as_shown_rad']:.3f}",
    ]
