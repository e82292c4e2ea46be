import json
from dataclasses import replace

import h5py
import numpy as np
import pytest

from ptycho_plugin.errors import DivergenceError
from ptycho_plugin.io import write_dataset
from ptycho_plugin.reconstruction.result import Progress


@pytest.fixture
def engine(monkeypatch, small_result):
    """A stand-in for the engines, which records what it was called with."""
    calls = []

    def reconstruct(dataset, options, report):
        calls.append((dataset, options))
        report(Progress("difference map", 1, 300, len(dataset), 0.4))
        return small_result

    monkeypatch.setattr("ptycho_plugin.reconstruction.whole_scan.reconstruct", reconstruct)
    return calls


def test_it_writes_the_result_and_one_line_of_json(ptycho, engine, scan_file, tmp_path):
    output = tmp_path / "map.h5"
    status, stdout, stderr = ptycho("reconstruct", scan_file, "-o", output)
    assert status == 0
    assert stderr == ""
    assert json.loads(stdout.splitlines()[-1]) == {
        "R": 0.09,
        "verdict": "green",
        "reasons": [
            "R is 0.09, 0.90 times that of Poisson noise alone, and nothing else speaks against the map"
        ],
        "iterations": 3,
        "seconds": 1.5,
        "device": "cpu",
        "frames": 12,
        "output": str(output),
    }
    with h5py.File(output) as file:
        made_by = json.loads(file["provenance"][()])
    assert made_by["frame_range"] == [0, 12]
    assert made_by["options"]["difference_map_iterations"] == 200
    assert made_by["source"]["path"] == str(scan_file)
    assert made_by["command"].startswith("ptycho reconstruct")


def test_options_reach_the_engines(ptycho, engine, scan_file, tmp_path):
    chosen = ("--difference-map", 7, "--maximum-likelihood", 0, "--probe-modes", 3, "--device", "cpu")
    assert ptycho("reconstruct", scan_file, "-o", tmp_path / "map.h5", *chosen)[0] == 0
    options = engine[0][1]
    assert (options.difference_map_iterations, options.maximum_likelihood_iterations) == (7, 0)
    assert (options.probe_modes, options.device) == (3, "cpu")


def test_a_recipe_holds_any_option_and_the_command_line_goes_before_it(ptycho, engine, scan_file, tmp_path):
    recipe = tmp_path / "recipe.toml"
    recipe.write_text("probe_modes = 2\nslices = 3\nslice_distance = 8e-6\n")
    chosen = ("--recipe", recipe, "--probe-modes", 4)
    assert ptycho("reconstruct", scan_file, "-o", tmp_path / "map.h5", *chosen)[0] == 0
    options = engine[0][1]
    assert (options.probe_modes, options.slices, options.slice_distance) == (4, 3, 8e-6)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("probe_modes = ", "recipe.toml is no recipe"),
        ("probes = 2", "ReconstructionOptions has no probes"),
        ("probe_modes = 0", "probe_modes = 0 cannot be used"),
        ("smoothness = 3\nmaximum_likelihood_iterations = 0", "smoothness: the maximum likelihood alone"),
        (None, "recipe.toml is no recipe"),
    ],
)
def test_a_bad_recipe_is_one_sentence(ptycho, engine, scan_file, tmp_path, text, sentence):
    recipe = tmp_path / "recipe.toml"
    if text is not None:
        recipe.write_text(text)
    status, stdout, stderr = ptycho("reconstruct", scan_file, "-o", tmp_path / "map.h5", "--recipe", recipe)
    assert (status, stdout, engine) == (2, "", [])
    assert sentence in stderr
    assert len(stderr.splitlines()) == 1


def test_a_checkpoint_in_the_output_s_place_is_refused(ptycho, engine, scan_file, tmp_path):
    same = ("-o", tmp_path / "map.h5", "--checkpoint", tmp_path / "." / "map.h5")
    status, stdout, stderr = ptycho("reconstruct", scan_file, *same)
    assert (status, stdout, engine) == (2, "", [])
    assert "is the output as well" in stderr


def test_a_near_field_starts_from_the_mean_frame(ptycho, engine, tmp_path, small_scan):
    write_dataset(tmp_path / "scan.h5", replace(small_scan, probe=None))
    near = ("--focus-to-sample-mm", 3.65)
    assert ptycho("reconstruct", tmp_path / "scan.h5", "-o", tmp_path / "map.h5", *near)[0] == 0
    dataset = engine[0][0]
    assert dataset.geometry.focus_to_sample == pytest.approx(3.65e-3)
    assert np.sum(np.abs(dataset.probe) ** 2) == pytest.approx(small_scan.frames.sum() / 12, rel=1e-4)


