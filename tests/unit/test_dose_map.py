"""Larger pixels hold the mean of what was there, and lie where it was."""

import numpy as np
import pytest

from ptycho_plugin.dose import Grid
from ptycho_plugin.dose_map import DoseMap


@pytest.mark.parametrize("cut", [0, 1])
def test_a_block_becomes_a_pixel_in_its_middle(cut):
    blocks = np.random.default_rng(1).random((5, 4))
    dose = np.kron(blocks, np.ones((3, 3)))[: 15 - cut]
    whole = DoseMap(
        dose=dose,
        grid=Grid(dose.shape, 1e-7, (2e-6, -1e-6)),
        points=np.zeros((0, 2)),
        peak=1.0,
        material="PMMA",
        electron_range=0.5e-6,
    )
    few = whole.binned(5)
    blocks[-1] *= (3 - cut) / 3  # beyond the map is nothing
    np.testing.assert_allclose(few.dose, blocks)
    assert few.grid.pixel == pytest.approx(3e-7)
    np.testing.assert_allclose(few.grid.corner, (2.1e-6, -0.9e-6))
    assert whole.binned(15) is whole
    assert few.remaining is None
