"""A short form of the soak: Tiled, the worker, and everything at once are killed in a scan."""

from pathlib import Path

from benchmarks.soak_live.audit import Findings
from benchmarks.soak_live.harness import KINDS, Harness


def test_nothing_is_lost_and_nothing_there_twice(tmp_path: Path) -> None:
    with Harness(tmp_path, seed=3) as harness:
        for what in ("worker", "tiled", "all"):
            done, found = harness.run(KINDS.index(what))
            assert found == Findings(), done
