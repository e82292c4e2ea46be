"""What a benchmark reports: named figures, a table of them, and one line for machines."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

from rich import box
from rich.console import Console
from rich.table import Table

WIDTH = 150
"""Characters of the table: the same on a terminal and in a pipe."""
ALWAYS = (
    "dm_over_floor",
    "ml_over_floor",
    "to_peer_quality_over_floor",
    "peak_over_exit_waves",
    "phase_error",
    "phase_error_smooth",
    "half_bit_nm",
    "frc_05_nm",
)
"""Figures that the last line names in any case, null where they were not measured."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured number.

    Parameters
    ----------
    name : str
        Its unit, where it has one, stands last.
    value : float or None
        None where it could not be measured; the remark then says why.
    wanted : str
        What is aimed at, if anything.
    remark : str
        Spread, conditions.
    """

    name: str
    value: float | None
    wanted: str = ""
    remark: str = ""

    @property
    def printed(self) -> str:
        """Four significant digits."""
        return "-" if self.value is None else f"{self.value:.4g}"


def print_table(figures: Iterable[Figure]) -> None:
    """Print figures to standard output."""
    table = Table("figure", box=box.ASCII2)
    table.add_column("measured", justify="right")
    table.add_column("wanted", justify="right")
    table.add_column("remark", overflow="fold")
    for figure in figures:
        table.add_row(figure.name, figure.printed, figure.wanted, figure.remark)
    Console(width=WIDTH, highlight=False, markup=False).print(table)


def as_json(figures: Iterable[Figure]) -> str:
    """Return one JSON object on one line: values by name."""
    values = {figure.name: None if figure.value is None else float(figure.printed) for figure in figures}
    return json.dumps(dict.fromkeys(ALWAYS) | values)
