"""What the doctor says of a beamline, from what its process variables answer."""

import json
import re
import sys
from dataclasses import replace

import pytest

from ptycho_plugin.beamline_file import read_beamline_file
from ptycho_plugin.cli import beamline_checks, doctor
from ptycho_plugin.cli.beamline_checks import Answer, searched
from ptycho_plugin.cli.checks import Finding, State, examine
from ptycho_plugin.ioc.beamline_file import PUBLISHED

SAID = read_beamline_file(PUBLISHED)
COARSE_Y, COARSE_X = "PTYCHO:COARSE:Y", "PTYCHO:COARSE:X"
ENERGY = "PTYCHO:MONO:ENERGY.RBV"


@pytest.fixture
def answers(monkeypatch):
    """What all process variables of the file answer: what they should."""
    answers = {
        one.pv: Answer(True, True, one.writable, 1.0, one.units or "") for one in SAID.process_variables()
    }
    for axis in SAID.axes.values():
        low, high = (SAID.prefix + name for name in axis.limit_variables)
        answers[low], answers[high] = replace(answers[low], value=-50.0), replace(answers[high], value=50.0)
    for name, value in ((f"{COARSE_X}.HLM", 25e3), (ENERGY, SAID.geometry.energy_eV)):
        answers[name] = replace(answers[name], value=value)
    monkeypatch.setattr(beamline_checks, "ask", lambda names, _: {name: answers[name] for name in names})
    monkeypatch.setattr(doctor, "standard_checks", lambda _: [("reconstruction", lambda: GOOD)])
    return answers


GOOD = Finding(State.GOOD, "runs on cpu", {"device": "cpu"})


def test_a_good_beamline_has_one_line_for_each_entry(answers, ptycho):
    found = examine(beamline_checks.beamline_checks(PUBLISHED, 1.0))
    assert {finding.state for finding in found.values()} == {State.GOOD}
    assert found["stage.y"].sentence == "5 process variables answer, in um, from -50 to 50"
    assert found["shutter.command"].sentence == "PTYCHO:SHUTTER:OPEN answers"
    status, stdout, _ = ptycho("doctor", "--beamline", PUBLISHED)
    assert status == 0
    assert all(stdout.count(f"│ {entry} ") == 1 for entry in found)
    assert stdout.splitlines()[-1].endswith("Every process variable of the beamline answers.")


@pytest.mark.parametrize(
    ("pv", "answer", "entry", "said"),
    [
        (
            "PTYCHO:ENC:Y",
            Answer(),
            "encoder.y",
            r"did not answer within 2 s \(searched 10.0.0.7.*\): PTYCHO:ENC:Y",
        ),
        ("PTYCHO:ENC:Y", Answer(connected=True), "encoder.y", "cannot be read, see who may: PTYCHO:ENC:Y"),
        ("PTYCHO:AMP:GAIN", Answer(True, True), "flux.gain", "cannot be written, see that it is the command"),
        (f"{COARSE_Y}.VAL", Answer(True, True, True, 0.0, "mm"), "coarse.y", "in 'mm' and must be in um"),
        ("PTYCHO:ENC:X", Answer(True, True), "encoder.x", "without units and must be in um"),
    ],
)
def test_each_bad_process_variable_is_named(answers, ptycho, monkeypatch, pv, answer, entry, said):
    monkeypatch.setenv("EPICS_CA_ADDR_LIST", "10.0.0.7")
    answers[pv] = answer
    status, stdout, _ = ptycho("doctor", "--beamline", PUBLISHED, "--patience", 2, "--json")
    told = json.loads(stdout)
    assert status == 1
    assert (told["can_reconstruct"], told["can_scan"]) == (True, False)
    assert {name for name, one in told["beamline"].items() if one["state"] != "good"} == {entry}
    assert re.match(said, told["beamline"][entry]["sentence"])
    assert told["beamline"][entry]["facts"]["bad"] == [pv]


def test_where_nobody_answers_it_is_said_once(answers, ptycho):
    answers.update(dict.fromkeys(answers, Answer()))
    status, stdout, _ = ptycho("doctor", "--beamline", PUBLISHED, "--json")
    ((name, found),) = json.loads(stdout)["beamline"].items()
    assert (status, name) == (1, "process variables")
    assert re.match(rf"none of {len(answers)} answered .*prefix 'PTYCHO:' is right", found["sentence"])
    assert found["facts"]["bad"] == sorted(answers)


