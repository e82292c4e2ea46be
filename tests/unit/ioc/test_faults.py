import pytest

from ptycho_plugin.errors import InputError
from ptycho_plugin.ioc.faults import Faults
from ptycho_plugin.ioc.twin import RING_CURRENT_MA, Twin


@pytest.fixture
def faults(twin: Twin) -> Faults:
    return Faults(twin)


@pytest.mark.parametrize("fault", ["miss_trigger", "drop_frame"])
def test_some_befall_the_next_one_only(faults: Faults, fault: str) -> None:
    assert not faults.befalls(fault)
    faults.command(fault, now=0.0)
    assert [faults.befalls(fault), faults.befalls(fault)] == [True, False]


def test_others_stay_until_they_are_mended(faults: Faults, twin: Twin) -> None:
    for command in ("stall PIEZO:Y", "slow COARSE:X 10", "beam_loss", "drop_frame"):
        faults.command(command, now=0.0)
    twin.move("COARSE:X", 2000.0, now=0.0)
    assert twin.axes["PIEZO:Y"].stalls
    assert twin.axes["COARSE:X"].done_at == pytest.approx(10.1)
    assert twin.ring_current_mA == 0
    faults.command("none", now=0.0)
    assert not twin.axes["PIEZO:Y"].stalls
    assert twin.axes["COARSE:X"].done_at == pytest.approx(1.1)
    assert twin.ring_current_mA == RING_CURRENT_MA
    assert not faults.befalls("drop_frame")


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("explode", "there is no fault 'explode': say 'stall AXIS'"),
        ("stall PIEZO:Z", "there is no axis 'PIEZO:Z': take one of PIEZO:Y"),
        ("slow COARSE:X much", "cannot be much times as slow"),
        ("slow COARSE:X 0", "cannot be 0 times as slow"),
    ],
)
def test_what_is_no_fault_says_so(faults: Faults, command: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        faults.command(command, now=0.0)
