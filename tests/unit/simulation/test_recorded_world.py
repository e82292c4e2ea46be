import numpy as np
import pytest

from ptycho_plugin.dataset import PtychoDataset
from ptycho_plugin.errors import InputError
from ptycho_plugin.geometry import Geometry
from ptycho_plugin.orientation import crop_window
from ptycho_plugin.simulation.recorded import RecordedWorld

SIDE = 16
GEOMETRY = Geometry(energy_eV=6200, distance=2.0, detector_pixel=172e-6, frame_side=SIDE)
STEP_UM = 0.2


def recorded(frames=None, **changes):
    rng = np.random.default_rng(0)
    grid = np.stack(np.meshgrid(np.arange(3), np.arange(4), indexing="ij"), -1).reshape(-1, 2)
    mask = np.ones((SIDE, SIDE), bool)
    mask[3, 5] = False
    frames = rng.poisson(50, (12, SIDE, SIDE)) if frames is None else frames
    scan = {
        "frames": frames,
        "positions": grid * STEP_UM * 1e-6,
        "mask": mask,
        "geometry": GEOMETRY,
        "source": "scan.h5",
    }
    return PtychoDataset(**scan | changes)


def at(world, row_um, column_um):
    world.set_shutter(True)
    world.move("stage_row", row_um)
    world.move("stage_column", column_um)
    return world.expose(0.2)


def test_every_frame_is_replayed_exactly():
    dataset = recorded()
    world = RecordedWorld(dataset)
    assert world.detector_shape == (SIDE, SIDE)
    for frame, position in zip(dataset.frames, dataset.positions, strict=True):
        exposure = at(world, *position * 1e6)
        replayed = exposure.frame[crop_window(world.beam_centre_px, SIDE, exposure.frame.shape)]
        np.testing.assert_array_equal(replayed[dataset.mask], frame[dataset.mask])
        assert (replayed[~dataset.mask] == -1).all()
        assert replayed.dtype == np.int32
        assert exposure.monitor_counts == frame[dataset.mask].sum()
        np.testing.assert_allclose(exposure.position_um, position * 1e6, atol=1e-12)


def test_the_nearest_frame_wins_within_half_a_step():
    world = RecordedWorld(recorded())
    exposure = at(world, 0.2 + 0.06, 0.4 - 0.06)
    np.testing.assert_allclose(exposure.position_um, (0.2, 0.4))


def test_farther_than_half_a_step_is_refused():
    with pytest.raises(InputError, match=r"nothing was recorded at \(-0\.110, 0\.000\)"):
        at(RecordedWorld(recorded()), -0.11, 0)


def test_the_coarse_stage_counts():
    world = RecordedWorld(recorded())
    world.move("coarse_column", 0.4)
    np.testing.assert_allclose(at(world, 0, -0.2).position_um, (0, -0.2), atol=1e-12)


def test_repeated_places_do_not_shrink_the_step():
    dataset = recorded()
    doubled = recorded(
        frames=np.concatenate([dataset.frames] * 2), positions=np.concatenate([dataset.positions] * 2)
    )
    assert at(RecordedWorld(doubled), 0.05, 0).position_um == (0, 0)


def test_what_was_recorded_at_one_place_comes_in_its_order_and_again():
    frames = np.arange(12)[:, None, None] * np.ones((SIDE, SIDE), int)
    doubled = recorded(frames=frames, positions=np.tile(recorded().positions[:4], (3, 1)))
    world = RecordedWorld(doubled)
    counts = [int(at(world, 0, 0.2).frame.max()) for _ in range(4)]
    assert counts == [1, 5, 9, 1]
    assert at(world, 0, 0).frame.max() == 0


def test_one_frame_is_found_within_its_pixel():
    single = recorded(frames=recorded().frames[:1], positions=np.zeros((1, 2)))
    pixel_um = GEOMETRY.object_pixel * 1e6
    assert at(RecordedWorld(single), 0.9 * pixel_um, 0).position_um == (0, 0)
    with pytest.raises(InputError):
        at(RecordedWorld(single), 1.1 * pixel_um, 0)


def test_a_closed_shutter_gives_zeros():
    world = RecordedWorld(recorded())
    exposure = world.expose(0.2)
    assert exposure.frame.max() == 0
    assert exposure.monitor_counts == 0


def test_a_caller_may_change_its_frame():
    world = RecordedWorld(recorded())
    at(world, 0, 0).frame[:] = 7
    assert not np.all(at(world, 0, 0).frame == 7)


@pytest.mark.parametrize("count", [0.5, 2.0**31])
def test_counts_that_no_camera_delivers_are_refused(count):
    frames = recorded().frames.astype(float)
    frames[2, 1, 1] = count
    with pytest.raises(InputError, match=r"scan\.h5"):
        RecordedWorld(recorded(frames=frames))


def test_a_recording_cannot_be_attenuated():
    world = RecordedWorld(recorded())
    world.set_transmission(1)
    with pytest.raises(InputError, match="attenuated"):
        world.set_transmission(0.5)


def test_photons_come_at_the_rate_of_the_recording_whether_counted_or_not():
    dataset = recorded()
    world = RecordedWorld(dataset)
    world.expose_along(np.zeros((1, 2)), 0.2, beam=1.0)
    world.shine((0.0, 0.0), 0.1, beam=0.5)
    a_frame = dataset.frames[:, dataset.mask].sum() / len(dataset)
    assert world.photons_on_sample == pytest.approx(1.25 * a_frame)
    dark = world.expose_along(np.zeros((1, 2)), 0.2, beam=0.0)
    assert dark.frame.max() == 0
    assert world.photons_on_sample == pytest.approx(1.25 * a_frame)


def test_a_recording_keeps_its_energy():
    world = RecordedWorld(recorded())
    world.set_optics(6200.5, defocus=1.0)
    with pytest.raises(InputError, match=r"recorded at 6200.0 eV cannot be replayed at 6300.0 eV"):
        world.set_optics(6300.0, defocus=0.0)
