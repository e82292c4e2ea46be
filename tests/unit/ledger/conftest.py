"""A ledger with one region, and entries for it."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ptycho_plugin.ledger import Beam, CalibrationUsed, Delivered, Intent, Ledger, Region

OPENED = datetime(2026, 3, 1, 12, tzinfo=UTC)
CALIBRATION = CalibrationUsed(key="flux-1", date=OPENED, monitor="i0", energy_eV=6200, gain=1e6)
BEAM = Beam(energy_eV=6200, monitor="i0", gain=1e6, calibration=CALIBRATION)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "film.ledger"


@pytest.fixture
def ledger(path: Path) -> Iterator[Ledger]:
    with Ledger(path, new=True) as ledger:
        yield ledger


@pytest.fixture
def region(ledger: Ledger) -> Region:
    """At stage position (100, 200) um."""
    ledger.samples.mount("film")
    return ledger.samples.place_region("film", "1", "A", stage_um=(100, 200), reach_um=5)


@pytest.fixture
def intent(region: Region) -> Callable[..., Intent]:
    """Return an intent in the region's centre; keyword arguments change it."""

    def make(point: int = 0, **changes: Any) -> Intent:
        entry = {
            "on": region,
            "run_uid": "run",
            "point": point,
            "start_um": (100, 200),
            "open_s": 0.2,
            "photons_at_most": 1000,
            "beam": BEAM,
        }
        return Intent(**{**entry, **changes})

    return make


@pytest.fixture
def delivered() -> Callable[..., Delivered]:
    """Return what 900 photons in 0.2 s were; keyword arguments change it."""

    def make(**changes: Any) -> Delivered:
        entry = {
            "opened": OPENED,
            "closed": OPENED + timedelta(seconds=0.21),
            "open_s": 0.2,
            "photons": 900,
            "photons_uncertainty": 30,
        }
        return Delivered(**{**entry, **changes})

    return make
