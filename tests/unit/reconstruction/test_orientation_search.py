"""Which way detector and stage are mounted, on scans that were mounted in a known way."""

from dataclasses import replace
from functools import cache
from itertools import product

import numpy as np
import pytest

from ptycho_plugin.errors import InputError
from ptycho_plugin.orientation import DetectorOrientation, PositionSign
from ptycho_plugin.reconstruction import orientation_search
from ptycho_plugin.reconstruction.groups import halved
from ptycho_plugin.reconstruction.orientation_evidence import FoundOrientation, Hypothesis
from ptycho_plugin.reconstruction.orientation_search import compared, find_orientation, read_as
from ptycho_plugin.reconstruction.whole_scan import reconstruct

EVERY_HYPOTHESIS = [
    Hypothesis(orientation=orientation, position_sign=sign)
    for orientation, sign in product(DetectorOrientation, PositionSign)
]
AS_IS = EVERY_HYPOTHESIS[0]
FRAMES = 48


def mounted(dataset, truth):
    """The scan as a detector and a stage deliver it that are mounted so."""
    undo = next(
        orientation
        for orientation in DetectorOrientation
        if orientation.followed_by(truth.orientation) is DetectorOrientation.AS_IS
    )
    return read_as(dataset, Hypothesis(orientation=undo, position_sign=truth.position_sign))


def search(dataset, sign=PositionSign.PROBE, frames=FRAMES, **options):
    return find_orientation(dataset, position_sign=sign, frames=frames, **options)


@pytest.fixture
def one_of_each(monkeypatch):
    """Mountings differ in which hypothesis reads the scan in which way: each way is reconstructed once."""
    scans = {}

    @cache
    def once(key, options):
        return reconstruct(scans[key], options)

    def remembered(dataset, options):
        key = dataset.frames.tobytes(), dataset.positions.tobytes()
        scans[key] = dataset
        return once(key, options)

    monkeypatch.setattr(orientation_search, "reconstruct", remembered)


def test_every_mounting_is_found(simulate, one_of_each):
    dataset = simulate(subpixel=True, photons=1e5).dataset()
    for truth in EVERY_HYPOTHESIS:
        found = search(mounted(dataset, truth), truth.position_sign)
        assert (found.orientation, found.position_sign) == (truth.orientation, truth.position_sign)
        assert found.candidates == (truth,)
        assert found.verdict.startswith(f"{truth}: class by data consistency")
        assert found.trials[1].chance < 1e-6


def test_an_asymmetric_start_probe_tells_the_stage_s_sign_too(simulate):
    truth = EVERY_HYPOTHESIS[11]
    found = search(mounted(simulate(asymmetry=3.0).dataset(), truth), sign=None)
    assert found.candidates == (truth,)
    assert [e.question for e in found.evidence if e.decides] == ["class", "conjugation", "inversion"]
    assert len(found.trials) == 16


def test_a_symmetric_start_probe_does_not(simulate):
    found = search(simulate(asymmetry=0.0).dataset(), sign=None)
    assert found.orientation is None
    assert found.position_sign is None
    inverse = Hypothesis(orientation=DetectorOrientation.ROTATE_180, position_sign=PositionSign.SAMPLE)
    assert set(found.candidates) == {AS_IS, inverse}
    assert found.verdict.endswith("does not tell the stage's sign: give the position sign")


def in_focus(simulate, **sample):
    """A probe with no phase at all, and no error in the start probe."""
    scan = simulate(curvature=0.0, asymmetry=0.0, **sample)
    return scan.dataset(probe=scan.probe.astype(np.complex64))


def test_without_defocus_and_absorption_conjugates_are_alike(simulate):
    found = search(in_focus(simulate, matter=0.0), frames=100)
    turned = AS_IS.model_copy(update={"orientation": DetectorOrientation.ROTATE_180})
    assert found.orientation is None
    assert set(found.candidates) == {AS_IS, turned}
    assert "neither start probe nor contrast" in found.verdict


@pytest.mark.parametrize("orientation", [DetectorOrientation.AS_IS, DetectorOrientation.ROTATE_180])
def test_without_defocus_the_sample_s_contrast_decides(simulate, orientation):
    truth = Hypothesis(orientation=orientation, position_sign=PositionSign.PROBE)
    dataset = mounted(in_focus(simulate, matter=0.3), truth)
    assert search(dataset, frames=100).candidates == (truth,)
    assert len(search(dataset, frames=100, denser_is_more_negative=False).candidates) == 2


