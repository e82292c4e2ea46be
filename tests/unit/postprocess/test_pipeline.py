"""Five repeats become one map, of which one knows how good it is."""

import json
from dataclasses import replace

import numpy as np
import pytest

from ptycho_plugin.errors import InputError
from ptycho_plugin.materials import CDS, PMMA
from ptycho_plugin.postprocess.account import facts_of
from ptycho_plugin.postprocess.pipeline import PostprocessingOptions, postprocess
from ptycho_plugin.postprocess.registration import DISTINCT, MARGIN_PX
from ptycho_plugin.postprocess.resolution import SAME_RESTORATION, SAME_SOURCE
from ptycho_plugin.postprocess.restoration_options import RestorationOptions

INNER = slice(MARGIN_PX, -MARGIN_PX)
PLAIN = PostprocessingOptions(restoration=None, material=CDS, matrix=PMMA)


@pytest.fixture(scope="module")
def result(region_maps):
    return postprocess(region_maps, PLAIN.model_copy(update={"restoration": RestorationOptions()}))


@pytest.fixture(scope="module")
def true_phase(truth):
    return np.angle(truth)[INNER, INNER]


def error(phase, true_phase):
    return np.std(phase - true_phase)


def test_a_result_prints_without_its_arrays(region_maps):
    told = repr(postprocess(region_maps, PLAIN))
    assert told.startswith(f"<RegionResult of {len(region_maps.photons)} repeats, ")
    assert "array" not in told


def test_the_average_is_the_truth_within_its_error(result, true_phase):
    average = result.average
    assert error(average.mean, true_phase) < 1.15 * np.sqrt(np.mean(average.standard_error**2))
    assert abs(np.mean(average.mean - true_phase)) < average.standard_error.mean()
    assert error(average.mean, true_phase) < 0.55 * error(result.phases[0], true_phase)


def test_the_drift_is_told(result, drift_px):
    np.testing.assert_allclose(result.drift_px, drift_px, atol=0.05)
    np.testing.assert_allclose(result.drift, 13.54e-9 * drift_px, atol=0.7e-9)


def test_each_row_of_resolutions_is_finer_than_the_one_before(result):
    single, averaged, restored = result.single, result.averaged, result.restored_halves
    assert single.half_period > averaged.half_period
    assert averaged.half_period > restored.half_period
    assert single.warning is None
    assert averaged.warning is None
    assert restored.warning == SAME_RESTORATION


def test_what_was_restored_is_closer_to_what_was_not_blurred(result, truth):
    frequency = np.fft.fftfreq(len(truth))
    spectrum = np.fft.fft2(np.angle(truth))
    sharp = np.exp(2 * np.pi**2 * (frequency[:, None] ** 2 + frequency**2))
    known = np.hypot(frequency[:, None], frequency) < 0.4
    unblurred = np.fft.ifft2(spectrum * sharp * known).real[INNER, INNER]
    assert error(result.restored.phase, unblurred) < 0.9 * error(result.average.mean, unblurred)


def test_the_maximum_is_the_truth_within_its_spread(result, true_phase):
    assert result.maximum.value == pytest.approx(-true_phase.min(), abs=1.5 * result.maximum.error)
    assert result.maximum.percentile == pytest.approx(-np.percentile(true_phase, 0.1), rel=0.03)


def test_matter_is_told_of_the_average(result, true_phase):
    per_radian = (result.mass_per_area / result.average.mean).mean()
    assert per_radian == pytest.approx(-4826 * 0.2e-9 / (2 * np.pi * 1.606e-5), rel=1e-3)
    assert (result.electron_density[true_phase < -0.1] > 0).all()


def test_photons_are_weights(region_maps, result):
    flat = postprocess(replace(region_maps, photons=np.ones(5)), PLAIN)
    assert flat.average.standard_error.mean() > result.average.standard_error.mean()


def test_a_ground_that_is_given_is_the_zero(region_maps, true_phase):
    ground = np.pad(true_phase > -1e-3, MARGIN_PX)
    found = postprocess(region_maps, PLAIN, ground)
    where = true_phase > -1e-3
    assert abs(found.average.mean[where].mean()) < 1e-6
    assert np.array_equal(found.flat.ground, where)


def test_two_repeats_are_enough(region_maps):
    two = replace(
        region_maps,
        transmissions=region_maps.transmissions[:2],
        photons=region_maps.photons[:2],
        sources=region_maps.sources[:2],
    )
    found = postprocess(two, PLAIN)
    assert found.restored is None
    assert found.single.half_period == found.averaged.half_period
    assert found.average.standard_error.mean() == pytest.approx(0.013 / np.sqrt(2), rel=0.2)


