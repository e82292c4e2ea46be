"""The benchmark runs without the standard case, and its last line is for machines."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
MEASURED = {
    "dm_over_floor",
    "ml_over_floor",
    "least_squares_over_floor",
    "least_squares_offgrid_over_floor",
    "dm_offgrid_over_floor",
    "ml_offgrid_over_floor",
    "peak_over_exit_waves",
    "least_squares_peak_over_exit_waves",
    "positions_peak_over_exit_waves",
}
NEEDS_A_GPU = {
    "gpu_iterations_per_s_dm",
    "gpu_iterations_per_s_ml",
    "gpu_iterations_per_s_least_squares",
    "gpu_difference_dm",
    "gpu_difference_ml",
}
NEEDS_THE_SCORER = {
    "to_peer_quality_over_floor",
    "phase_error",
    "phase_error_smooth",
    "half_bit_nm",
    "frc_05_nm",
}


def test_a_quick_run_names_every_figure_on_its_last_line(tmp_path):
    file = tmp_path / "figures.json"
    parts = ["--only=speed", "--only=gpu", "--only=memory", "--only=quality"]
    files = [f"--shared={tmp_path}", f"--output={file}"]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.engines", "--quick", *parts, *files],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    *table, line = done.stdout.splitlines()
    figures = json.loads(line)
    assert figures.keys() == MEASURED | NEEDS_A_GPU | NEEDS_THE_SCORER
    assert all(figures[name] > 0 for name in MEASURED)
    assert all(figures[name] is None for name in NEEDS_THE_SCORER)
    assert all(figures[name] is None or figures[name] > 0 for name in NEEDS_A_GPU)
    assert f"There is no {tmp_path}/tools/score.py: nothing was scored." in table
    assert json.loads(file.read_text()) == figures
