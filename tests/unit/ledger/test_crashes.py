"""What was acknowledged survives kill -9; sessions in other processes neither lose nor count double."""

import json
import os
import random
import select
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest

from ptycho_plugin.errors import LedgerError
from ptycho_plugin.ledger import Ledger

KILLS = 25

ENTRIES = """
import json, os, sys
from datetime import UTC, datetime
from ptycho_plugin.errors import LedgerError
from ptycho_plugin.ledger import Beam, CalibrationUsed, Delivered, Intent, Ledger

path, now = sys.argv[1], datetime.now(UTC)
calibration = CalibrationUsed(key="flux-1", date=now, monitor="i0", energy_eV=6200, gain=1e6)
beam = Beam(energy_eV=6200, monitor="i0", gain=1e6, calibration=calibration)
delivered = Delivered(opened=now, closed=now, open_s=0.2, photons=900, photons_uncertainty=30)

def intent(run, point):
    return Intent(on="film", run_uid=run, point=point, start_um=(point, 0), open_s=0.2,
                  photons_at_most=1000, beam=beam)

def say(*what):
    os.write(1, (json.dumps(what) + "\\n").encode())
"""

# Each life is a fork, which has imported everything already.
LIVES = (
    ENTRIES
    + """
for life in sys.stdin:
    child = os.fork()
    if not child:
        ledger, point = Ledger(path), 0
        say("born", os.getpid())
        while True:
            key = ledger.intend(intent(life.strip(), point))
            say("intended", key)
            if point % 5:
                ledger.confirm(key, delivered)
                say("done", key)
            else:
                ledger.withdraw(key, "not armed")
                say("withdrawn", key)
            point += 1
    os.waitpid(child, 0)
    say("dead", child)
"""
)

# One of two that want the same points at once.
RIVAL = (
    ENTRIES
    + """
ledger, won = Ledger(path), []
say("ready")
sys.stdin.readline()
for point in range(30):
    try:
        key = ledger.intend(intent(f"run-{point}", 0))
    except LedgerError as error:
        assert "under way" in str(error) or "must be asked for" in str(error), error
    else:
        ledger.confirm(key, delivered)
        won.append(key)
say(*won)
ledger.close()
"""
)


@pytest.fixture
def film(path):
    """A path to a ledger that knows the sample, with nobody at it."""
    with Ledger(path, new=True) as ledger:
        ledger.samples.mount("film")
    return path


@pytest.fixture
def start():
    """Start programs that are gone when the test is."""
    started = []

    def start(program, *arguments):
        command = [sys.executable, "-c", program, *arguments]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        started.append(process)
        return process

    yield start
    for process in started:
        with process:
            process.stdin.close()


def live_and_be_killed(lives, name, rng):
    """Return what one life acknowledged before it was killed, at a moment that nothing foretells."""
    lives.stdin.write(f"{name}\n")
    lives.stdin.flush()
    said, enough = [json.loads(lives.stdout.readline())], rng.randrange(1, 12)
    child = said[0][1]
    try:
        said += [json.loads(lives.stdout.readline()) for _ in range(enough)]
        select.select([], [], [], rng.uniform(0, 0.02))  # into the middle of a transaction, or out of it
    finally:
        os.kill(child, signal.SIGKILL)
    while said[-1][0] != "dead":
        said.append(json.loads(lives.stdout.readline()))
    return {(what, key) for what, key in said[1:-1]}


def test_what_was_acknowledged_before_a_kill_is_there(film, start):
    rng, lives, left_uncertain = random.Random(4), start(LIVES, film), 0
    for life in range(KILLS):
        acknowledged = live_and_be_killed(lives, f"life-{life}", rng)
        with Ledger(film) as ledger:
            exposures = ledger.exposures_of_run(f"life-{life}")
        found = dict(zip(exposures.key.tolist(), exposures.status.tolist(), strict=True))
        # A life may die after an entry, and before it can say so: one, for nothing follows unsaid.
        assert {key for what, key in acknowledged if what == "intended"} >= set(list(found)[:-1])
        for what, key in acknowledged:
            assert key in found
            assert what in ("intended", found[key])
        assert (exposures.status[:-1] != "uncertain").all()
        assert (exposures.status != "under way").all()
        assert exposures.point.tolist() == list(range(len(exposures)))
        left_uncertain += exposures.status[-1] == "uncertain"
    # Otherwise no kill fell between an intent and its confirmation, and nothing was shown.
    assert 0 < left_uncertain < KILLS
    with closing(sqlite3.connect(film)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert list(film.parent.glob("*-session-*")) == []


def test_an_exposure_is_under_way_as_long_as_its_session_lives(film, start, delivered):
    with Ledger(film) as ledger:
        program = ENTRIES + "ledger = Ledger(path); say(ledger.intend(intent('run', 0))); input()"
        process = start(program, film)
        (key,) = json.loads(process.stdout.readline())
        assert ledger.exposures_of_run("run").status.tolist() == ["under way"]
        with pytest.raises(LedgerError, match="under way in another session"):
            ledger.withdraw(key, "it looks dead")
        process.kill()
        process.wait()
        assert ledger.uncertain("run").key.tolist() == [key]
        assert ledger.uncertain("run").photons.tolist() == [1000]
        ledger.withdraw(key, "the log of the shutter says so")
        assert ledger.exposures_of_run("run").photons.tolist() == [0]


def test_of_two_sessions_that_want_a_point_one_gets_it(film, start):
    rivals = [start(RIVAL, film) for _ in range(2)]
    for rival in rivals:
        assert json.loads(rival.stdout.readline()) == ["ready"]
    for rival in rivals:
        rival.stdin.write("go\n")
        rival.stdin.flush()
    won = [json.loads(rival.stdout.readline()) for rival in rivals]
    with Ledger(film) as ledger:
        exposures = [ledger.exposures_of_run(f"run-{point}") for point in range(30)]
    assert sorted(won[0] + won[1]) == sorted(int(each.key[0]) for each in exposures)
    assert [each.status.tolist() for each in exposures] == [["done"]] * 30
