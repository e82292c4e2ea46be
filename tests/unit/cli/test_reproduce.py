import json

import numpy as np
import pytest

from ptycho_plugin.reproduction.options import ReproductionOptions
from ptycho_plugin.reproduction.run import MeasuredRegion
from ptycho_plugin.reproduction.scans import scans_of
from ptycho_plugin.reproduction.store import RepeatMap
from ptycho_plugin.simulation.specimens import Truth

TRANSMISSION = np.exp(-0.25j * np.ones((9, 9))).astype(np.complex64)


@pytest.fixture
def asked(monkeypatch):
    """A stand-in for the reproduction, which records what it was asked; its maps are of two codes."""
    calls = []

    def reproduce(options, folder, report):
        calls.append((options, folder))
        places = np.array([[-2.0, -2.0], [2.0, 2.0]])
        repeats = tuple(
            RepeatMap(TRANSMISSION, places, places, (0.0, 0.0), 0.02, code) for code in ("one", "other")
        )
        report(1, 2, "OCT-1-A-1")
        region = next(scans_of(options)).region
        return (MeasuredRegion(region, repeats, Truth(TRANSMISSION, 1.0, (-4.0, -4.0))),)

    monkeypatch.setattr("ptycho_plugin.reproduction.run.reproduce", reproduce)
    return calls


def test_the_last_line_is_one_object_of_figures(ptycho, asked, tmp_path):
    status, stdout, stderr = ptycho("reproduce", "-o", tmp_path)
    assert status == 0
    figures = json.loads(stdout.splitlines()[-1])
    assert figures["points"] == 324
    assert figures["object_pixel_nm"] == pytest.approx(13.54, abs=0.01)
    assert figures["samples"]["OCT"][0]["max_phase_true_rad"] == 0.25
    assert "2 states of the code" in stderr
    assert asked == [(ReproductionOptions(), tmp_path)]


def test_full_is_the_published_matrix_of_the_samples_chosen(ptycho, asked, tmp_path):
    assert ptycho("reproduce", "--full", "--sample", "drop", "--sample", "OCT", "-o", tmp_path)[0] == 0
    ((options, _),) = asked
    assert options.samples == ("drop", "OCT")
    assert len(list(scans_of(options))) == 2 * 2 * 5 * 5
    assert options.conditions == ReproductionOptions().conditions


def test_quick_is_a_trial(ptycho, asked, tmp_path):
    assert ptycho("reproduce", "--quick", "-o", tmp_path)[0] == 0
    assert asked[0][0] == ReproductionOptions.quick()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [(("--full", "--quick"), "choose one of them"), (("--sample", "moon"), "there is no sample moon")],
)
def test_what_cannot_be_asked_is_refused(ptycho, asked, tmp_path, arguments, sentence):
    status, _, stderr = ptycho("reproduce", *arguments, "-o", tmp_path)
    assert status == 2
    assert sentence in stderr
    assert not asked
