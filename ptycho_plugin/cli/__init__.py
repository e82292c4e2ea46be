"""The ``ptycho`` command."""

from __future__ import annotations

import sys
from importlib.metadata import version
from typing import Annotated

import typer

from ptycho_plugin.cli.demo import run_demo
from ptycho_plugin.cli.doctor import run_doctor
from ptycho_plugin.cli.dose import dose
from ptycho_plugin.cli.ioc import run_ioc
from ptycho_plugin.cli.orientation import tell_orientation
from ptycho_plugin.cli.reconstruct import reconstruct_scan
from ptycho_plugin.cli.report import make_report
from ptycho_plugin.cli.reproduce import run_reproduction
from ptycho_plugin.cli.serve import serve_tiled
from ptycho_plugin.cli.verify import verify
from ptycho_plugin.errors import PtychoError

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
app.command("demo")(run_demo)
app.command("doctor")(run_doctor)
app.add_typer(dose, name="dose")
app.command("ioc")(run_ioc)
app.command("orientation")(tell_orientation)
app.command("reconstruct")(reconstruct_scan)
app.command("report")(make_report)
app.command("reproduce")(run_reproduction)
app.command("serve")(serve_tiled)
app.command("verify")(verify)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"ptycho {version('ptycho-plugin')}")
        raise typer.Exit


@app.callback()
def _ptycho(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """X-ray ptychography: from diffraction frames to a phase map."""


def main() -> None:
    """Run the command line: an error a user can act on is one sentence and exit status 2."""
    try:
        app()
    except PtychoError as error:
        print(f"ptycho: {error}", file=sys.stderr)
        sys.exit(2)
