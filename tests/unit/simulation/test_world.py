import threading

import numpy as np
import pytest

from ptycho_plugin.dose import ShutterTiming
from ptycho_plugin.errors import InputError
from ptycho_plugin.flux import LOSSLESS, DetectionPath
from ptycho_plugin.optics import ZonePlate
from ptycho_plugin.orientation import DetectorOrientation, PositionSign, crop_window
from ptycho_plugin.simulation.options import OpticError
from ptycho_plugin.simulation.specimens import EMPTY, FILM
from ptycho_plugin.simulation.world import SimulatedWorld

EXPOSURE_S = 0.2


def world_of(geometry, holder, options, **changes):
    world = SimulatedWorld(geometry, ZonePlate(), options.model_copy(update=changes), holder)
    world.set_shutter(True)
    return world


def go(world, row_um, column_um, stage="stage"):
    world.move(f"{stage}_row", row_um)
    world.move(f"{stage}_column", column_um)


def pattern(world, side):
    """One frame as the reconstruction takes it."""
    orientation = world.options.orientation
    frame = world.expose(EXPOSURE_S).frame
    return orientation.to_scattering(frame[crop_window(world.beam_centre_px, side, frame.shape, orientation)])


def counts(exposure):
    return int(exposure.frame[exposure.frame > 0].sum())


def modelled(world, position_um, side):
    """What the reconstruction would compute from the nominal probe and the truth."""
    truth = world.truth(FILM)
    corner = truth.positions_px(np.array([position_um]) * 1e-6, side)[0]
    np.testing.assert_allclose(corner, np.rint(corner), atol=1e-6)
    row, column = np.rint(corner).astype(int)
    photons = world.options.photons_per_second * EXPOSURE_S
    exit_wave = ZonePlate().probe(world.geometry, photons)[0]
    exit_wave = exit_wave * truth.transmission[row : row + side, column : column + side]
    return np.abs(np.fft.fftshift(np.fft.fft2(exit_wave, norm="ortho"))) ** 2


def r_factor(measured, model):
    return np.sqrt(np.sum((np.sqrt(measured) - np.sqrt(model)) ** 2) / measured.sum())


@pytest.mark.parametrize("pixels", [(0, 0), (5, -9), (-12, 3)])
def test_truth_and_positions_agree(geometry, holder, ideal, pixels):
    side = geometry.frame_side
    world = world_of(geometry, holder, ideal)
    step_um = geometry.object_pixel * 1e6
    position_um = np.array(pixels) * step_um
    go(world, *position_um)
    measured = pattern(world, side)
    right = r_factor(measured, modelled(world, position_um, side))
    wrong = r_factor(measured, modelled(world, np.add(position_um, (step_um, 0)), side))
    assert right < 0.01
    assert wrong > 5 * right


def test_places_of_the_coarse_stage(geometry, holder, ideal):
    world = world_of(geometry, holder, ideal)
    on_film = world.expose(EXPOSURE_S)
    go(world, *world.places[EMPTY], stage="coarse")
    empty = world.expose(EXPOSURE_S)
    go(world, 0, 1, stage="coarse")
    go(world, 0, -1)
    np.testing.assert_array_equal(world.expose(EXPOSURE_S).frame, on_film.frame)
    assert counts(empty) == pytest.approx(2e7, rel=1e-3)
    assert counts(on_film) < 0.95 * counts(empty)


def test_photons_are_counted(geometry, holder, ideal):
    world = world_of(geometry, holder, ideal, poisson=True, photons_per_second=5e6)
    go(world, *world.places[EMPTY], stage="coarse")
    exposure = world.expose(EXPOSURE_S)
    assert world.photons_on_sample == 0
    assert exposure.monitor_counts == pytest.approx(0.04 * 1e6, abs=1e3)
    assert counts(exposure) == pytest.approx(1e6, abs=6e3)
    assert counts(exposure) != 1e6 != exposure.monitor_counts / 0.04, "two independent counts"
    go(world, 0, 0, stage="coarse")
    world.expose(EXPOSURE_S)
    world.set_transmission(0.1)
    assert world.expose(EXPOSURE_S).monitor_counts == pytest.approx(0.04 * 1e5, abs=300)
    assert world.photons_on_sample == pytest.approx(1.1e6)


def test_a_closed_shutter_leaves_the_dark(geometry, holder, ideal):
    world = world_of(geometry, holder, ideal, poisson=True, hot_pixels=3, background_counts=0.5)
    world.set_shutter(False)
    before = world.photons_on_sample
    exposure = world.expose(EXPOSURE_S)
    assert exposure.monitor_counts == 0
    assert world.photons_on_sample == before
    assert np.count_nonzero(exposure.frame > 0) == 3


