"""``ptycho doctor``: what this machine has, and on which device a reconstruction would run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ptycho_plugin.cli.checks import Finding, State, examine, standard_checks

if TYPE_CHECKING:
    from rich.table import Table

Findings = Mapping[str, Finding]
COLOURS = {State.GOOD: "green", State.MISSING: "yellow", State.BAD: "red"}


def run_doctor(
    spool: Annotated[Path, typer.Option(help="Folder whose disk will take scans.")] = Path(),
    beamline: Annotated[
        Path | None, typer.Option(help="A beamline file, to check every process variable that it names.")
    ] = None,
    timeout_s: Annotated[
        float, typer.Option("--timeout", min=0, help="Seconds for all process variables together.")
    ] = 5.0,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one line of JSON instead of a table.")
    ] = False,
) -> None:
    """Check this machine; the exit status is 0 if a reconstruction can run on it, and the beamline is good.

    The last check reconstructs a few frames: it names the device that any other would run on, and why. On a
    new machine it waits some ten seconds for the compiler.

    Example: ptycho doctor --beamline beamline.toml --json
    """
    of_beamline = _of_beamline(beamline, timeout_s) if beamline is not None else None
    findings = examine(standard_checks(spool))
    if as_json:
        print(_as_json(findings, of_beamline))
    else:
        _print_findings(findings, of_beamline, timeout_s)
    raise typer.Exit(0 if _are_fine(findings) and _are_fine(of_beamline or {}) else 1)


def _of_beamline(path: Path, timeout_s: float) -> dict[str, Finding]:
    from ptycho_plugin.beamline_file import read_beamline_file
    from ptycho_plugin.cli.beamline_checks import examine_beamline

    return examine_beamline(read_beamline_file(path), timeout_s)


def _are_fine(findings: Findings) -> bool:
    return all(finding.state is not State.BAD for finding in findings.values())


def _as_json(findings: Findings, of_beamline: Findings | None) -> str:
    said: dict[str, Any] = {
        "can_reconstruct": _are_fine(findings),
        "device": findings["reconstruction"].facts.get("device"),
        "checks": {name: asdict(finding) for name, finding in findings.items()},
    }
    if of_beamline is not None:
        said["beamline_is_good"] = _are_fine(of_beamline)
        said["beamline"] = {entry: asdict(finding) for entry, finding in of_beamline.items()}
    return json.dumps(said)


def _print_findings(findings: Findings, of_beamline: Findings | None, timeout_s: float) -> None:
    from rich.console import Console

    console = Console(highlight=False)
    console.print(_table(findings, "check"))
    print(
        f"A reconstruction {findings['reconstruction'].sentence}."
        if _are_fine(findings)
        else "No reconstruction can run before what is bad has been mended."
    )
    if of_beamline is not None:
        console.print(_table(of_beamline, "entry"))
        print(_of_all(of_beamline, timeout_s))


def _table(findings: Findings, what: str) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(what, "state", show_lines=True)
    table.add_column("found", overflow="fold")
    for name, finding in findings.items():
        table.add_row(name, Text(finding.state, COLOURS[finding.state]), Text(finding.sentence))
    return table


def _of_all(of_beamline: Findings, timeout_s: float) -> str:
    """Return what was found of a beamline in one sentence."""
    named = [pv for finding in of_beamline.values() for pv in finding.facts["process_variables"].values()]
    answering = sum(pv["connected"] for pv in named)
    if answering == len(named) and _are_fine(of_beamline):
        return f"All {len(named)} process variables are as the file says."
    bad = sum(finding.state is State.BAD for finding in of_beamline.values())
    answers = f"{answering} of {len(named)} process variables answered within {timeout_s:g} s"
    entries = "1 entry is bad" if bad == 1 else f"{bad} entries are bad"
    if answering:
        return f"{answers}, {entries}: mend what the table names, in the file or at its IOC."
    return f"{answers}: see that the IOC runs, and that EPICS_CA_ADDR_LIST leads to it."
