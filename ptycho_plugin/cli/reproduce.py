"""``ptycho reproduce``: the published experiment, simulated and reconstructed."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from ptycho_plugin.errors import InputError
from ptycho_plugin.view.bars import progress_bars


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
        bool, typer.Option("--quick", help="A trial in seconds, on a small scale: its figures mean nothing.")
    ] = False,
) -> None:
    """Reproduce the published experiment by simulation: 25 maps, or 250 in full.

    It can be cut off and goes on where it was. The last line is one JSON object.

    Example: ptycho reproduce -o reproduction
    """
    from ptycho_plugin.region_matrix import RegionMatrix
    from ptycho_plugin.reproduction.figures import figures
    from ptycho_plugin.reproduction.options import ReproductionOptions
    from ptycho_plugin.reproduction.run import reproduce

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
    print(json.dumps(figures(options.conditions, regions)))
