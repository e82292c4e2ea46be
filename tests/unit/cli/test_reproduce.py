import json

import numpy as np
import pytest

from ptycho_plugin.reproduction.options import ReproductionOptions
from ptycho_plugin.reproduction.run import MeasuredRegion
from ptycho_plugin.reproduction.scans import scans_of
from ptycho_plugin.reproduction.store import RepeatMap
from ptycho_plugin.simulation.specimens import Truth

FOUND = {
    "points": 324,
    "samples": {
        "OCT": {
            "half_bit_single_nm": 41.23,
            "half_bit_average_nm": None,
            "half_bit_restored_nm": 13.5417,
            "true_restored_nm": 29.9,
            "max_phase_rad": 0.058,
            "max_phase_error_rad": 0.012,
            "max_phase_true_rad": 0.045,
            "max_phase_true_as_shown_rad": 0.049,
            "percentile_rad": 0.031,
            "percentile_error_rad": 0.001,
            "percentile_true_rad": 0.03,
            "percentile_true_as_shown_rad": 0.032,
        }
    },
}
TRANSMISSION = np.exp(-0.25j * np.ones((9, 9))).astype(np.complex64)


@pytest.fixture
def asked(monkeypatch):
    """A stand-in for the reproduction, which records what it was asked; its maps are of two codes."""
    calls = []

    def reproduce(options, folder, report):
        calls.append((options, folder))
        places = np.array([[-2.0, -2.0], [2.0, 2.0]])
        repeats = tuple(
            RepeatMap(TRANSMISSION, places, places, (0.0, 0.0), np.ones(9), 5, 0.02, code)
            for code in ("one", "other")
        )
        report(1, 2, "OCT-1-A-1")
        region = next(scans_of(options)).region
        return (MeasuredRegion(region, repeats, Truth(TRANSMISSION, 1.0, (-4.0, -4.0))),)

    monkeypatch.setattr("ptycho_plugin.reproduction.run.reproduce", reproduce)
    judged = "ptycho_plugin.reproduction.figures"
    monkeypatch.setattr(f"{judged}.judged", lambda conditions, measured: measured.region.name)
    monkeypatch.setattr(f"{judged}.section", lambda conditions, name: name)
    monkeypatch.setattr(f"{judged}.figures", lambda conditions, names: FOUND)
    monkeypatch.setattr(
        "ptycho_plugin.view.report.write_report", lambda sections, title, path: path.write_text(str(sections))
    )
    return calls


def test_the_last_line_is_one_object_of_figures(ptycho, asked, tmp_path):
    status, stdout, stderr = ptycho("reproduce", "-o", tmp_path)
    assert status == 0
    *table, last = stdout.splitlines()
    assert json.loads(last) == FOUND | {"report": str(tmp_path / "report.html")}
    assert "mean nothing" not in stdout
    (row,) = (line for line in table if "OCT" in line)
    assert [cell.strip() for cell in row.split("│")[1:-1]] == [
        "OCT",
        "41.2",
        "none",
        "13.5",
        "29.9",
        "0.058 ± 0.012",
        "0.045 / 0.049",
        "0.031 ± 0.001",
        "0.030 / 0.032",
    ]
    assert any("34 to 41" in line for line in table)
    assert (tmp_path / "report.html").read_text() == "['OCT-1-A']"
    assert "2 states of the code" in stderr
    assert asked == [(ReproductionOptions(), tmp_path)]


def test_full_is_the_published_matrix_of_the_samples_chosen(ptycho, asked, tmp_path):
    assert ptycho("reproduce", "--full", "--sample", "drop", "--sample", "OCT", "-o", tmp_path)[0] == 0
    ((options, _),) = asked
    assert options.samples == ("drop", "OCT")
    assert len(list(scans_of(options))) == 2 * 2 * 5 * 5
    assert options.conditions == ReproductionOptions().conditions


def test_quick_is_a_trial(ptycho, asked, tmp_path):
    status, stdout, _ = ptycho("reproduce", "--quick", "-o", tmp_path)
    assert status == 0
    assert "its figures mean nothing" in stdout
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
