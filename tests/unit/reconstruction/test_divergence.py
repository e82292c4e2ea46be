"""Divergence stops with a cause and leaves what was good; odd data end in numbers or in a sentence."""

from dataclasses import replace

import numpy as np
import pytest

from ptycho_plugin.errors import DivergenceError, InputError
from ptycho_plugin.reconstruction.driver import LARGEST_ERROR, Reconstruction
from ptycho_plugin.reconstruction.options import ReconstructionOptions
from ptycho_plugin.reconstruction.whole_scan import reconstruct, started

TINY = ReconstructionOptions(difference_map_iterations=6, maximum_likelihood_iterations=6)
RECIPE = {"difference_map_iterations": 20, "maximum_likelihood_iterations": 20}


@pytest.fixture
def begun(known_scan):
    return started(known_scan.dataset(), TINY)


def spoil(engine, iteration, monkeypatch, error=None):
    """Let an engine fill its estimate with no numbers in some iteration, or return a given error."""
    step, calls = engine.step, []

    def spoilt(**arguments):
        calls.append(None)
        found = step(**arguments)
        if len(calls) < iteration:
            return found
        if error is None:
            engine.estimate = replace(engine.estimate, object=engine.estimate.object * np.float32("nan"))
        return found if error is None else error

    monkeypatch.setattr(engine, "step", spoilt)


@pytest.mark.parametrize("error", [float("nan"), float("inf"), 1.01 * LARGEST_ERROR])
def test_the_map_s_last_good_state_is_kept(begun, monkeypatch, error):
    for _ in range(3):
        begun.iterate()
    good = begun.result()
    spoil(begun._engine, 1, monkeypatch, error)
    with pytest.raises(
        DivergenceError, match=r"difference map diverged in iteration 4 \(error .*\): "
    ) as raised:
        begun.iterate()
    for result in (raised.value.last_good, begun.result()):
        np.testing.assert_allclose(result.object, good.object, atol=1e-6)
        assert result.residual == pytest.approx(good.residual, rel=1e-4)
        assert len(result.errors) == 3


def test_the_likelihood_s_last_good_state_is_the_last_that_was_judged(begun, monkeypatch):
    """R of an iteration is of the estimate before it: no numbers show one iteration later."""
    likelihood, residuals = None, []

    def watch(progress):
        nonlocal likelihood
        if likelihood is None and begun._likelihood is not None:
            likelihood = begun._likelihood
            spoil(likelihood, 2, monkeypatch)
        if likelihood is not None:
            residuals.append(progress.error)

    with pytest.raises(DivergenceError, match="maximum likelihood diverged in iteration 10") as raised:
        begun.finish(watch)
    kept = raised.value.last_good
    assert np.isfinite(kept.slices).all()
    assert len(kept.errors) == 9
    assert kept.residual == pytest.approx(kept.errors[-1], rel=1e-3)


def spoilt(scan, frame, change):
    frames = scan.frames.copy()
    frames[frame] = change(frames[frame])
    return scan.dataset(frames=frames)


def with_a_masked_frame(scan):
    mask = np.ones(scan.frames.shape, bool)
    mask[37] = False
    return scan.dataset(mask=mask)


def with_two_positions_alike(scan):
    positions = scan.positions_px.copy()
    positions[1] = positions[0]
    return scan.dataset(positions=positions * scan.geometry.object_pixel)


def of_one_frame(scan):
    first = slice(1)
    return scan.dataset(
        frames=scan.frames[first], positions=scan.positions_px[first] * scan.geometry.object_pixel
    )


def with_an_empty_mode(scan):
    probe = scan.dataset().probe
    return scan.dataset(probe=np.concatenate([np.zeros_like(probe), probe]))


ODD = {
    "a frame without a count": lambda scan: spoilt(scan, 37, np.zeros_like),
    "a frame without a pixel": with_a_masked_frame,
    "two frames of one place": with_two_positions_alike,
    "one frame": of_one_frame,
    "a full counter": lambda scan: scan.dataset(frames=np.minimum(scan.frames * 100, 2**20 - 1)),
    "a mode without light": with_an_empty_mode,
}
RECIPES = {
    "as published": ReconstructionOptions(**RECIPE),
    "all refined": ReconstructionOptions(
        **RECIPE,
        probe_modes=2,
        position_tolerance=1e-7,
        refine_intensities=True,
        estimate_background=True,
        smoothness=1.0,
    ),
}


@pytest.mark.parametrize("options", RECIPES.values(), ids=RECIPES.keys())
@pytest.mark.parametrize("odd", ODD.values(), ids=ODD.keys())
def test_odd_data_give_numbers(known_scan, odd, options):
    result = reconstruct(odd(known_scan), options)
    for name in ("slices", "probe", "positions", "intensities", "errors", "residual"):
        assert np.isfinite(getattr(result, name)).all(), name


def test_a_frame_far_brighter_than_the_others_stops_it_by_name(known_scan, monkeypatch):
    """Here any error is too large: what is asked for is the name."""
    monkeypatch.setattr("ptycho_plugin.reconstruction.driver.LARGEST_ERROR", 0.0)
    with pytest.raises(DivergenceError, match=r"frame 37 has .* times the counts of the median one"):
        reconstruct(spoilt(known_scan, 37, lambda frame: 1000 * frame), ReconstructionOptions(**RECIPE))


def test_next_to_no_photons_stop_it_by_name(known_scan):
    frames = np.zeros_like(known_scan.frames)
    frames[3, 4, 5] = 1
    with pytest.raises(DivergenceError, match="the median frame has 0 counts"):
        reconstruct(known_scan.dataset(frames=frames), ReconstructionOptions(**RECIPE))


@pytest.mark.parametrize("scale", [1e-30, 1e25])
def test_the_start_probe_s_scale_is_free(known_scan, scale):
    dataset = known_scan.dataset()
    probe = dataset.probe / np.abs(dataset.probe).max()
    found = reconstruct(dataset.with_probe((scale * probe).astype(np.complex64)), TINY)
    expected = reconstruct(dataset.with_probe(probe), TINY)
    np.testing.assert_allclose(found.object, expected.object, atol=2e-3)


@pytest.mark.parametrize("value", [0, float("nan")])
def test_an_empty_start_probe_is_refused(known_scan, value):
    dataset = known_scan.dataset()
    with pytest.raises(InputError, match="the start probe is empty"):
        Reconstruction(dataset.geometry, np.full_like(dataset.probe, value), dataset.positions)


def test_frames_go_back_to_where_the_last_good_state_had_them(simulate, monkeypatch):
    """They move after each judgement; its R is found again only with them."""
    scan = simulate(subpixel=True)
    jitter = np.random.default_rng(1).normal(scale=0.7, size=scan.positions_px.shape)
    options = TINY.model_copy(
        update={"position_tolerance": 3 * scan.geometry.object_pixel, "refine_intensities": True}
    )
    dataset = scan.dataset()
    moved = replace(dataset, positions=dataset.positions + jitter * scan.geometry.object_pixel)
    begun = started(moved, options)

    def stop_later(progress):
        if progress.iteration == 10:
            monkeypatch.setattr(begun._engine, "step", lambda: float("nan"))

    with pytest.raises(DivergenceError) as raised:
        begun.finish(stop_later)
    kept = raised.value.last_good
    assert kept.residual == pytest.approx(kept.errors[-1], rel=1e-3)
    np.testing.assert_array_equal(kept.positions_px, begun._good.positions_px)