def test_photons_come_until_the_shutter_has_closed(geometry, holder, ideal):
    shutter = ShutterTiming(closing_lag_s=0.01, jitter_s=0.0)
    world = world_of(geometry, holder, ideal, photons_per_second=5e6, shutter=shutter)
    exposure = world.expose(EXPOSURE_S)
    world.set_shutter(False)
    world.set_shutter(False)
    rate = exposure.monitor_counts / world.options.monitor_counts_per_photon / EXPOSURE_S
    open_s = shutter.open_s(shutter.commanded_s(EXPOSURE_S))
    assert world.photons_on_sample == pytest.approx(rate * open_s)
    go(world, *world.places[EMPTY], stage="coarse")
    world.set_shutter(True)
    world.set_shutter(False)
    assert world.photons_on_sample == pytest.approx(rate * open_s)


def test_a_shutter_jitters_by_what_it_says(geometry, holder, ideal):
    shutter = ShutterTiming(closing_lag_s=0.01, jitter_s=1e-3)
    world = world_of(geometry, holder, ideal, photons_per_second=5e6, shutter=shutter)
    total = [0.0]
    for _ in range(400):
        world.set_shutter(True)
        world.set_shutter(False)
        total.append(world.photons_on_sample)
    closing = np.diff(total) / 5e6
    assert closing.mean() == pytest.approx(0.01, abs=2e-4)
    assert closing.std() == pytest.approx(1e-3, rel=0.15)


def test_the_detector_counts_what_the_path_lets_through(geometry, holder, ideal):
    path = DetectionPath()
    all_of_it, some = (
        counts(world_of(geometry, holder, ideal, detection=detection).expose(EXPOSURE_S))
        for detection in (LOSSLESS, path)
    )
    assert some / all_of_it == pytest.approx(path.efficiency(geometry.energy_eV), rel=1e-3)


def test_background_follows_the_flux(geometry, holder, ideal):
    world = world_of(geometry, holder, ideal, poisson=True, photons_per_second=5e6, background_counts=0.05)
    corner = world.expose(EXPOSURE_S).frame[:195, :487]
    assert corner.mean() == pytest.approx(0.05, rel=0.1)
    world.set_transmission(0.5)
    assert world.expose(EXPOSURE_S).frame[:195, :487].mean() == pytest.approx(0.025, rel=0.1)


@pytest.mark.parametrize("orientation", DetectorOrientation)
def test_every_orientation_comes_back(geometry, holder, ideal, orientation):
    side = geometry.frame_side
    expected = pattern(world_of(geometry, holder, ideal), side)
    world = world_of(geometry, holder, ideal, orientation=orientation)
    np.testing.assert_array_equal(pattern(world, side), expected)
    if orientation != DetectorOrientation.AS_IS:
        frame = world.expose(EXPOSURE_S).frame
        raw = frame[crop_window(world.beam_centre_px, side, frame.shape)]
        assert r_factor(raw, expected) > 0.05, "the object must be able to tell"


def test_a_stage_that_carries_the_sample_goes_the_other_way(geometry, holder, ideal):
    probe = world_of(geometry, holder, ideal)
    sample = world_of(geometry, holder, ideal, position_sign=PositionSign.SAMPLE)
    go(probe, 0.3, -0.2)
    go(sample, -0.3, 0.2)
    np.testing.assert_array_equal(probe.expose(EXPOSURE_S).frame, sample.expose(EXPOSURE_S).frame)


def test_the_encoder_sees_jitter_between_exposures(geometry, holder, ideal):
    world = world_of(geometry, holder, ideal, jitter_between_nm=20)
    go(world, 0.1, -0.1)
    measured = np.array([world.expose(EXPOSURE_S).position_um for _ in range(60)])
    assert measured.std(axis=0) == pytest.approx([0.02, 0.02], rel=0.3)
    exposure = world.expose(EXPOSURE_S)
    still = world_of(geometry, holder, ideal)
    go(still, *exposure.position_um)
    np.testing.assert_allclose(still.expose(EXPOSURE_S).frame, exposure.frame, atol=1)


@pytest.mark.parametrize("blur", [{"jitter_within_nm": 60.0}, {"source_fwhm_nm": (100.0, 100.0)}])
def test_motion_and_an_extended_source_lower_the_contrast(geometry, star_holder, ideal, blur):
    side = geometry.frame_side
    still, blurring = world_of(geometry, star_holder, ideal), world_of(geometry, star_holder, ideal, **blur)
    go(still, 0.5, 0.2)
    go(blurring, 0.5, 0.2)
    sharp, blurred = pattern(still, side).astype(float), pattern(blurring, side).astype(float)
    assert blurred.sum() == pytest.approx(sharp.sum(), rel=0.02)
    assert np.sum(np.diff(blurred) ** 2) < 0.98 * np.sum(np.diff(sharp) ** 2)


