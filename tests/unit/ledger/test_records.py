"""A beam without its flux calibration is refused."""

import pytest

from ptycho_plugin.errors import LedgerError


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"calibration": None}, "monitor 'i0' is not calibrated: run calibrate_flux first"),
        ({"monitor": "i1"}, "flux-1 has monitor i0, the beam i1"),
        ({"gain": 1e7}, "flux-1 has gain 1000000.0, the beam 10000000.0"),
        ({"energy_eV": 6210.0}, "flux-1 has energy in eV 6200.0, the beam 6210.0"),
    ],
)
def test_an_intent_with_a_monitor_that_is_not_calibrated_for_it_is_refused(ledger, intent, changes, sentence):
    intended = intent()
    beam = intended.beam.model_copy(update=changes)
    with pytest.raises(LedgerError, match=sentence):
        ledger.intend(intended.model_copy(update={"beam": beam}))
    assert len(ledger.exposures_of_run("run")) == 0


def test_an_energy_that_a_monochromator_reads_back_is_the_same(intent):
    beam = intent().beam
    assert beam.model_copy(update={"energy_eV": 6201.0}).calibrated() == beam.calibration
