"""An energy change over Channel Access: the twin's focus, pixel and calibration follow, or are refused."""

from collections.abc import Iterator
from typing import Any

import pytest
from bluesky import RunEngine

from ptycho_plugin.errors import InputError
from ptycho_plugin.plans import change_energy, ptycho_scan
from ptycho_plugin.trajectory import ConcentricRings

pytestmark = pytest.mark.usefixtures("healthy")

SMALL = ConcentricRings(height_um=0.3, width_um=0.3)
NEW_EV = 6300.0


@pytest.fixture
def at_new_energy(engine: RunEngine, wired: Any) -> Iterator[Any]:
    old_eV = wired.geometry.energy_eV
    engine(change_energy(wired, NEW_EV))
    yield wired
    engine(change_energy(wired, old_eV))


def test_a_scan_at_another_energy(
    engine: RunEngine, guarded: Any, line: Any, run_documents: Any, at_new_energy: Any
) -> None:
    growth_um = 50_000 * (NEW_EV / 6199.21 - 1)
    assert line.get("MONO:ENERGY.RBV") == pytest.approx(NEW_EV)
    assert line.get("ZP:Z.RBV") == pytest.approx(-growth_um, abs=0.1)
    assert line.get("PIL:cam1:ThresholdEnergy_RBV") == pytest.approx(3.15)
    with pytest.raises(InputError, match="not calibrated: run calibrate_flux first"):
        engine(guarded.scan(SMALL, 0.02))
    engine(ptycho_scan(at_new_energy, trajectory=SMALL, exposure_s=0.02))
    assert run_documents.run.scan.geometry.energy_eV == NEW_EV
    assert len(run_documents.joined) == len(SMALL.offsets_um())
    assert line.get("SHUTTER:STATUS") == 0
