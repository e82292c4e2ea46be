"""A series that ends when its region has had enough: the stop rule that looks at the maps."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import IO, Annotated, Any, cast

import bluesky.plan_stubs as bps
from bluesky.utils import MsgGenerator
from pydantic import Field

from ptycho_plugin.errors import ReconstructionError
from ptycho_plugin.live.question import RECIPE, MeasuredRepeat, Question
from ptycho_plugin.plans.arguments import Number, checked
from ptycho_plugin.plans.stop_rule import RepeatDone
from ptycho_plugin.plans.stubs import POLL_S
from ptycho_plugin.postprocess.stopping import StopCriteria, Verdict
from ptycho_plugin.publishing.connection import split_key
from ptycho_plugin.reconstruction.options import ReconstructionOptions

PATIENCE_S = 600.0
LOG_NAME = "judge.log"
"""In the spool folder of a repeat's last run."""


class AdaptiveStop:
    """Stops a region that dies, or whose resolution is reached: ``dose_series(stop_rule=...)``.

    After each repeat a process of its own reconstructs it, from what a `LiveReconstruction` has spooled,
    and compares all repeats of the region; the plan waits for it with the shutter closed. Maps are kept in
    the spool, so that a series that goes on another day is compared with its first repeat.

    Parameters
    ----------
    tiled_uri, spool, data, api_key
        As for the `LiveReconstruction`, which must be subscribed.
    criteria : StopCriteria
        By default the damage watch alone.
    recipe : ReconstructionOptions
        One for all repeats.
    patience_s : float
        How long a verdict may take. After that, and where no repeat can be judged, the series says so and
        goes on without.

    Raises
    ------
    InputError
        For an argument that cannot be used.
    """

    @checked
    def __init__(
        self,
        tiled_uri: str,
        spool: str | Path,
        data: str | Path,
        *,
        criteria: StopCriteria = StopCriteria(),  # noqa: B008  frozen
        recipe: ReconstructionOptions = RECIPE,
        api_key: str | None = None,
        patience_s: Annotated[Number, Field(gt=0, json_schema_extra={"units": "s"})] = PATIENCE_S,
    ) -> None:
        address, key = split_key(tiled_uri)
        module = ["-m", "ptycho_plugin.live.judge"]
        self._command = [sys.executable, *module, "--tiled", address, "--data", str(Path(data).resolve())]
        self._environment = {"TILED_API_KEY": used} if (used := api_key or key) else {}
        self._spool = Path(spool).resolve()
        self._criteria = criteria
        self._recipe = recipe
        self._patience_s = patience_s
        self._repeats: dict[int, dict[int, MeasuredRepeat]] = {}
        """Of each region, by their numbers."""

    def __call__(self, done: RepeatDone) -> MsgGenerator[Verdict]:
        """Judge a region after a repeat.

        Raises
        ------
        ReconstructionError
            If there is no verdict: it says why, or names the log that does.
        """
        known = self._repeats.setdefault(done.region.key, {})
        known[done.repeat] = MeasuredRepeat(
            run=self._spool / done.run_uids[-1],
            dose_before=done.dose_before,
            dose_after=done.dose_after,
            photons=done.photons,
        )
        if not known[done.repeat].run.is_dir():
            raise ReconstructionError(
                f"run {done.run_uids[-1]} has no spool in {self._spool}: subscribe a LiveReconstruction with "
                "this spool, as nothing else keeps what is to be judged"
            )
        repeats = tuple(known[number] for number in sorted(known) if number <= done.repeat)
        question = Question(repeats=repeats, criteria=self._criteria, recipe=self._recipe)
        log = repeats[-1].run / LOG_NAME
        answer = yield from self._ask(question, log)
        if "error" in answer:
            raise ReconstructionError(f"repeat {done.repeat} of {done.region}: {answer['error']}")
        return Verdict(**answer)

    def _ask(self, question: Question, log: Path) -> MsgGenerator[dict[str, Any]]:
        """Return what the process says."""
        with (
            log.open("a") as errors,
            subprocess.Popen(  # noqa: S603  (our own interpreter and module)
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=os.environ | self._environment,
                text=True,
                start_new_session=True,  # Ctrl-C pauses the RunEngine, and must not end the process
            ) as process,
        ):
            try:
                with suppress(BrokenPipeError), cast(IO[str], process.stdin) as asked:  # it may have failed
                    asked.write(question.model_dump_json())
                yield from self._until_ended(process)
            finally:
                process.kill()
            said = cast(IO[str], process.stdout).read()
        try:
            answer: dict[str, Any] = json.loads(said)
        except ValueError:
            raise ReconstructionError(
                f"the process that judges ended with status {process.returncode}: read {log}"
            ) from None
        return answer

    def _until_ended(self, process: subprocess.Popen[str]) -> MsgGenerator[None]:
        latest = monotonic() + self._patience_s
        while process.poll() is None:
            if monotonic() > latest:
                raise ReconstructionError(
                    f"there is no verdict after {self._patience_s:g} s: use a quicker recipe, or have more "
                    "patience_s"
                )
            yield from bps.sleep(POLL_S)
