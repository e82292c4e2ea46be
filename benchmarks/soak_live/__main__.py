"""Kill Tiled, worker, service or RunEngine at random: ``python -m benchmarks.soak_live --runs N``.

The last line is one JSON object: ``runs, lost, twice, unequal``; the exit status is 0 if nothing is wrong.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.soak_live.harness import Harness


def main() -> int:
    """Run the soak."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak_live", description=__doc__)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="keep everything here")
    arguments = parser.parse_args()
    began = time.monotonic()
    figures = {"runs": arguments.runs, "lost": 0, "twice": 0, "unequal": 0}
    with tempfile.TemporaryDirectory() as temporary:
        folder = (arguments.folder or Path(temporary)).resolve()
        with Harness(folder, arguments.seed) as harness:
            for number in range(arguments.runs):
                done, found = harness.run(number)
                figures["lost"] += found.lost
                figures["twice"] += found.twice
                figures["unequal"] += bool(found.unequal)
                print(f"{time.monotonic() - began:.0f} s, run {number}: {done}; {found}", file=sys.stderr)
    print(f"{time.monotonic() - began:.0f} s")
    print(json.dumps(figures))
    return 1 if any(figures[key] for key in ("lost", "twice", "unequal")) else 0


if __name__ == "__main__":
    sys.exit(main())
