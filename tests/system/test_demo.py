"""The demo, with a smaller scan and a shorter recipe."""

import json
import sys
from contextlib import nullcontext

import matplotlib.image
import pytest
import typer.testing

from ptycho_plugin.cli import app, demo, main
from ptycho_plugin.devices import simulated_beamline
from ptycho_plugin.errors import InputError
from ptycho_plugin.reconstruction.options import ReconstructionOptions
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
    figures = demo.demonstrate(
        tmp_path,
        SMALL,
        SHORT,
        lambda frames, store: nullcontext(simulated_beamline(frames, calibrations=store, time_factor=0.1)),
    )
    assert list(figures) == KEYS
    assert figures["points"] == len(SMALL.offsets_um())
    assert figures["tiled_path"] == f"reconstructions/{figures['run_uid']}"
    assert figures["phase_error"] < 0.45
    assert figures["frc_05_nm"] < 27
    assert matplotlib.image.imread(tmp_path / demo.PICTURE).std() > 0.1


def test_the_last_line_is_one_json_object(tmp_path, monkeypatch):
    def pretend(output, make_beamline):
        return {"points": 324, "output": str(output), "beamline": make_beamline.__name__}

    monkeypatch.setattr(demo, "demonstrate", pretend)
    for options, beamline in (([], "in_process"), (["--epics"], "over_channel_access")):
        answer = typer.testing.CliRunner().invoke(app, ["demo", "-o", str(tmp_path), *options])
        said = {"points": 324, "output": str(tmp_path), "beamline": beamline}
        assert json.loads(answer.stdout.splitlines()[-1]) == said


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="file/demo/frames cannot be written: Not a directory"):
        demo.demonstrate(tmp_path / "file" / "demo")


@pytest.mark.parametrize("taken", ["frames", "tiled", "spool"])
def test_a_file_where_a_folder_should_be_is_refused(tmp_path, taken):
    (tmp_path / taken).touch()
    with pytest.raises(InputError, match=f"{taken} cannot be written"):
        demo.demonstrate(tmp_path)


def test_an_output_that_is_a_file_is_one_sentence(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").touch()
    monkeypatch.setattr(sys, "argv", ["ptycho", "demo", "-o", str(tmp_path / "file")])
    with pytest.raises(SystemExit, match="2"):
        main()
    stdout, stderr = capsys.readouterr()
    assert (stdout, len(stderr.splitlines())) == ("", 1)
    assert "name another --output" in stderr


def test_a_read_only_folder_is_refused(tmp_path):
    (tmp_path / "frames").mkdir()
    (tmp_path / "tiled").mkdir()
    (tmp_path / "spool").mkdir()
    tmp_path.chmod(0o555)
    with pytest.raises(InputError, match="is read-only"):
        demo.demonstrate(tmp_path)
