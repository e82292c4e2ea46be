import numpy as np
import pytest
from pydantic import ValidationError

from ptycho_plugin.errors import InputError
from ptycho_plugin.region_matrix import RegionMatrix
from ptycho_plugin.reproduction.options import ONE_REGION, Conditions, ReproductionOptions
from ptycho_plugin.reproduction.scans import Region, Scan, calibration_scan, scans_of
from ptycho_plugin.simulation.world import SimulatedWorld

REGION = Region("OCT", "1", "A")


def changed(conditions, **changes):
    return Conditions(**(dict(conditions) | changes))


def test_the_published_numbers_are_the_default():
    conditions = Conditions()
    assert len(conditions.trajectory.offsets_um()) == 324
    assert conditions.geometry.object_pixel == pytest.approx(13.54e-9, rel=1e-3)
    assert conditions.geometry.oversampling(450e-9) == pytest.approx(2.9, abs=0.05)
    assert conditions.recipe.first_iterations == 200
    assert conditions.recipe.maximum_likelihood_iterations == 100
    assert conditions.recipe.slices == 1
    beamline = conditions.beamline(7)
    assert beamline.photons_per_second * conditions.exposure_s == pytest.approx(1e6)
    assert beamline.seed == 7


def test_one_region_five_times_by_default_and_ten_of_them_in_full():
    some = list(scans_of(ReproductionOptions()))
    assert len(some) == 25
    assert [scan.name for scan in some[:2]] == ["OCT-1-A-1", "OCT-1-A-2"]
    every = list(scans_of(ReproductionOptions(matrix=RegionMatrix())))
    assert len({scan.name for scan in every}) == len(every) == 5 * 2 * 5 * 5
    assert every[: len(some) // 5] == some[:5]


@pytest.mark.parametrize(
    ("samples", "sentence"),
    [(("moon",), "no sample moon: take some of OCT"), (("OCT", "OCT"), "a sample twice"), ((), "samples")],
)
def test_samples_that_cannot_be_measured_are_refused(samples, sentence):
    with pytest.raises(InputError, match=sentence):
        ReproductionOptions(samples=samples)


def test_options_make_the_round_trip_through_json():
    options = ReproductionOptions.quick()
    assert ReproductionOptions.model_validate_json(options.model_dump_json()) == options
    with pytest.raises(ValidationError):
        ReproductionOptions.model_validate({"conditons": {}})


def test_every_place_has_its_own_octapods_and_every_scan_its_own_noise(options):
    conditions = options.conditions
    places = [Region("OCT", area, region) for area in "12" for region in "AB"] + [Region("drop", "1", "A")]
    assert len({place.seed(conditions) for place in places}) == len(places)
    assert REGION.seed(conditions) != REGION.seed(changed(conditions, seed=1))
    still = changed(conditions, jitter_between_nm=0, drift_nm=0)
    first, again, second = (Scan(REGION, repeat).take(still) for repeat in (1, 1, 2))
    np.testing.assert_array_equal(first.frames, again.frames)
    np.testing.assert_array_equal(first.positions, second.positions)
    assert not np.array_equal(first.frames, second.frames)
    np.testing.assert_allclose(first.frames.mean(axis=0), second.frames.mean(axis=0), atol=60)


def test_the_encoder_sees_jitter_and_no_drift(options):
    conditions = changed(options.conditions, drift_nm=2000.0)
    errors = Scan(REGION, 2).take(conditions).positions - conditions.trajectory.offsets_um() * 1e-6
    assert errors.std() == pytest.approx(10e-9, rel=0.3)
    assert np.abs(errors.mean(axis=0)).max() < 6e-9
    assert np.abs(Scan(REGION, 2).drift_um(conditions)).max() > 0.5


def test_drift_is_a_walk_whose_steps_do_not_change_when_there_are_more():
    conditions = Conditions(drift_nm=20.0)
    walks = np.array(
        [
            [Scan(Region("OCT", "1", str(region)), repeat).drift_um(conditions) for repeat in (1, 2, 3)]
            for region in range(200)
        ]
    )
    assert walks[:, 0].std() == pytest.approx(0.02, rel=0.1)
    assert np.diff(walks, axis=1).std() == pytest.approx(0.02, rel=0.1)


def test_drift_takes_the_probe_along_the_sample(options, monkeypatch):
    """The probe is at its measured place, and the drift farther, on the truth."""
    seen = []
    diffracted = SimulatedWorld._in_beam

    def watched(world, stage_um):
        name, places = diffracted(world, stage_um)
        seen.append(places.mean(axis=0))
        return name, places

    monkeypatch.setattr(SimulatedWorld, "_in_beam", watched)
    far = changed(options.conditions, drift_nm=100.0)
    scan = Scan(REGION, 2)
    found = scan.take(far)
    on_sample_um = np.array(seen).reshape(len(found), -1, 2)[:, 0]
    expected = found.positions * 1e6 + scan.drift_um(far)
    np.testing.assert_allclose(on_sample_um, expected, atol=1e-9)


def test_the_calibration_is_of_the_test_specimen_and_starts_from_the_nominal_probe(options):
    conditions = options.conditions
    scan = calibration_scan(conditions)
    np.testing.assert_array_equal(scan.probe, conditions.optic.probe(conditions.geometry))
    bare = Scan(REGION, 1).take(conditions)
    gold, octapods = (dataset.frames.std(axis=0).sum() for dataset in (scan, bare))
    assert gold > 2 * octapods


def test_one_region_is_part_of_the_whole_matrix():
    (place,) = ONE_REGION.places((0.0, 0.0))
    assert place == next(RegionMatrix().places((0.0, 0.0)))
