"""Statuses that end as others do always end."""

import pytest
from ophyd.status import Status

from ptycho_plugin.devices.statuses import finished, following, settled


def test_what_is_done_is_done() -> None:
    status = finished("device")
    assert status.done
    settled(status)


@pytest.mark.parametrize("failure", [None, RuntimeError("stuck")])
def test_one_ends_as_the_other_and_as_it_is_judged(failure: Exception | None) -> None:
    other, heard = Status(), []
    own = following("device", other, heard.append)
    assert not own.done
    if failure is None:
        other.set_finished()
    else:
        other.set_exception(failure)
    settled(own)
    assert heard == [failure]


def test_one_whose_judge_raises_ends_with_that() -> None:
    def gone(_: Exception | None) -> None:
        raise ConnectionError("the axis is gone")

    other = Status()
    own = following("device", other, gone)
    other.set_finished()
    with pytest.raises(ConnectionError, match="the axis is gone"):
        settled(own)
