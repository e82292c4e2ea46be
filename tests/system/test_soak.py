"""A short soak: each kind of interruption, with the photons counted in a process of their own."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
RUNS = 12
"""Each kind of interruption begins one, kills a third of them."""


def test_nothing_is_exposed_twice_nothing_is_missing_and_nothing_uncounted(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.soak", "--quick", "--folder", str(tmp_path)]
    soak = subprocess.run(
        [*command, "--runs", str(RUNS), "--seed", "3"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert soak.returncode == 0, soak.stderr
    found = json.loads(soak.stdout.splitlines()[-1])
    assert 0 <= found.pop("uncertain") <= 2 * RUNS // 3
    assert found == {
        "runs": RUNS,
        "double": 0,
        "missing": 0,
        "unequal": 0,
        "off_position": 0,
        "early_reads": 0,
    }
    assert "Traceback" not in soak.stderr
