"""The demo, with a smaller scan and a shorter recipe."""

import json

import matplotlib.image
import pytest
import typer.testing

from ptycho_plugin.cli import app, demo
from ptycho_plugin.errors import InputError
from ptycho_plugin.reconstruction import ReconstructionOptions
from ptycho_plugin.trajectory import ConcentricRings

SMALL = ConcentricRings(height_um=1.6, width_um=1.6)
SHORT = ReconstructionOptions(difference_map_iterations=50, maximum_likelihood_iterations=30)
KEYS = [
    "points",
    "run_uid",
    "first_map_s",
    "final_map_s",
    "phase_error",
    "phase_error_smooth",
    "frc_05_nm",
    "tiled_path",
]


def test_the_demo_finds_the_truth_and_draws_it(tmp_path):
    figures = demo.demonstrate(tmp_path, SMALL, SHORT, time_factor=0.1)
    assert list(figures) == KEYS
    assert figures["points"] == len(SMALL.offsets_um())
    assert figures["tiled_path"] == f"reconstructions/{figures['run_uid']}"
    assert figures["phase_error"] < 0.45
    assert figures["frc_05_nm"] < 27
    assert matplotlib.image.imread(tmp_path / demo.PICTURE).std() > 0.1


def test_the_last_line_is_one_json_object(tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "demonstrate", lambda output: {"points": 324, "output": str(output)})
    answer = typer.testing.CliRunner().invoke(app, ["demo", "-o", str(tmp_path)])
    assert json.loads(answer.stdout.splitlines()[-1]) == {"points": 324, "output": str(tmp_path)}


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be made"):
        demo.demonstrate(tmp_path / "file" / "demo")
