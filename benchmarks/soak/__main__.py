"""Interrupt guarded scans at random moments, and audit each: ``python -m benchmarks.soak --runs N --seed S``.

The last line is one JSON object; the exit status is 0 if nothing is wrong.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.soak.audit import Findings
from benchmarks.soak.harness import KINDS, Harness
from benchmarks.soak.options import QUICK, TRAJECTORIES


def main() -> int:
    """Run the soak."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--runs", type=int, default=300, help="completed repeats")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="scans of a few points")
    parser.add_argument("--folder", type=Path, help="keep ledger, documents and frames here")
    arguments = parser.parse_args()
    began = time.monotonic()
    total = Findings()
    with tempfile.TemporaryDirectory() as temporary:
        folder = (arguments.folder or Path(temporary)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        with Harness(folder, arguments.seed, QUICK if arguments.quick else TRAJECTORIES) as harness:
            for number in range(arguments.runs):
                found = harness.run(number)
                total.add(found)
                print(f"run {number}: {', '.join(harness.made)}", file=sys.stderr)
                for sentence in found.said:
                    print(f"run {number}: {sentence}", file=sys.stderr)
            made = {kind: harness.interruptions[kind] for kind in KINDS}
            print("interruptions: " + ", ".join(f"{number} {kind}" for kind, number in made.items()))
            print(f"kills with an exposure under way: {harness.kills_in_exposures} of {harness.kills}")
            print(f"exposures of the sample: {harness.exposures}")
            print(f"points exposed again as asked: {harness.again}")
            print(f"frames lost to a failing disk: {harness.lost}")
    print(f"{time.monotonic() - began:.0f} s")
    print(json.dumps({"runs": arguments.runs, **total.counts}))
    return 1 if total.said else 0


if __name__ == "__main__":
    sys.exit(main())