def test_the_file_s_probe_is_the_start(ptycho, engine, scan_file, tmp_path, small_scan):
    ptycho("reconstruct", scan_file, "-o", tmp_path / "map.h5")
    assert np.array_equal(engine[0][0].probe, small_scan.probe)


def test_a_zone_plate_takes_its_place(ptycho, engine, tmp_path, small_scan):
    write_dataset(tmp_path / "scan.h5", replace(small_scan, probe=None))
    arguments = ("reconstruct", tmp_path / "scan.h5", "-o", tmp_path / "map.h5")
    status, _, stderr = ptycho(*arguments)
    assert status == 2
    assert "holds no start probe ('probe0' of a file" in stderr
    assert ptycho(*arguments, "--zone-plate", 200, 50, 40, -270)[0] == 0
    assert engine[0][0].probe.shape == (1, 16, 16)


def test_detector_marks_are_told(ptycho, engine, tmp_path, small_scan):
    frames = small_scan.frames.copy()
    frames[:, 3, 3] = -1
    write_dataset(tmp_path / "scan.h5", replace(small_scan, frames=frames, mask=frames[0] >= 0))
    with h5py.File(tmp_path / "scan.h5", "r+") as file:
        del file["mask"]
    status, stdout, stderr = ptycho("reconstruct", tmp_path / "scan.h5", "-o", tmp_path / "map.h5")
    assert status == 0
    assert "masked 12 detector marks in 12 frames (12 of -1)" in stderr
    assert len(stdout.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{scan}", "-o", "{tmp}"], "is a folder"),
        (["{scan}", "-o", "{tmp}/none/map.h5"], "there is no folder"),
        (["{scan}", "-o", "{scan}"], "is the input file"),
        (["{tmp}/none.h5", "-o", "{tmp}/map.h5"], "is not a file"),
        (["http://127.0.0.1:9?api_key=0", "-o", "{tmp}/map.h5"], "give the uid of its run, and the address"),
        (
            ["{scan}", "-o", "{tmp}/map.h5", "--difference-map", "0", "--maximum-likelihood", "0"],
            "no iterations",
        ),
        (
            ["{scan}", "-o", "{tmp}/map.h5", "--zone-plate", "0", "50", "0", "0"],
            "--zone-plate 0 50 0 0: ZonePlate: diameter = 0.0 cannot be used: Input should be greater than 0",
        ),
        (
            ["{scan}", "-o", "{tmp}/map.h5", "--zone-plate", "200", "50", "300", "0"],
            "the stop must be smaller than the diameter",
        ),
    ],
)
def test_a_bad_argument_is_one_sentence_and_starts_nothing(
    ptycho, engine, scan_file, tmp_path, arguments, message
):
    filled = [argument.format(scan=scan_file, tmp=tmp_path) for argument in arguments]
    status, stdout, stderr = ptycho("reconstruct", *filled)
    assert (status, stdout, engine) == (2, "", [])
    assert stderr.startswith("ptycho: ")
    assert message in stderr
    assert len(stderr.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["scan.h5"]


def test_an_engine_that_diverges_leaves_no_output_but_what_was_good(
    ptycho, monkeypatch, scan_file, tmp_path, small_result
):
    def diverge(*_args):
        raise DivergenceError("the difference map diverged", small_result)

    monkeypatch.setattr("ptycho_plugin.reconstruction.whole_scan.reconstruct", diverge)
    status, _, stderr = ptycho("reconstruct", scan_file, "-o", tmp_path / "map.h5")
    kept = tmp_path / "map.diverged.h5"
    assert status == 2
    assert stderr == f"ptycho: the difference map diverged; the last good state is in {kept}\n"
    assert {path.name for path in tmp_path.iterdir()} == {"scan.h5", "map.diverged.h5"}
    with h5py.File(kept) as file:
        np.testing.assert_array_equal(file["object"], small_result.object)
        assert json.loads(file["provenance"][()])["error"] == "the difference map diverged"


def test_an_interrupt_ends_it_quietly(ptycho, monkeypatch, scan_file, tmp_path):
    def interrupt(*_args):
        raise KeyboardInterrupt

    monkeypatch.setattr("ptycho_plugin.reconstruction.whole_scan.reconstruct", interrupt)
    status, stdout, stderr = ptycho("reconstruct", scan_file, "-o", tmp_path / "map.h5")
    assert (status, stdout) == (130, "")
    assert "Traceback" not in stderr
    assert not (tmp_path / "map.h5").exists()


def test_help_shows_an_example_and_the_version_is_known(ptycho):
    assert "ptycho reconstruct scan.h5 -o map.h5" in ptycho("reconstruct", "--help")[1]
    assert ptycho("--version")[1].startswith("ptycho 0.")
