"""``ptycho verify``: whether results in Tiled are what was published."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

if TYPE_CHECKING:
    from ptycho_plugin.publishing.verification import Verification


def verify(
    tiled: Annotated[
        str, typer.Argument(metavar="TILED_URI", help="Address of the tree; its key is in TILED_API_KEY.")
    ],
    run_uids: Annotated[
        list[str] | None, typer.Argument(metavar="[RUN_UID]...", help="Runs whose results to check, or all.")
    ] = None,
) -> None:
    """Check that results in Tiled, and their files, are what was published; exit status 1 if one is not.

    Of each: its file is there, read-only and unchanged; Tiled serves the arrays that were computed; the
    metadata are those in the file; the raw run is there and says the same. The last line is JSON with every
    SHA-256: kept elsewhere, it proves more than what lies beside the results.

    Example: ptycho verify http://127.0.0.1:8000/api/v1
    """
    from ptycho_plugin.publishing.connection import connect
    from ptycho_plugin.publishing.verification import verify_results
    from ptycho_plugin.view.bars import progress_bars

    client = connect(tiled)
    with closing(client.context), progress_bars() as bars:
        task = bars.add_task("results", total=None, note="")
        found = []
        for verification in verify_results(client, run_uids or ()):
            found.append(verification)
            bars.update(task, completed=len(found), note=verification.run_uid)
    _print_table(found)
    print(json.dumps(_summary(found)))
    raise typer.Exit(1 if any(verification.faults for verification in found) else 0)


def _print_table(found: Sequence[Verification]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("run", "in", show_lines=True)
    table.add_column("found", overflow="fold")
    for verification in found:
        said = "\n".join(f"{kind}: {what}" for kind, what in verification.faults)
        text = Text(said, "red") if said else Text("as published", "green")
        table.add_row(verification.run_uid, verification.seal.storage if verification.seal else "?", text)
    Console(highlight=False).print(table)


def _summary(found: Sequence[Verification]) -> dict[str, Any]:
    from ptycho_plugin.publishing.verification import Kind

    wrong = Counter(kind for one in found for kind in {fault.kind for fault in one.faults})
    return {
        "checked": len(found),
        "sound": sum(not one.faults for one in found),
        **{kind: wrong[kind] for kind in get_args(Kind)},
        "sha256": {one.run_uid: _digest(one) for one in found},
    }


def _digest(one: Verification) -> str | None:
    """Return the digest that stands for all of a result: of its file, or of its record."""
    if one.seal is None:
        return None
    return one.seal.file.sha256 if one.seal.file is not None else one.seal.record_sha256
