"""``ptycho doctor``: what this machine has, and on which device a reconstruction would run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from ptycho_plugin.cli.beamline_checks import beamline_checks
from ptycho_plugin.cli.checks import Finding, State, examine, standard_checks


def run_doctor(
    spool: Annotated[Path, typer.Option(help="Folder whose disk will take scans.")] = Path(),
    beamline: Annotated[
        Path | None, typer.Option(help="A beamline file, each of whose process variables is asked.")
    ] = None,
    patience_s: Annotated[
        float, typer.Option("--patience", min=0.1, help="Seconds for all of them to answer.")
    ] = 5.0,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one line of JSON instead of a table.")
    ] = False,
) -> None:
    """Check this machine, and a beamline; the exit status is 0 if nothing is bad.

    The last check reconstructs a few frames: it names the device that any other would run on, and why. On a
    new machine it waits some ten seconds for the compiler.

    Example: ptycho doctor --json
    """
    asked = [] if beamline is None else beamline_checks(beamline, patience_s)
    machine, devices = examine(standard_checks(spool)), examine(asked)
    if as_json:
        print(_as_json(machine, devices))
    else:
        _print_table(machine | devices)
        print(_verdict(machine, devices))
    raise typer.Exit(0 if _is_sound(machine) and _is_sound(devices) else 1)


def _is_sound(findings: Mapping[str, Finding]) -> bool:
    return all(finding.state is not State.BAD for finding in findings.values())


def _as_json(machine: Mapping[str, Finding], devices: Mapping[str, Finding]) -> str:
    said = {
        "can_reconstruct": _is_sound(machine),
        "device": machine["reconstruction"].facts.get("device"),
        "checks": {name: asdict(finding) for name, finding in machine.items()},
    }
    if devices:
        said["can_scan"] = _is_sound(devices)
        said["beamline"] = {name: asdict(finding) for name, finding in devices.items()}
    return json.dumps(said)


def _print_table(findings: Mapping[str, Finding]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    colours = {State.GOOD: "green", State.MISSING: "yellow", State.BAD: "red"}
    table = Table("check", "state", show_lines=True)
    table.add_column("found", overflow="fold")
    for name, finding in findings.items():
        table.add_row(name, Text(finding.state, colours[finding.state]), Text(finding.sentence))
    Console(highlight=False).print(table)


def _verdict(machine: Mapping[str, Finding], devices: Mapping[str, Finding]) -> str:
    if not _is_sound(machine):
        return "No reconstruction can run before what is bad has been mended."
    said = f"A reconstruction {machine['reconstruction'].sentence}."
    if devices and not _is_sound(devices):
        return f"{said} No scan can run before what is bad of the beamline has been mended."
    return f"{said} Every process variable of the beamline answers." if devices else said
