"""One repeat after the other, interrupted and called again until it is complete."""

from __future__ import annotations

import queue
import random
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from benchmarks.soak.audit import Findings, Repeat, audit, exposures_of
from benchmarks.soak.options import BUDGET, EXPOSURE_S, REACH_UM, SAMPLE, TIME_FACTOR
from benchmarks.soak.processes import BeamProcess, ScanProcess
from ptycho_plugin.errors import LedgerError
from ptycho_plugin.ledger import Ledger, Region
from ptycho_plugin.trajectory import ConcentricRings

KINDS = (
    "kill",
    "pause",
    "kill in an exposure",
    "deferred pause",
    "abort",
    "kill in an exposure",
    "suspender",
    "camera",
    "frame",
    "kill",
    "stop",
    "paused abort",
)
"""In turn; a third are kills. The camera fails before an exposure, the frame when it is to be written."""
KILLS = ("kill", "kill in an exposure")
FAILURES = ("camera", "frame")
SEVERAL = ("pause", "deferred pause", "suspender")
MOST_MOMENTS = 3
"""At which one call is interrupted by one of these."""
SECOND = 0.3
"""Part of the runs whose second call is interrupted too."""
AGAIN = 0.5
"""Part of the runs whose uncertain and lost points are exposed again in the end, because it is asked for."""
REGION_REPEATS = 10
REGION_STEP_UM = 50.0
MOST_CALLS = 8
KILL_WITHIN = 0.5
"""Part of an exposure, from its beginning, in which a kill is sent that is to fall into it."""