@pytest.mark.parametrize(
    ("pv", "value", "check", "said"),
    [
        (ENERGY, 6400.0, "energy", "at 6400.0 eV and the file says 6199.2 eV: bring it back, or write"),
        (
            f"{COARSE_X}.HLM",
            15e3,
            "places, x",
            "from -50 to 15000 um, move the place or set its limits: empty",
        ),
    ],
)
def test_what_the_file_says_is_compared_with_what_is_there(answers, pv, value, check, said):
    good = examine(beamline_checks.beamline_checks(PUBLISHED, 2.0))[check]
    answers[pv] = replace(answers[pv], value=value)
    found = examine(beamline_checks.beamline_checks(PUBLISHED, 2.0))[check]
    assert (good.state, found.state) == (State.GOOD, State.BAD)
    assert said in found.sentence


def test_places_are_within_the_files_own_limits_too(answers):
    narrow = SAID.coarse.y.model_copy(update={"limits": (-0.1, 0.1)})
    said = SAID.model_copy(
        update={
            "coarse": SAID.coarse.model_copy(update={"y": narrow}),
            "places": {"here": (0.0, 0.0), "there": (5.0, 0.0)},
        }
    )
    found = examine(beamline_checks.comparisons(said, answers))["places, y"]
    assert found.sentence == (
        "the coarse stage goes from -0.1 to 0.1 um, move the place or set its limits: there at 5 um"
    )
    for name in narrow.limit_variables:  # whose record has none
        answers[SAID.prefix + name] = replace(answers[SAID.prefix + name], value=0.0)
    assert examine(beamline_checks.comparisons(said, answers))["places, y"] == found


@pytest.mark.parametrize("missing", [ENERGY, f"{COARSE_X}.HLM"])
def test_what_did_not_answer_is_compared_with_nothing(answers, missing):
    answers[missing] = Answer()
    found = examine(beamline_checks.beamline_checks(PUBLISHED, 2.0))
    (bad,) = (finding.sentence for finding in found.values() if finding.state is not State.GOOD)
    assert bad.endswith(missing)


def test_those_with_the_same_fault_are_named_together(answers):
    for one in SAID.process_variables():
        if one.entry == "stage.y":
            answers[one.pv] = Answer()
    found = examine(beamline_checks.beamline_checks(PUBLISHED, 2.0))["stage.y"]
    assert found.sentence.count("did not answer") == 1
    assert found.facts["bad"] == sorted(found.facts["pvs"])
    assert all(pv in found.sentence for pv in found.facts["pvs"])


@pytest.mark.parametrize(
    ("entry", "low", "high"),
    [
        ("coarse.y", f"{COARSE_Y}.LLM", f"{COARSE_Y}.HLM"),
        ("stage.x", "PTYCHO:PIEZO:X:LOW", "PTYCHO:PIEZO:X:HIGH"),
    ],
)
def test_limits_that_are_not_set_or_too_wide_are_told(answers, monkeypatch, entry, low, high):
    axis = SAID.axes[entry]
    own = {entry: axis.model_copy(update={"limits": (-60.0, 10.0)})}
    ones = [one for one in SAID.process_variables() if one.entry == entry]
    found = beamline_checks.judge(ones, answers, own[entry], SAID.prefix, "")
    said = f"the file's limits -60 to 10 are wider than -50 to 50, narrow them: {low}, {high}"
    assert (found.state, found.sentence) == (State.MISSING, said)
    for name in (low, high):
        answers[name] = replace(answers[name], value=0.0)
    found = beamline_checks.judge(ones, answers, axis, SAID.prefix, "")
    said = f"the limits are 0 and 0, so that nothing keeps the axis, set them: {low}, {high}"
    assert (found.state, found.sentence) == (State.MISSING, said)


def test_a_wrong_file_is_told_as_it_is(ptycho, tmp_path):
    wrong = tmp_path / "beamline.toml"
    wrong.write_text(PUBLISHED.read_text().replace('gain = "AMP:GAIN"', 'gian = "AMP:GAIN"'))
    status, stdout, stderr = ptycho("doctor", "--beamline", wrong)
    assert (status, stdout) == (2, "")
    assert "flux.gian is not known: did you mean 'gain'?" in stderr
    assert [line.partition(":")[0] for line in stderr.splitlines()] == ["ptycho", "  line 63", "  line 66"]


def test_without_pyepics_it_says_what_to_install(ptycho, monkeypatch):
    monkeypatch.setitem(sys.modules, "epics", None)
    status, _, stderr = ptycho("doctor", "--beamline", PUBLISHED)
    assert status == 2
    assert "pip install 'ptycho-plugin[epics]'" in stderr


def test_where_channel_access_looks(monkeypatch):
    monkeypatch.delenv("EPICS_CA_ADDR_LIST", raising=False)
    monkeypatch.delenv("EPICS_CA_AUTO_ADDR_LIST", raising=False)
    assert searched() == "every network of this machine"
    monkeypatch.setenv("EPICS_CA_AUTO_ADDR_LIST", "NO")
    assert searched() == "nowhere"
    monkeypatch.setenv("EPICS_CA_ADDR_LIST", "10.0.0.7")
    assert searched() == "10.0.0.7"
