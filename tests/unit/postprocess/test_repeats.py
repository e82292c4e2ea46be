import numpy as np
import pytest

from ptycho_plugin.errors import InputError
from ptycho_plugin.optics import ZonePlate
from ptycho_plugin.postprocess.registration import MARGIN_PX, shifted
from ptycho_plugin.postprocess.repeats import (
    HighAngleSignal,
    Repeat,
    RepeatSeries,
    beyond_beam,
    high_angle_signal,
    window_about,
)
from ptycho_plugin.simulation.dying_film import GEOMETRY


def test_repeats_are_brought_onto_the_first(dying_film):
    first, second = dying_film(0, critical=1e6, noise=0.0).repeats(2)
    rows, columns = np.indices(first.transmission.shape)
    moved = shifted(second.transmission, np.array([1.3, -0.6])) * np.exp(0.01j * (rows - 2 * columns))
    series = RepeatSeries([first, Repeat(moved, second.dose_before, second.dose_after)])
    inner = np.s_[:, 5:-5, 5:-5]
    one, other = series.phases[inner]
    assert np.std(other - one) < 0.05 * one.std()
    assert series.phases.shape == (2, *(n - 2 * MARGIN_PX for n in first.transmission.shape))


def test_a_phase_without_its_plane():
    rows, columns = np.indices((60, 70))
    structure = np.cos(rows) * np.cos(columns) * 0.1
    repeat = Repeat(np.exp(1j * (structure + 0.01 * rows - 0.02 * columns + 1)), 0.0, 1.0)
    (phase,) = RepeatSeries([repeat]).phases
    inner = structure[MARGIN_PX:-MARGIN_PX, MARGIN_PX:-MARGIN_PX]
    np.testing.assert_allclose(phase, inner - inner.mean(), atol=2e-3)


def test_doses_of_a_series():
    image = np.exp(1j * np.random.default_rng(0).normal(size=(60, 60)))
    series = RepeatSeries([Repeat(image, 2.0, 4.0), Repeat(image, 5.0, 6.0)])
    np.testing.assert_array_equal(series.dose, [3.0, 5.5])
    np.testing.assert_array_equal(series.dose_taken, [2.0, 1.0])
    assert len(series) == 2


def test_doses_that_cannot_be_are_refused():
    image = np.exp(1j * np.random.default_rng(0).normal(size=(60, 60)))
    with pytest.raises(InputError, match="from 2 to 2 Gy cannot be"):
        Repeat(image, 2.0, 2.0)
    with pytest.raises(InputError, match="in the order of their dose"):
        RepeatSeries([Repeat(image, 0.0, 2.0), Repeat(image, 1.0, 3.0)])


def test_a_map_of_another_size_is_refused(dying_film):
    (first,) = dying_film(0).repeats(1)
    with pytest.raises(InputError, match="must be alike"):
        RepeatSeries([first, Repeat(first.transmission[:-1], first.dose_after, 2 * first.dose_after)])


def test_the_window_is_about_the_same_place_in_every_object():
    image = np.arange(40.0 * 50).reshape(40, 50) + 0j
    offsets = np.array([[-3.0, 2.0], [5.0, -4.2]])
    corner = np.array([10.0, 12.0])
    window = window_about(image, corner + offsets, offsets, frame_side=8, half=5)
    np.testing.assert_array_equal(window, image[14 - 5 : 14 + 5, 16 - 5 : 16 + 5])
    again = window_about(image[2:, 3:], corner - (2, 3) + offsets, offsets, frame_side=8, half=5)
    np.testing.assert_array_equal(again, window)
    with pytest.raises(InputError, match="take a smaller window"):
        window_about(image, corner + offsets, offsets, frame_side=8, half=15)


def test_beyond_the_beam_is_outside_the_zone_plates_cone():
    """The outermost zone's angle, lambda / (2 d), in pixels of the detector."""
    beyond = beyond_beam(ZonePlate().probe(GEOMETRY))
    radius_px = 0.2e-9 / (2 * 50e-9) * GEOMETRY.distance / GEOMETRY.detector_pixel
    axis = np.arange(GEOMETRY.frame_side) - GEOMETRY.frame_side // 2
    distance = np.hypot(axis[:, None], axis)
    assert not beyond[(distance < 0.95 * radius_px) & (distance > 0.6 * radius_px)].any()
    assert beyond[distance > 1.3 * radius_px].mean() > 0.9


def test_high_angle_counts_are_normalised_and_carry_their_noise():
    rng = np.random.default_rng(0)
    frames = rng.poisson(3.0, (300, 4, 10, 10))
    measured, beyond = np.ones((10, 10), bool), np.zeros((10, 10), bool)
    beyond[:, :3] = True
    measured[0] = False
    signals = [high_angle_signal(series, measured, beyond, 100.0) for series in frames]
    values = np.array([signal.value for signal in signals])
    assert values.mean() == pytest.approx(3.0 * 4 * 27 / 100, rel=0.01)
    assert values.std() == pytest.approx(signals[0].sigma, rel=0.15)
    twice = high_angle_signal(frames[0], measured, beyond, 200.0)
    assert twice == HighAngleSignal(signals[0].value / 2, signals[0].sigma / 2)


def test_a_high_angle_signal_that_cannot_be_is_refused():
    frames, pixels = np.ones((2, 4, 4), int), np.ones((4, 4), bool)
    with pytest.raises(InputError, match="what the monitor says"):
        high_angle_signal(frames, pixels, pixels, 0.0)
    with pytest.raises(InputError, match="take larger frames"):
        high_angle_signal(frames, pixels, ~pixels, 1.0)
