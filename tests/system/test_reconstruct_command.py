"""``ptycho reconstruct`` as a user runs it, in a process of its own, on recorded scans."""

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from ptycho_plugin.simulation.score import score

PTYCHO = Path(sys.executable).with_name("ptycho")
STANDARD_CASE = "standard_case.h5"
NEAR_FIELD_STAR = np.array([120.0, 119.0])  # px, (row, column) in the object
STAR_FROM_MEAN_POSITION = np.array([60.9, 41.3])  # px, (row, column), top-left corners of the patches


def _run(*arguments) -> subprocess.CompletedProcess:
    return subprocess.run([PTYCHO, *map(str, arguments)], capture_output=True, text=True, check=False)


def _reconstruct(scan: Path, output: Path, *options) -> dict:
    done = _run("reconstruct", scan, "-o", output, *options)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture
def few_frames(shared_data, tmp_path):
    """The first 60 frames of the standard case, truth included."""
    path = tmp_path / "few.h5"
    with h5py.File(shared_data / STANDARD_CASE) as whole, h5py.File(path, "w") as few:
        for name in whole:
            whole.copy(name, few)
        for name in ("diffraction", "positions", "positions_px"):
            del few[name]
            few[name] = whole[name][:60]
    return path


def test_the_truth_changes_no_bit(few_frames, tmp_path):
    stripped = tmp_path / "stripped.h5"
    shutil.copy(few_frames, stripped)
    with h5py.File(stripped, "r+") as file:
        del file["truth"]
    recipe = ("--difference-map", 5, "--maximum-likelihood", 3)
    _reconstruct(few_frames, tmp_path / "with.h5", *recipe)
    _reconstruct(stripped, tmp_path / "without.h5", *recipe)
    with h5py.File(tmp_path / "with.h5") as one, h5py.File(tmp_path / "without.h5") as other:
        for name in ("object", "probe", "phase", "amplitude", "positions", "positions_px", "error"):
            assert one[name][()].tobytes() == other[name][()].tobytes()


def test_a_killed_reconstruction_goes_on_from_its_checkpoint(few_frames, tmp_path):
    """Killed for good after its first checkpoint, it ends with the bits of one that was not."""
    recipe = ("--difference-map", 20, "--maximum-likelihood", 20)
    whole, resumed, checkpoint = (tmp_path / name for name in ("whole.h5", "resumed.h5", "half.h5"))
    _reconstruct(few_frames, whole, *recipe)
    arguments = ["reconstruct", few_frames, "-o", resumed, *recipe, "--checkpoint", checkpoint]
    script = (
        "import os, signal, sys\n"
        "from ptycho_plugin.cli import main, reconstruct\n"
        "from ptycho_plugin.io import checkpoint\n"
        "write = checkpoint.write_checkpoint\n"
        "def write_and_die(*arguments):\n"
        "    write(*arguments)\n"
        "    if len(arguments[1]._errors) == 27: os.kill(os.getpid(), signal.SIGKILL)\n"
        "checkpoint.write_checkpoint, reconstruct.CHECKPOINT_S = write_and_die, 0\n"
        "main()\n"
    )
    killed = subprocess.run([sys.executable, "-c", script, *map(str, arguments)], capture_output=True)
    assert killed.returncode == -signal.SIGKILL
    assert not resumed.exists()
    assert _run(*arguments).returncode == 0
    assert not checkpoint.exists()
    with h5py.File(whole) as one, h5py.File(resumed) as other:
        for name in ("object", "probe", "error", "residual"):
            np.testing.assert_array_equal(one[name][()], other[name][()])


def test_a_truncated_scan_is_one_sentence(few_frames, tmp_path):
    part = tmp_path / "part.h5"
    part.write_bytes(few_frames.read_bytes()[:100_000])
    done = _run("reconstruct", part, "-o", tmp_path / "map.h5")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith(f"ptycho: {part} cannot be read")
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "map.h5").exists()


def test_a_near_field_file_without_a_probe_says_what_is_missing(shared_data, tmp_path):
    done = _run("reconstruct", shared_data / "petra_p25_nearfield.cxi", "-o", tmp_path / "map.h5")
    assert done.returncode == 2
    assert "holds no start probe" in done.stderr
    assert "--focus-to-sample-mm" in done.stderr


@pytest.mark.timeout(900)
def test_a_near_field_comes_out(shared_data, tmp_path):
    """Real data: a star of 28 spokes with a ring at about 31 px."""
    recipe = ("--focus-to-sample-mm", 3.65, "--difference-map", 10, "--maximum-likelihood", 60)
    summary = _reconstruct(shared_data / "petra_p25_nearfield.cxi", tmp_path / "map.h5", *recipe)
    assert summary["R"] <= 0.12
    with h5py.File(tmp_path / "map.h5") as file:
        assert file["geometry/object_pixel"][()] == pytest.approx(178.66e-9, rel=1e-4)
        ring = _ring(file["amplitude"][()], NEAR_FIELD_STAR, radius=45)
    harmonics = np.abs(np.fft.rfft(ring - ring.mean()))
    assert harmonics.argmax() == 28
    assert harmonics[28] > 3 * np.delete(harmonics, 28).max()


@pytest.mark.timeout(900)
def test_the_standard_case_meets_its_figures(shared_data, tmp_path):
    summary = _reconstruct(shared_data / STANDARD_CASE, tmp_path / "map.h5")
    assert (summary["iterations"], summary["frames"]) == (300, 324)
    with h5py.File(shared_data / STANDARD_CASE) as case, h5py.File(tmp_path / "map.h5") as found:
        reached = score(
            found["object"][()],
            found["positions_px"][()],
            case["truth/object"][()],
            case["positions_px"][()],
            float(case["object_pixel_size"][()]),
        )
    assert reached.phase_error < 0.45
    assert reached.frc_05_nm < 27


@pytest.mark.timeout(900)
def test_the_siemens_star_comes_out(shared_data, tmp_path):
    """Real data in the right orientation: thirty spokes, a flat disc in their middle, and R."""
    recipe = ("--difference-map", 60, "--maximum-likelihood", 20)
    summary = _reconstruct(shared_data / "aps_siemens_star.h5", tmp_path / "map.h5", *recipe)
    assert summary["R"] <= 0.13
    with h5py.File(tmp_path / "map.h5") as file:
        phase = file["phase"][()]
        centre = file["positions_px"][()].mean(axis=0) + STAR_FROM_MEAN_POSITION
    ring = _ring(phase, centre, radius=100)
    harmonics = np.abs(np.fft.rfft(ring - ring.mean()))
    assert harmonics.argmax() == 30
    assert harmonics[30] > 3 * np.delete(harmonics, 30).max()
    dark, bright = np.percentile(ring, [20, 80])
    assert 0.6 < bright - dark < 1.1
    assert _ring(phase, centre, radius=20).std() < 0.1


def _ring(phase: np.ndarray, centre: np.ndarray, radius: float) -> np.ndarray:
    """Return the phase around a circle."""
    angle = np.linspace(0, 2 * np.pi, 1440, endpoint=False)
    at = [centre[0] + radius * np.sin(angle), centre[1] + radius * np.cos(angle)]
    return map_coordinates(phase, at, order=1)
