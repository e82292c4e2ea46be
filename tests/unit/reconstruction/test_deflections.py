"""Deflections of a sample have no curl but that of noise; read in another way they have."""

import numpy as np
import pytest

from ptycho_plugin.reconstruction.deflections import curls_of
from ptycho_plugin.reconstruction.frame_look import look_at_frames
from ptycho_plugin.reconstruction.whole_scan import started

DIAMETER_PX = 12.0
NOISE = 0.01


@pytest.fixture(scope="module")
def places():
    rng = np.random.default_rng(0)
    return np.indices((20, 20)).reshape(2, -1).T * 3.0 + rng.uniform(-1, 1, (400, 2))


@pytest.fixture(scope="module")
def gradients(places):
    """Slopes of sin(kx + ly) with all of k^2, l^2 and kl, and noise on them."""
    rng = np.random.default_rng(1)
    waves = rng.normal(0, 0.05, (12, 2))
    slopes = np.cos(places @ waves.T + rng.uniform(0, 6, 12)) @ waves
    return slopes + rng.normal(0, NOISE, places.shape)


def curls(deflections, places):
    return curls_of(deflections, np.full(places.shape, NOISE**2), places, DIAMETER_PX)


def test_a_gradient_has_the_curl_of_noise(gradients, places):
    found = curls(gradients, places)
    assert found.as_read == pytest.approx(1, abs=0.3)
    assert found.least_other > 8


@pytest.mark.parametrize(
    ("read", "name"),
    [
        (lambda d: d * [1, -1], "mirrored"),
        (lambda d: d * [-1, 1], "mirrored"),
        (lambda d: d[:, ::-1], "transposed"),
        (lambda d: d[:, ::-1] * [1, -1], "turned"),
        (lambda d: -d, "as_read"),
    ],
)
def test_another_reading_has_its_curl_back_where_it_is_undone(gradients, places, read, name):
    right, found = curls(gradients, places), curls(read(gradients), places)
    assert getattr(found, name) == pytest.approx(right.as_read)
    assert sorted(found) == pytest.approx(sorted(right))


def test_noise_alone_has_the_same_curl_in_every_reading(places):
    noise = np.random.default_rng(3).normal(0, NOISE, places.shape)
    assert np.array(curls(noise, places)) == pytest.approx(1, abs=0.3)


def test_a_line_and_a_handful_of_places_tell_nothing(gradients, places):
    assert curls(gradients, places * [1, 0]) is None
    assert curls(gradients[:5], places[:5]) is None


def test_a_stage_that_stands_is_passed_over(gradients, places):
    stuck = places.copy()
    stuck[100:200] = stuck[100]
    assert curls(gradients, stuck).as_read > 0.1


def test_frames_of_a_scan_are_deflected_along_a_gradient(known_scan):
    reconstruction = started(known_scan.dataset())
    look = reconstruction._look_at_frames()
    found = curls_of(look.deflection, look.deflection_variance, known_scan.positions_px, 17)
    assert found.least_other > 5 * found.as_read


def test_deflections_and_their_noise_are_those_of_counts(simulate, forward, known_estimate, blocks_of):
    """The same frame counted many times: its centroid scatters as much as is said."""
    scan = simulate(photons=3e3)
    mean = scan.frames[44]
    counts = np.random.default_rng(4).poisson(mean, (400, *mean.shape)).astype(np.float32)
    blocks = blocks_of(forward, counts, np.tile(scan.positions_px[44], (400, 1)))
    look = look_at_frames(blocks, known_estimate, forward, counts.mean(axis=0), 0.0)
    rows, columns = (np.indices(mean.shape) - len(mean) // 2) * mean / mean.sum()
    np.testing.assert_allclose(look.deflection.mean(axis=0), [rows.sum(), columns.sum()], atol=0.02)
    about = look.deflection - look.deflection.mean(axis=0)
    np.testing.assert_allclose(look.deflection_variance.mean(axis=0), (about**2).mean(axis=0), rtol=0.3)
