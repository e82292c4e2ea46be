"""An energy change over Channel Access: the twin's focus, pixel and calibration follow, or are refused."""

from collections.abc import Iterator
from typing import Any

import pytest
from bluesky import RunEngine
from bluesky.utils import FailedStatus

from ptycho_plugin.errors import InputError, PreflightRefusal
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


def test_a_change_that_was_cut_off_ends_where_it_should(
    engine: RunEngine, wired: Any, line: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The zone plate takes too long, and is stopped on its way."""
    from ptycho_plugin.devices.epics import axes

    old_eV, began_um = wired.geometry.energy_eV, line.get("ZP:Z.RBV")
    growth_um = 50_000 * (NEW_EV / old_eV - 1)
    with monkeypatch.context() as patience:
        patience.setattr(axes, "ANSWER_S", 0.2)
        line.put("TWIN:FAULT", "slow ZP:Z 10")
        with pytest.raises(FailedStatus) as failed:
            engine(change_energy(wired, NEW_EV))
    line.put("TWIN:FAULT", "none")
    assert "zone_plate_z did not arrive" in str(failed.value.__cause__)
    assert line.becomes("ZP:Z.DMOV", 1)
    assert 0.05 * growth_um < began_um - line.get("ZP:Z.RBV") < 0.95 * growth_um
    with pytest.raises(PreflightRefusal, match=r"was cut off.*run change_energy again"):
        engine(ptycho_scan(wired, trajectory=SMALL, exposure_s=0.02))
    for energy_eV, place_um in ((NEW_EV, began_um - growth_um), (old_eV, began_um)):
        engine(change_energy(wired, energy_eV))
        assert line.get("ZP:Z.RBV") == pytest.approx(place_um, abs=0.1)
        assert line.get("MONO:ENERGY.RBV") == pytest.approx(energy_eV)
