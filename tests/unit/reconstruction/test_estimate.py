"""Unknowns and sums of them."""

import numpy as np
import pytest

from ptycho_plugin.reconstruction.estimate import Estimate, Totals
from ptycho_plugin.reconstruction.gauge import in_slices


def test_totals_add_up_the_shares_and_start_anew_when_cleared(processor):
    totals = Totals(processor, np.ones((2, 2), np.complex64), np.ones(3, np.float32))
    for _ in range(2):
        for share in range(processor.partial_sums):
            waves, light = totals.cleared(share)
            waves += 1j
            light += share
        waves, light = totals.total()
        np.testing.assert_array_equal(waves, np.full((2, 2), 8j, np.complex64))
        np.testing.assert_array_equal(light, np.full(3, 28, np.float32))


@pytest.mark.parametrize("slices", [1, 2, 3])
def test_holding_the_power_leaves_the_exit_waves(known_estimate, slices):
    sliced = in_slices(known_estimate, slices)
    held = sliced.with_probe_power(7.0)
    assert held.probe_power == pytest.approx(7.0, rel=1e-5)
    np.testing.assert_allclose(
        held.probe[0] * held.object.prod(axis=0)[:32, :32],
        sliced.probe[0] * sliced.object.prod(axis=0)[:32, :32],
        rtol=1e-3,
    )


def test_algebra():
    one = Estimate(np.full((2, 2), 1 + 1j, np.complex64), np.full((1, 2, 2), 2j, np.complex64))
    assert one.dot(one) == pytest.approx(4 * 2 + 4 * 4)
    np.testing.assert_allclose(one.plus(one, 0.5).probe, 3j)
