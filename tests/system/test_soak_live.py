"""A short form of the soak: the worker, Tiled, and everything at once are killed in a scan."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
RUNS = 3


def test_nothing_is_lost_and_nothing_there_twice(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.soak_live", "--runs", str(RUNS), "--folder", str(tmp_path)]
    soak = subprocess.run([*command, "--seed", "3"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert soak.returncode == 0, soak.stderr
    found = json.loads(soak.stdout.splitlines()[-1])
    assert found == {"runs": RUNS, "lost": 0, "twice": 0, "unequal": 0}, soak.stderr
