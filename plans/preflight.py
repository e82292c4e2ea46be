"""What a scan will be, and whether it can work: said before the shutter opens."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ptycho_plugin.errors import PreflightRefusal
from ptycho_plugin.plans.planned_scan import PlannedScan
from ptycho_plugin.plans.preflight_checks import CHECKS, Check, Finding, Level

if TYPE_CHECKING:
    from rich.table import Table

STYLES: dict[Level, str] = {"info": "none", "ok": "green", "warning": "yellow", "refusal": "bold red"}


@dataclass(frozen=True, slots=True)
class Preflight:
    """All findings of a planned scan."""

    findings: tuple[Finding, ...]

    def of_level(self, level: Level) -> tuple[Finding, ...]:
        """Return the findings of a level."""
        return tuple(finding for finding in self.findings if finding.level == level)

    def raise_refusals(self) -> None:
        """Raise `PreflightRefusal` with the sentence of every refusal, if there is one."""
        refusals = self.of_level("refusal")
        if refusals:
            raise PreflightRefusal("; ".join(finding.sentence for finding in refusals))

    def to_start(self) -> dict[str, Any]:
        """Return the findings as a start document keeps them."""
        return {
            finding.name: {key: getattr(finding, key) for key in ("level", "value", "limit", "unit")}
            for finding in self.findings
        }

    def table(self) -> Table:
        """Return the findings for a terminal."""
        from rich.table import Table

        table = Table("what", "", "finding", title="Preflight", title_justify="left")
        for finding in self.findings:
            table.add_row(finding.name, finding.level, finding.sentence, style=STYLES[finding.level])
        return table


def preflight(
    scan: PlannedScan,
    remarks: Iterable[str] = (),
    findings: Iterable[Finding] = (),
    checks: Iterable[Check] = CHECKS,
) -> Preflight:
    """Judge a planned scan.

    Parameters
    ----------
    scan : PlannedScan
    remarks : iterable of str
        Warnings of others about the probe, such as one of an old one.
    findings : iterable of Finding
        Of others.
    checks : iterable of callable
        By default those of a scan that is reconstructed.
    """
    warnings = (Finding("probe", 0.0, "", remark, level="warning") for remark in remarks)
    return Preflight((*findings, *(check(scan) for check in checks), *warnings))