def test_a_start_probe_of_the_wrong_defocus_is_contradicted(simulate):
    scan = simulate(matter=0.3)
    found = search(scan.dataset(probe=scan.probe.conj().astype(np.complex64)))
    assert found.orientation is None
    assert AS_IS in found.candidates
    assert "contradict one another: check the sign of the probe's defocus" in found.verdict


@pytest.mark.parametrize("seed", range(2))
def test_frames_that_no_hypothesis_explains_are_ambiguous(simulate, seed):
    dataset = simulate(photons=1e5, seed=seed).dataset()
    order = np.random.default_rng(seed).permutation(FRAMES)
    found = search(replace(dataset, frames=dataset.frames[order], positions=dataset.positions[:FRAMES]))
    assert found.orientation is None
    assert found.trials[1].chance > 0.01
    assert found.verdict.startswith("ambiguous: the frames fit")
    assert [e.source for e in found.evidence] == ["data consistency", "start probe"]


def test_a_few_photons_are_a_thin_margin(simulate):
    found = search(simulate(photons=100).dataset())
    assert found.orientation is None
    assert AS_IS in found.candidates


def test_what_was_found_survives_json(simulate):
    found = search(simulate(photons=100).dataset())
    assert FoundOrientation.model_validate_json(found.model_dump_json()) == found


def test_equal_hypotheses_seldom_look_different():
    """Of Tukey's test: about one in twenty tables of noise has a chance below 1/20 in it."""
    rng = np.random.default_rng(6)
    groups = rng.normal(size=(100, 1, 4))
    tables = np.exp(groups + 0.01 * rng.normal(size=(100, 4, 4)))
    farthest = [compared(EVERY_HYPOTHESIS[:4], table)[-1].chance for table in tables]
    assert 0 < np.mean(np.array(farthest) < 0.05) < 0.12


def test_a_class_is_what_frames_cannot_tell_apart(simulate):
    """Conjugates and inverses of object and probe diffract as the hypotheses of a class say."""
    scan = simulate(noise=False, asymmetry=3.0)
    corners = scan.positions_px.astype(int)

    def frames(object_, probe, corners):
        patches = np.stack([object_[r : r + 32, c : c + 32] for r, c in corners])
        far = np.fft.fft2(probe * patches, norm="ortho")
        return np.abs(np.fft.fftshift(far, axes=(-2, -1))) ** 2

    def inverted(array):
        return array[..., ::-1, ::-1]

    there = np.array(scan.object.shape) - 32 - corners
    truth = frames(scan.object, scan.probe[0], corners)
    turned = DetectorOrientation.ROTATE_180.about_beam(truth)
    conjugate = frames(scan.object.conj(), scan.probe[0].conj(), corners)
    inverse = frames(inverted(scan.object), inverted(scan.probe[0]), there)
    both = frames(inverted(scan.object).conj(), inverted(scan.probe[0]).conj(), there)
    np.testing.assert_allclose(conjugate, turned, atol=1e-6 * truth.max())
    np.testing.assert_allclose(inverse, turned, atol=1e-6 * truth.max())
    np.testing.assert_allclose(both, truth, atol=1e-6 * truth.max())


def test_there_are_four_classes_of_four():
    classes = {frozenset(filter(h.same_class, EVERY_HYPOTHESIS)) for h in EVERY_HYPOTHESIS}
    assert sorted(map(len, classes)) == [4, 4, 4, 4]


def test_groups_are_compact_and_hold_every_point_once():
    points = np.random.default_rng(7).random((50, 2)) * [1, 4]
    groups = halved(points, 2)
    assert sorted(np.concatenate(groups)) == list(range(50))
    assert max(np.ptp(points[group], axis=0).max() for group in groups) < 1.3


def test_what_cannot_be_searched_is_one_sentence(simulate):
    dataset = simulate().dataset()
    with pytest.raises(InputError, match="no start probe"):
        search(replace(dataset, probe=None))
    with pytest.raises(InputError, match="39 frames do not tell the orientation; give 40 or more"):
        search(dataset, frames=39)
    near = dataset.geometry.in_near_field(1e-3)
    with pytest.raises(InputError, match="near field"):
        search(replace(dataset, geometry=near))
