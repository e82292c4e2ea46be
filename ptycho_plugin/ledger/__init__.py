"""The ledger of exposures: on disk as intended before the shutter opens, and as done before the next."""

from ptycho_plugin.ledger.exposures import Exposures
from ptycho_plugin.ledger.ledger import Ledger
from ptycho_plugin.ledger.records import Beam, Budget, CalibrationUsed, Delivered, Intent, Region
from ptycho_plugin.ledger.scan import End, Scan, ScanProgress, ScanRun

__all__ = [
    "Beam",
    "Budget",
    "CalibrationUsed",
    "Delivered",
    "End",
    "Exposures",
    "Intent",
    "Ledger",
    "Region",
    "Scan",
    "ScanProgress",
    "ScanRun",
]