def test_the_same_seed_gives_the_same_frames(geometry, holder, ideal):
    first, again, other = (
        world_of(geometry, holder, ideal, poisson=True, jitter_between_nm=5, seed=seed)
        .expose(EXPOSURE_S)
        .frame
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_the_default_world_has_something_to_find(geometry, star_holder, ideal):
    """A reconstruction that starts at the nominal zone plate does not start at the truth."""
    side = geometry.frame_side
    measured = pattern(world_of(geometry, star_holder, ideal, optic_error=OpticError()), side)
    nominal = modelled(world_of(geometry, star_holder, ideal), (0, 0), side)
    assert 0.02 < r_factor(measured, nominal) < 0.5


def test_no_truth_of_an_unknown_specimen(geometry, holder, ideal):
    with pytest.raises(InputError, match="no specimen 'moon'"):
        world_of(geometry, holder, ideal).truth("moon")


def test_threads_may_turn_knobs_while_others_expose(geometry, holder, ideal):
    world = world_of(geometry, holder, ideal, poisson=True)
    failures = []

    def expose():
        for _ in range(5):
            exposure = world.expose(EXPOSURE_S)
            if counts(exposure) == 0:
                failures.append(exposure)

    def move():
        for i in range(200):
            go(world, 0.001 * i, 0)

    threads = [threading.Thread(target=f) for f in (expose, expose, move)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert world.photons_on_sample == pytest.approx(10 * 2e7)


def test_light_that_no_detector_counts_reaches_the_specimen(geometry, holder, ideal):
    world = world_of(geometry, holder, ideal)
    world.shine((0.5, 0.0), 0.03, beam=0.5)
    assert world.photons_on_sample == pytest.approx(1e8 * 0.03 * 0.5)
    world.shine((30.0, 0.0), 0.03, beam=1.0)  # beside it
    assert world.photons_on_sample == pytest.approx(1e8 * 0.03 * 0.5)


def test_light_between_exposures_leaves_their_noise_as_it_is(geometry, holder, ideal):
    frames = []
    for shines in (False, True):
        world = world_of(geometry, holder, ideal, poisson=True, flux_drift=0.1, jitter_between_nm=10)
        if shines:
            world.shine((0.0, 0.0), 1.0, beam=1.0)
        frames.append(world.expose(EXPOSURE_S).frame)
    np.testing.assert_array_equal(*frames)


def test_an_exposure_on_the_way_is_the_mean_of_its_places(geometry, holder, ideal):
    world = world_of(geometry, holder, ideal)
    path_um = np.array([[0.0, 0.0], [0.0, 0.3]])
    blurred = world.expose_along(path_um, EXPOSURE_S, beam=1.0)
    assert blurred.position_um == pytest.approx((0.0, 0.15))
    sharp = [world.expose_along(place[None], EXPOSURE_S, beam=1.0).frame for place in path_um]
    valid = blurred.frame >= 0
    np.testing.assert_allclose(blurred.frame[valid], np.mean(sharp, axis=0)[valid], atol=1)
    assert np.abs(blurred.frame - sharp[0])[valid].max() > 100


def test_the_beams_brightness_is_the_shutters_and_the_attenuators(geometry, holder, ideal):
    world = world_of(geometry, holder, ideal)
    world.set_transmission(0.25)
    np.testing.assert_array_equal(
        world.expose(EXPOSURE_S).frame, world.expose_along(np.zeros((1, 2)), EXPOSURE_S, beam=0.25).frame
    )


def test_a_wider_source_is_one_that_was_wide_from_the_start(geometry, holder, ideal):
    widened = world_of(geometry, holder, ideal, source_fwhm_nm=(30.0, 0.0))
    widened.set_source((40.0, 0.0))
    wide = world_of(geometry, holder, ideal, source_fwhm_nm=(50.0, 0.0))
    np.testing.assert_array_equal(widened.expose(EXPOSURE_S).frame, wide.expose(EXPOSURE_S).frame)


def test_a_tuned_world_is_one_of_that_energy_from_the_start(geometry, holder, ideal):
    world = world_of(geometry, holder, ideal)
    world.expose(EXPOSURE_S)
    world.set_optics(6300.0, 200e-6)
    frame = world.expose(EXPOSURE_S).frame
    at_once = SimulatedWorld(
        geometry.model_copy(update={"energy_eV": 6300.0}), ZonePlate(defocus=200e-6), ideal, holder
    )
    at_once.set_shutter(True)
    at_once.expose(EXPOSURE_S)
    np.testing.assert_array_equal(frame, at_once.expose(EXPOSURE_S).frame)
    assert world.truth(FILM).pixel == at_once.truth(FILM).pixel
