from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptycho_plugin.errors import InputError
from ptycho_plugin.ioc.motion import Axis, AxisSpec

SPEC = AxisSpec("um", (-100.0, 100.0), velocity=10.0, settle_s=0.5)
places = st.floats(-100, 100)


def axis() -> Axis:
    return Axis("COARSE:X", SPEC)


def test_a_move_takes_its_way_and_settles() -> None:
    it = axis()
    it.move(20.0, now=1.0)
    assert [it.position(at) for at in (1.0, 2.0, 3.0, 9.0)] == [0, 10, 20, 20]
    assert it.done_at == 3.5


@given(places, places, st.floats(0, 30))
def test_a_new_target_takes_over_from_where_it_is(first: float, second: float, after: float) -> None:
    it = axis()
    it.move(first, now=0.0)
    here = it.position(after)
    it.move(second, now=after)
    assert it.position(after) == here
    assert it.position(it.done_at) == second
    assert it.done_at == pytest.approx(after + abs(second - here) / 10 + 0.5)


@given(places, st.floats(0, 30), st.floats(0, 30))
def test_it_never_leaves_its_way(target: float, one: float, other: float) -> None:
    it = axis()
    it.move(target, now=0.0)
    sooner, later = sorted((one, other))
    assert abs(it.position(sooner)) <= abs(it.position(later)) <= abs(target)
    assert abs(it.position(later) - it.position(sooner)) <= 10 * (later - sooner) + 1e-9


def test_a_stop_stands_where_it_is() -> None:
    it = axis()
    it.move(20.0, now=0.0)
    it.stop(now=1.0)
    assert it.target == it.position(50.0) == 10
    assert it.done_at == 1.5


def test_a_stall_holds_it_until_it_is_mended() -> None:
    it = axis()
    it.move(20.0, now=0.0)
    it.hinder(0.0, now=1.0)
    assert it.stalls
    assert it.position(100.0) == 10
    assert it.done_at == inf
    it.hinder(1.0, now=101.0)
    assert it.position(it.done_at) == 20
    assert it.done_at == 102.5


def test_a_slow_axis_takes_so_many_times_as_long() -> None:
    it = axis()
    it.hinder(0.1, now=0.0)
    it.move(20.0, now=0.0)
    assert it.done_at == 20.5


@pytest.mark.parametrize("target", [100.1, -inf, float("nan")])
def test_limits_refuse_in_one_sentence(target: float) -> None:
    it = axis()
    with pytest.raises(InputError, match=r"COARSE:X cannot go to .* um: its limits are -100 to 100 um"):
        it.move(target, now=0.0)
    assert it.target == 0
