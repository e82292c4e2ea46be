"""Where the probe may be, against probes of known size."""

import numpy as np
import pytest

from ptycho_plugin.errors import ReconstructionError
from ptycho_plugin.reconstruction.options import ReconstructionOptions
from ptycho_plugin.reconstruction.support import probe_support
from ptycho_plugin.reconstruction.whole_scan import reconstruct

PIXEL = 1e-8


def test_the_support_is_a_disc_of_its_diameter_about_the_middle_pixel():
    spot = np.zeros((1, 32, 32), np.complex64)
    spot[0, 16, 16] = 1
    support = probe_support(spot, 25 * PIXEL, PIXEL)
    assert support.dtype == np.float32
    assert support[16, 4:29].all()
    assert support.sum() == pytest.approx(np.pi * 12.5**2, rel=0.03)
    np.testing.assert_array_equal(support[1:, 1:], support[1:, 1:][::-1, ::-1])


def test_without_a_diameter_the_probe_may_be_anywhere():
    assert probe_support(np.ones((1, 4, 4), np.complex64), None, PIXEL).all()


def test_a_support_beside_the_start_probe_is_refused():
    probe = np.zeros((1, 32, 32), np.complex64)
    probe[0, :8] = 1
    with pytest.raises(ReconstructionError, match=r"2e-07 m holds .* give a larger diameter"):
        probe_support(probe, 20 * PIXEL, PIXEL)


@pytest.mark.parametrize("seed", range(2))
def test_a_small_probe_is_found_better_within_its_support(simulate, phase_error, seed):
    """At 1e5 photons. Three seeds: error of the probe 0.055 to 0.064 without, 0.011 to 0.015 within."""
    scan = simulate(photons=1e5, probe_diameter_px=16, seed=seed)

    def found(diameter):
        options = ReconstructionOptions(
            difference_map_iterations=60, maximum_likelihood_iterations=40, probe_support=diameter
        )
        return reconstruct(scan.dataset(), options)

    free, confined = found(None), found(17 * scan.geometry.object_pixel)
    outside = np.hypot(*np.indices((32, 32)) - 16) > 8.5
    assert (confined.probe[0, outside] == 0).all()
    assert error(confined.probe, scan.probe) < 0.5 * error(free.probe, scan.probe)
    assert phase_error(confined, scan) < phase_error(free, scan)


def error(probe, truth):
    """Relative distance, scale and phase left out."""
    fitted = probe * np.vdot(probe, truth) / np.vdot(probe, probe)
    return np.linalg.norm(fitted - truth) / np.linalg.norm(truth)


@pytest.mark.parametrize("scale", [1e25, 1e-30])
def test_a_start_probe_of_any_scale_is_judged(known_scan, scale):
    beside = np.zeros_like(known_scan.probe)
    beside[0, :8] = scale
    options = ReconstructionOptions(probe_support=16 * known_scan.geometry.object_pixel)
    with pytest.raises(ReconstructionError, match="give a larger diameter"):
        reconstruct(known_scan.dataset(probe=beside.astype(np.complex64)), options)