class Harness:
    """Runs repeats against one beam and one ledger.

    Parameters
    ----------
    folder : Path
        Takes the ledger, documents, frames and logs.
    seed : int
    trajectories : sequence of ConcentricRings
        To choose from.

    Attributes
    ----------
    made : list of str
        Kinds of the interruptions of the last run.
    interruptions : Counter
        How many of each kind have happened; a moment may come after the end of a scan.
    kills, kills_in_exposures, exposures, again, lost : int
        So far; `again` are points that were exposed again because it was asked for, `lost` those
        whose frame a failing disk took.
    """

    def __init__(self, folder: Path, seed: int, trajectories: Sequence[ConcentricRings]) -> None:
        self._trajectories = trajectories
        self._seed = seed
        self._rng = random.Random(seed)
        self._folder = folder
        self._point_s = 0.1
        """How long a point takes, as last seen."""
        self.interruptions = Counter[str]()
        self._failures: list[str] = []
        """Of calls, for reasons that the soak has not given."""
        self.made: list[str] = []
        self.kills = self.kills_in_exposures = self.exposures = self.again = self.lost = 0
        with ExitStack() as stack:
            path = folder / "soak.ledger"
            self._ledger = stack.enter_context(Ledger(path, new=True))
            self._ledger.samples.mount(SAMPLE)
            self._beam = BeamProcess(folder / "beam.jsonl")
            stack.callback(self._beam.close)
            self._scanner = ScanProcess(self._beam.port, path, folder)
            stack.callback(self._scanner.close)
            self._opened = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.close()

    def run(self, number: int, kind: str | None = None) -> Findings:
        """Interrupt a repeat until it is complete, and return what is wrong with it.

        Parameters
        ----------
        number : int
            It chooses, with the seed, how.
        kind : str, optional
            Of the first interruption, one of `KINDS`.
        """
        self._rng = random.Random(self._seed * 1_000_003 + number)
        region, repeat = self._region(number // REGION_REPEATS), 1 + number % REGION_REPEATS
        trajectory = self._rng.choice(self._trajectories)
        self.made = [kind or KINDS[number % len(KINDS)]]
        if self._rng.random() < SECOND:
            self.made.append(self._rng.choice(KINDS))
        kills = self.kills
        self._until_complete(region, repeat, trajectory)
        openings = self._beam.openings()
        found = self._audit(region, repeat, openings, self.kills - kills)
        progress = self._ledger.scans.progress(region, repeat)
        again = (*progress.uncertain, *progress.lost)
        if again and self._rng.random() < AGAIN:
            self._call(region, repeat, trajectory, "none", again=True)
            self.again += len(again)
            openings += self._beam.openings()
            found.add(self._audit(region, repeat, openings, self.kills - kills, again))
        for sentence in self._failures:
            found.count("missing", 1, sentence)
        self._failures.clear()
        exposures = [exposure for opening in openings for exposure in opening["exposures"]]
        self.exposures += len(exposures)
        self.kills_in_exposures += sum(0 < exposure["part"] < 1 for exposure in exposures)
        return found

    def _region(self, number: int) -> Region:
        known = {region.name: region for region in self._ledger.samples.regions(SAMPLE)}
        name = f"region {number}"
        if name not in known:
            place = (0.0, REGION_STEP_UM * number)
            region = self._ledger.samples.place_region(SAMPLE, "1", name, stage_um=place, reach_um=REACH_UM)
            self._ledger.samples.set_budget(region, BUDGET)
            return region
        return known[name]

    def _until_complete(self, region: Region, repeat: int, trajectory: ConcentricRings) -> None:
        for call in range(MOST_CALLS):
            kind = self.made[call] if call < len(self.made) else "none"
            self._call(region, repeat, trajectory, kind)
            if self._is_complete(region, repeat):
                del self.made[call + 1 :]
                return
        self._failures.append(f"repeat {repeat} of {region} is not complete after {MOST_CALLS} calls")

    def _is_complete(self, region: Region, repeat: int) -> bool:
        try:
            return self._ledger.scans.progress(region, repeat).is_complete
        except LedgerError as error:  # an exposure was not settled, and its session lives
            self._failures.append(str(error))
            self._scanner.kill()
            return False

    def _call(
        self, region: Region, repeat: int, trajectory: ConcentricRings, kind: str, *, again: bool = False
    ) -> None:
        """Call a scan, interrupt it, and see how it ends."""
        left = len(self._ledger.scans.progress(region, repeat).left) or len(trajectory.offsets_um())
        run_s, exposure = left * self._point_s, self._rng.randrange(left)
        in_process = "none" if kind in KILLS else kind
        moments = self._rng.randint(1, MOST_MOMENTS) if kind in SEVERAL else int(in_process != "none")
        self._beam.forget_exposing()
        self._scanner.begin(
            area="1",
            name=region.name,
            repeat=repeat,
            trajectory=trajectory.model_dump(),
            again=again,
            kind=in_process,
            moments_s=[self._rng.uniform(0, run_s) for _ in range(moments)],
            exposure=exposure,
        )
        if kind in KILLS and self._kill(kind, exposure, run_s):
            self.interruptions[kind] += 1
            return
        answer = self._scanner.end()
        self.interruptions[kind] += answer["interruptions"]
        if answer["error"] and kind not in FAILURES:
            self._failures.append(f"a call with the interruption '{kind}' failed: {answer['error']}")
        if kind == "none" and answer["run_s"]:
            self._point_s = answer["run_s"] / left

    def _kill(self, kind: str, exposure: int, run_s: float) -> bool:
        """Kill the scanning process, unless the call is over before; return whether it was."""
        if kind == "kill":
            over = self._scanner.is_over(within_s=self._rng.uniform(0, run_s + 1.0))
        else:
            over = not all(self._begins() for _ in range(exposure + 1))
            over = over or self._scanner.is_over(
                within_s=self._rng.uniform(0, KILL_WITHIN * EXPOSURE_S * TIME_FACTOR)
            )
        if over:
            return False
        self._scanner.kill()
        self.kills += 1
        return True

    def _begins(self) -> bool:
        """Wait for the next exposure to begin; return False where the call ends before."""
        while not self._scanner.is_over():
            try:
                self._beam.exposing.get(timeout=0.05)
            except queue.Empty:
                continue
            return True
        return False

    def _audit(
        self,
        region: Region,
        repeat: int,
        openings: list[dict[str, Any]],
        kills: int,
        again: tuple[int, ...] = (),
    ) -> Findings:
        progress = self._ledger.scans.progress(region, repeat)
        failed = self.made.count("frame")
        if not again:
            self.lost += len(progress.lost)
        exposures = exposures_of(self._ledger, progress)
        return audit(Repeat(progress, exposures, openings, self._folder, kills, failed, again))
