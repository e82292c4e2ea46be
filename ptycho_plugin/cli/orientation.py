"""``ptycho orientation``: how frames and positions of a scan must be read, and why."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from ptycho_plugin.orientation import PositionSign
from ptycho_plugin.view.bars import progress_bars


def tell_orientation(
    source: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="CXI file, or HDF5 file in the documented layout, with a probe."),
    ],
    position_sign: Annotated[
        PositionSign | None,
        typer.Option(
            help="Where it is known: whether the positions are the probe's, or those of a stage that carries "
            "the sample. A symmetric start probe cannot tell.",
        ),
    ] = None,
    denser_is_more_negative: Annotated[
        bool,
        typer.Option(help="Let the sample's contrast judge the sign of its phase, besides the start probe."),
    ] = True,
    frames: Annotated[int, typer.Option(min=1, help="First frames of the scan to look at.")] = 100,
) -> None:
    """Find which way the detector and the stage of a far-field scan are mounted.

    Prints one sentence, then the answer with all its evidence as one line of JSON.

    Example: ptycho orientation scan.h5 --position-sign probe
    """
    from ptycho_plugin.io import read_dataset
    from ptycho_plugin.reconstruction.orientation_search import find_orientation

    dataset = read_dataset(source)
    for remark in dataset.remarks:
        print(f"ptycho: {source}: {remark}", file=sys.stderr)
    with progress_bars() as bars:
        task = bars.add_task("orientation", total=None, note="hypotheses")
        found = find_orientation(
            dataset,
            position_sign=position_sign,
            denser_is_more_negative=denser_is_more_negative,
            frames=frames,
            report=lambda done, total: bars.update(task, completed=done, total=total),
        )
    print(found.verdict)
    print(found.model_dump_json())
