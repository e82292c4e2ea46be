"""Gauge freedoms leave the frames as they are and are removed whatever they were."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptycho_plugin.reconstruction.estimate import Estimate
from ptycho_plugin.reconstruction.gauge import with_more_modes, with_orthogonal_modes, without_ramp


def ramped(estimate, row, column, phase):
    rows, columns = np.indices(estimate.object.shape[1:])
    wave = np.exp(1j * (row * rows + column * columns + phase))
    return Estimate((estimate.object * wave).astype(np.complex64), estimate.probe)


@given(row=st.floats(-0.5, 0.5), column=st.floats(-0.5, 0.5), phase=st.floats(-3, 3))
def test_any_ramp_and_phase_are_found(known_estimate, row, column, phase):
    trusted = np.ones(known_estimate.object.shape[1:], bool)
    flat = without_ramp(known_estimate, trusted)
    again = without_ramp(ramped(known_estimate, row, column, phase), trusted)
    np.testing.assert_allclose(again.object, flat.object, atol=5e-3)


def test_removing_a_ramp_moves_it_to_the_probe(known_estimate):
    """Every exit wave keeps its modulus and, up to one phase, its phase."""
    tilted = ramped(known_estimate, 0.03, -0.02, 1.0)
    flat = without_ramp(tilted, np.ones(tilted.object.shape[1:], bool))
    for r, c in [(0, 0), (20, 31)]:
        before = tilted.probe[0] * tilted.object[0, r : r + 32, c : c + 32]
        after = flat.probe[0] * flat.object[0, r : r + 32, c : c + 32]
        overlap = abs(np.vdot(before, after)) / np.linalg.norm(before) / np.linalg.norm(after)
        assert overlap == pytest.approx(1, abs=1e-4)


def test_only_trusted_pixels_are_judged(known_estimate):
    trusted = np.zeros(known_estimate.object.shape[1:], bool)
    trusted[20:60, 20:60] = True
    rubbish = known_estimate.object.copy()
    rubbish[:, :10] *= np.exp(2j)
    found = without_ramp(Estimate(rubbish, known_estimate.probe), trusted).object[:, trusted]
    np.testing.assert_allclose(found, without_ramp(known_estimate, trusted).object[:, trusted], atol=1e-4)


def test_orthogonal_modes_keep_the_intensity():
    rng = np.random.default_rng(0)
    modes = (rng.standard_normal((3, 8, 8)) + 1j * rng.standard_normal((3, 8, 8))).astype(np.complex64)
    modes[1] += modes[0]
    found = with_orthogonal_modes(Estimate(np.ones((1, 8, 8), np.complex64), modes)).probe
    np.testing.assert_allclose(
        np.sum(np.abs(found) ** 2, axis=0), np.sum(np.abs(modes) ** 2, axis=0), rtol=1e-4
    )
    flat = found.reshape(3, -1)
    overlaps = flat @ flat.conj().T
    assert np.abs(overlaps - np.diag(np.diag(overlaps))).max() < 1e-3
    assert (np.diff(np.diag(overlaps).real) <= 0).all()


@pytest.mark.parametrize("wanted", [1, 2, 3, 6])
def test_more_start_modes_differ_from_one_another(known_estimate, wanted):
    modes = with_more_modes(known_estimate.probe, wanted).reshape(wanted, -1)
    assert np.linalg.matrix_rank(modes, tol=1e-3 * np.linalg.norm(modes)) == wanted
    np.testing.assert_array_equal(modes[0], known_estimate.probe.ravel())
