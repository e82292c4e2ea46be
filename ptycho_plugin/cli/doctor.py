"""``ptycho doctor``: what this machine has, and on which device a reconstruction would run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from ptycho_plugin.cli.checks import Finding, State, examine, standard_checks


def run_doctor(
    spool: Annotated[Path, typer.Option(help="Folder whose disk will take scans.")] = Path(),
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one line of JSON instead of a table.")
    ] = False,
) -> None:
    """Check this machine; the exit status is 0 if a reconstruction can run on it.

    The last check reconstructs a few frames: it names the device that any other would run on, and why. On a
    new machine it waits some ten seconds for the compiler.

    Example: ptycho doctor --json
    """
    findings = examine(standard_checks(spool))
    can_run = all(finding.state is not State.BAD for finding in findings.values())
    if as_json:
        print(_as_json(findings, can_run=can_run))
    else:
        _print_table(findings, can_run=can_run)
    raise typer.Exit(0 if can_run else 1)


def _as_json(findings: Mapping[str, Finding], *, can_run: bool) -> str:
    device = findings["reconstruction"].facts.get("device")
    checks = {name: asdict(finding) for name, finding in findings.items()}
    return json.dumps({"can_reconstruct": can_run, "device": device, "checks": checks})


def _print_table(findings: Mapping[str, Finding], *, can_run: bool) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    colours = {State.GOOD: "green", State.MISSING: "yellow", State.BAD: "red"}
    table = Table("check", "state", show_lines=True)
    table.add_column("found", overflow="fold")
    for name, finding in findings.items():
        table.add_row(name, Text(finding.state, colours[finding.state]), Text(finding.sentence))
    Console(highlight=False).print(table)
    print(
        f"A reconstruction {findings['reconstruction'].sentence}."
        if can_run
        else "No reconstruction can run before what is bad has been mended."
    )
