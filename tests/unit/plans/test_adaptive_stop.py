"""The process that judges: what it is asked, and what becomes of one that fails."""

import json
import sys
from pathlib import Path
from typing import Any

import bluesky.plan_stubs as bps
import pytest
from bluesky import RunEngine
from bluesky.utils import MsgGenerator

from ptycho_plugin.errors import InputError, ReconstructionError
from ptycho_plugin.ledger import Region
from ptycho_plugin.plans.adaptive_stop import LOG_NAME, AdaptiveStop
from ptycho_plugin.plans.stop_rule import RepeatDone
from ptycho_plugin.postprocess.stopping import ResolutionReached, StopCriteria, Verdict

REGION = Region(key=3, sample="film", area="1", name="A", centre_um=(0.0, 0.0), reach_um=2.0)
ECHO = "import json, sys; print(json.dumps({'stop': True, 'reason': sys.stdin.read()}))"


def repeat(number: int, *runs: str, region: Region = REGION) -> RepeatDone:
    doses = 10.0 * number - 10.0, 10.0 * number
    return RepeatDone(region, number, runs or (f"run-{number}",), *doses, photons=1e6 * number)


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    for number in range(1, 4):
        (tmp_path / f"run-{number}").mkdir()
    return tmp_path


def rule(spool: Path, script: str, **options: Any) -> AdaptiveStop:
    made = AdaptiveStop("http://127.0.0.1:9?api_key=secret", spool, spool, **options)
    made._command = [sys.executable, "-c", script]
    return made


@pytest.fixture
def ask(engine: RunEngine) -> Any:
    def ask(rule: AdaptiveStop, *done: RepeatDone) -> Verdict:
        answers: list[Verdict] = []

        def plan() -> MsgGenerator[None]:
            for one in done:
                answers.append((yield from rule(one)))

        engine(plan())
        return answers[-1]

    return ask


def asked(verdict: Verdict) -> Any:
    return json.loads(verdict.reason)


def test_it_asks_about_all_repeats_of_the_region(spool: Path, ask: Any) -> None:
    criteria = StopCriteria(resolution=ResolutionReached(resolution=50e-9))
    other = REGION.model_copy(update={"key": 4, "name": "B"})
    asking = rule(spool, ECHO, criteria=criteria)
    question = asked(ask(asking, repeat(1), repeat(1, "run-3", region=other), repeat(2, "run-2", "run-3")))
    assert [one["run"] for one in question["repeats"]] == [str(spool / "run-1"), str(spool / "run-3")]
    assert [(one["dose_before"], one["dose_after"]) for one in question["repeats"]] == [(0, 10), (10, 20)]
    assert question["repeats"][1]["photons"] == 2e6
    assert StopCriteria(**question["criteria"]) == criteria


def test_a_series_that_goes_on_begins_anew(spool: Path, ask: Any) -> None:
    """As a later call asks again about what is complete."""
    asking = rule(spool, ECHO)
    question = asked(ask(asking, repeat(1), repeat(2), repeat(1), repeat(2), repeat(3)))
    assert [one["dose_after"] for one in question["repeats"]] == [10, 20, 30]
    assert len(asked(ask(asking, repeat(1)))["repeats"]) == 1


def test_the_key_is_in_no_command_line_but_in_the_environment(spool: Path, ask: Any) -> None:
    tells = "import json, os; print(json.dumps({'stop': False, 'reason': os.environ['TILED_API_KEY']}))"
    asking = rule(spool, tells)
    assert ask(asking, repeat(1)) == Verdict(stop=False, reason="secret")
    assert "secret" not in " ".join(AdaptiveStop("http://127.0.0.1:9?api_key=secret", spool, spool)._command)


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ('print(\'{"error": "the frames are gone"}\'); exit(1)', "repeat 1 of .*: the frames are gone"),
        ("exit(3)", rf"status 3: read .*run-1/{LOG_NAME}"),
        ("import os; os.kill(os.getpid(), 9)", "status -9"),
        ("print('no object')", "status 0"),
    ],
)
def test_a_process_that_fails_is_told(script: str, said: str, spool: Path, ask: Any) -> None:
    with pytest.raises(ReconstructionError, match=said):
        ask(rule(spool, script), repeat(1))


def test_a_run_that_nobody_spools_is_named(spool: Path, ask: Any) -> None:
    with pytest.raises(ReconstructionError, match=r"run run-9 has no spool in .*: subscribe a LiveRecons"):
        ask(rule(spool, ECHO), repeat(9))


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ({"criteria": ResolutionReached(resolution=3e-8)}, "AdaptiveStop: criteria = "),
        ({"recipe": "fast"}, "AdaptiveStop: recipe = 'fast' cannot be used"),
        ({"patience_s": float("nan")}, "AdaptiveStop: patience_s = nan cannot be used"),
        ({"patience_s": 0}, "AdaptiveStop: patience_s = 0 cannot be used"),
    ],
)
def test_what_cannot_be_used_is_refused_before_a_repeat_is_spent(
    bad: dict[str, Any], said: str, spool: Path
) -> None:
    with pytest.raises(InputError, match=said):
        AdaptiveStop("http://127.0.0.1:9", spool, spool, **bad)


def test_what_it_says_besides_is_in_the_log(spool: Path, ask: Any) -> None:
    with pytest.raises(ReconstructionError, match="status 1"):
        ask(rule(spool, "raise SystemExit('the disk is on fire')"), repeat(1))
    assert "the disk is on fire" in (spool / "run-1" / LOG_NAME).read_text()


def test_a_process_that_does_not_end_is_ended(spool: Path, ask: Any) -> None:
    endless = "import pathlib, os, time; pathlib.Path('PID').write_text(str(os.getpid())); time.sleep(600)"
    pid = spool / "pid"
    with pytest.raises(ReconstructionError, match=r"no verdict after 0\.5 s"):
        ask(rule(spool, endless.replace("PID", str(pid)), patience_s=0.5), repeat(1))
    assert not pid.exists() or not Path(f"/proc/{pid.read_text()}").exists()


def test_the_run_engine_is_free_while_it_judges(spool: Path, engine: RunEngine) -> None:
    waits = "import sys, time, pathlib\nwhile not pathlib.Path('GO').exists(): time.sleep(0.01)\n" + ECHO
    go = spool / "go"
    asking = rule(spool, waits.replace("GO", str(go)))
    engine.loop.call_later(0.2, go.touch)
    engine(asking(repeat(1)))
    assert go.exists()


def test_an_abort_ends_the_process(spool: Path, engine: RunEngine) -> None:
    pid = spool / "pid"
    endless = "import pathlib, os, time; pathlib.Path('PID').write_text(str(os.getpid())); time.sleep(600)"
    asking = rule(spool, endless.replace("PID", str(pid)))

    def fails_when_it_runs() -> MsgGenerator[None]:
        judging = asking(repeat(1))
        while not (pid.exists() and pid.read_text()):
            yield next(judging)
        judging.close()
        yield from bps.null()

    engine(fails_when_it_runs())
    assert not Path(f"/proc/{pid.read_text()}").exists()
