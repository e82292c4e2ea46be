"""Propagations are unitary but for their scale, and `back` is the adjoint of `forth`."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptycho_plugin.geometry import Geometry
from ptycho_plugin.reconstruction.propagation import through_space, to_detector


def geometry(side, focus_to_sample=None):
    return Geometry(
        energy_eV=6200,
        distance=2.2,
        detector_pixel=172e-6,
        frame_side=side,
        focus_to_sample=focus_to_sample,
    )


PROPAGATIONS = {
    "far field": lambda side, machine: (to_detector(geometry(side), machine), side),
    "near field": lambda side, machine: (to_detector(geometry(side, 1e-3), machine), side),
    "free space": lambda side, machine: (through_space(geometry(side), 2e-5, machine), 1),
}


@pytest.mark.parametrize("propagation", PROPAGATIONS.values(), ids=PROPAGATIONS.keys())
@given(side=st.sampled_from([8, 15, 16]), modes=st.integers(1, 3), seed=st.integers(0, 99))
def test_inner_products_are_kept_and_back_is_the_adjoint(processor, propagation, side, modes, seed):
    """<forth a, forth b> = scale^2 <a, b>, and <forth a, b> = <a, back b>."""
    rng = np.random.default_rng(seed)
    one, other = (
        rng.standard_normal((2, 2, modes, side, side, 2)).astype(np.float32).view(np.complex64)[..., 0]
    )
    through, scale = propagation(side, processor)

    def moved(way, waves):
        room = processor.waves(waves.shape)
        room[...] = waves
        return way(room).copy()

    forth = moved(through.forth, one)
    size = scale * float(np.linalg.norm(one) * np.linalg.norm(other))
    kept = np.vdot(forth, moved(through.forth, other))
    assert kept == pytest.approx(scale**2 * np.vdot(one, other), abs=1e-5 * scale * size)
    assert np.vdot(forth, other) == pytest.approx(np.vdot(one, moved(through.back, other)), abs=1e-5 * size)