def test_repeats_of_one_run_are_warned_of(region_maps):
    found = postprocess(replace(region_maps, sources=("run 0",) * 5), PLAIN)
    assert found.single.warning == found.averaged.warning == SAME_SOURCE


def test_a_map_that_is_given_twice_is_warned_of_without_its_source(region_maps):
    twice = region_maps.transmissions[[0, 1, 0]]
    unnamed = replace(region_maps, transmissions=twice, photons=np.ones(3), sources=("",) * 3)
    assert postprocess(unnamed, PLAIN).single.warning == SAME_SOURCE


def test_a_repeat_that_shows_nothing_of_the_others_is_told(region_maps):
    images = region_maps.transmissions.copy()
    images[2] = np.roll(images[2], 110, axis=0)
    found = postprocess(replace(region_maps, transmissions=images), PLAIN)
    assert found.lost == [2]
    assert facts_of(found)["lost_repeats"] == [2]


def test_a_repeat_beyond_the_border_that_is_cut_off_is_told(region_maps):
    images = region_maps.transmissions.copy()
    images[2] = np.roll(images[2], MARGIN_PX + 3, axis=0)
    assert postprocess(replace(region_maps, transmissions=images), PLAIN).lost == [2]


def test_repeats_that_show_the_same_are_not_lost(result):
    assert result.lost == []
    assert result.distinctness.min() > 2 * DISTINCT


@pytest.mark.parametrize(("value", "said"), [(np.nan, "repeat 2 holds values that are not"), (1, "constant")])
def test_a_map_that_cannot_be_used_is_refused(region_maps, value, said):
    images = region_maps.transmissions.copy()
    images[2] = value
    with pytest.raises(InputError, match=said):
        replace(region_maps, transmissions=images)


def test_maps_of_different_size_are_refused(region_maps):
    unlike = [region_maps.transmissions[0], region_maps.transmissions[1][:-3, :-3]]
    with pytest.raises(InputError, match=r"\(240, 240\), \(237, 237\) px are no stack: cut one window"):
        replace(region_maps, transmissions=unlike, photons=np.ones(2), sources=("a", "b"))


def test_it_says_what_made_it(result):
    made = json.loads(json.dumps(result.provenance()))
    assert PostprocessingOptions.model_validate(made["options"]) == result.options
    assert made["source"] == {"runs": [f"run {number}" for number in range(5)]}
    assert "scikit-image" in made["packages"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"transmissions": np.ones((1, 90, 90), complex)}, r"maps of shape \(1, 90, 90\) are no repeats"),
        ({"transmissions": np.ones((5, 90, 80), complex)}, r"give \(repeat, side, side\), two or more"),
        ({"sources": ("a", "b")}, "5 numbers of photons and 2 sources do not fit 5 repeats"),
        ({"transmissions": np.ones((5, 47, 47), complex)}, "maps of 47 px leave nothing .* 48 px or more"),
        ({"transmissions": np.zeros((5, 90, 90))}, r"float64 are no transmissions: .* exp\(1j"),
        ({"photons": np.array([1.0, 1.0, 0.0, 1.0, 1.0])}, r"photons of \[1.0, 1.0, 0.0, .* cannot be"),
        ({"photons": np.array([1.0, 1.0, np.nan, 1.0, 1.0])}, "photons of .* give what is above zero"),
        ({"pixel": 0.0}, "pixel of 0.0 cannot be"),
        ({"energy_eV": np.nan}, "energy_eV of nan cannot be"),
    ],
)
def test_what_are_no_repeats_is_refused(region_maps, change, said):
    with pytest.raises(InputError, match=said):
        replace(region_maps, **change)


@pytest.mark.parametrize(
    ("ground", "said"),
    [
        (np.ones((60, 60), bool), r"a ground of bool, \(60, 60\) px, does not fit maps of \(240, 240\) px"),
        (np.ones((240, 240), np.uint8), "a ground of uint8, .* give a bool for each pixel"),
    ],
)
def test_a_ground_of_other_pixels_is_refused(region_maps, ground, said):
    with pytest.raises(InputError, match=said):
        postprocess(region_maps, PLAIN, ground)


def test_the_smallest_maps_give_figures(region_maps):
    few = replace(region_maps, transmissions=region_maps.transmissions[:, 96:144, 96:144])
    found = postprocess(few, PLAIN)
    assert np.isfinite([found.single.half_period, found.averaged.half_period, found.maximum.value]).all()


def test_mass_without_a_material_is_refused(result):
    bare = replace(result, options=PostprocessingOptions())
    with pytest.raises(InputError, match="without a material: give one in the options"):
        _ = bare.mass_per_area
