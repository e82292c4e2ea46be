"""What the doctor says of a beamline, from what its process variables answer."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from ptycho_plugin import ioc
from ptycho_plugin.beamline_file import read_beamline_file
from ptycho_plugin.cli import beamline_checks, doctor
from ptycho_plugin.cli.beamline_checks import Answer, examine_beamline
from ptycho_plugin.cli.checks import Finding, State

FILE = Path(ioc.__file__).with_name("beamline.toml")
SAID = read_beamline_file(FILE)
COARSE_Y = "PTYCHO:COARSE:Y"


@pytest.fixture
def answers(monkeypatch):
    """What all process variables of the file answer: what they should."""
    answers = {one.pv: Answer(True, True, one.writable, one.units, 1.0) for one in SAID.process_variables()}
    for axis in SAID.axes.values():
        low, high = (SAID.prefix + name for name in axis.limit_variables)
        answers[low], answers[high] = replace(answers[low], value=-50.0), replace(answers[high], value=50.0)
    monkeypatch.setattr(beamline_checks, "ask", lambda names, _: {name: answers[name] for name in names})
    monkeypatch.setattr(doctor, "standard_checks", lambda _: [("reconstruction", lambda: GOOD)])
    return answers


GOOD = Finding(State.GOOD, "runs on cpu", {"device": "cpu"})


def test_a_good_beamline_has_one_line_for_each_entry(answers, ptycho):
    found = examine_beamline(SAID, 1.0)
    assert {finding.state for finding in found.values()} == {State.GOOD}
    assert found["stage.y"].sentence == "5 process variables, in um, from -50 to 50"
    assert found["shutter.command"].sentence == "1 process variable"
    status, stdout, _ = ptycho("doctor", "--beamline", str(FILE))
    assert status == 0
    assert all(stdout.count(f"│ {entry} ") == 1 for entry in found)
    assert stdout.splitlines()[-1] == f"All {len(answers)} process variables are as the file says."


@pytest.mark.parametrize(
    ("pv", "answer", "entry", "sentence"),
    [
        ("PTYCHO:ENC:Y", Answer(), "encoder.y", "not connected: PTYCHO:ENC:Y"),
        ("PTYCHO:ENC:Y", Answer(connected=True), "encoder.y", "cannot be read: PTYCHO:ENC:Y"),
        ("PTYCHO:AMP:GAIN", Answer(True, True), "flux.gain", "cannot be written: PTYCHO:AMP:GAIN"),
        (
            f"{COARSE_Y}.VAL",
            Answer(True, True, True, "mm", 0.0),
            "coarse.y",
            f"in 'mm', should be in um: {COARSE_Y}.VAL",
        ),
        ("PTYCHO:ENC:X", Answer(True, True), "encoder.x", "in '', should be in um: PTYCHO:ENC:X"),
    ],
)
def test_each_bad_process_variable_is_named(answers, ptycho, pv, answer, entry, sentence):
    answers[pv] = answer
    status, stdout, _ = ptycho("doctor", "--beamline", str(FILE), "--json")
    said = json.loads(stdout)
    assert status == 1
    assert (said["can_reconstruct"], said["beamline_is_good"]) == (True, False)
    assert {name for name, one in said["beamline"].items() if one["state"] != "good"} == {entry}
    assert said["beamline"][entry]["sentence"] == sentence
    variables = said["beamline"][entry]["facts"]["process_variables"]
    assert [name for name, one in variables.items() if one["fault"] is not None] == [pv]


@pytest.mark.parametrize(
    ("own", "low", "high", "sentence"),
    [
        (None, 0.0, 0.0, "no limits are set, they are 0 and 0"),
        ((-60.0, 10.0), -50.0, 50.0, "the file's limits -60 to 10 leave -50 to 50"),
    ],
)
def test_limits_are_set_and_hold_those_of_the_file(answers, own, low, high, sentence):
    names = f"{COARSE_Y}.LLM", f"{COARSE_Y}.HLM"
    for name, value in zip(names, (low, high), strict=True):
        answers[name] = replace(answers[name], value=value)
    axis = SAID.coarse.y.model_copy(update={"limits": own})
    said = SAID.model_copy(update={"coarse": SAID.coarse.model_copy(update={"y": axis})})
    found = examine_beamline(said, 1.0)
    assert found["coarse.y"].state is State.BAD
    assert found["coarse.y"].sentence == f"{sentence}: {names[0]} and {names[1]}"
    assert [entry for entry, finding in found.items() if finding.state is State.BAD] == ["coarse.y"]


def test_a_wrong_file_is_told_as_it_is(ptycho, tmp_path):
    wrong = tmp_path / "beamline.toml"
    wrong.write_text(FILE.read_text().replace('gain = "AMP:GAIN"', 'gian = "AMP:GAIN"'))
    status, stdout, stderr = ptycho("doctor", "--beamline", str(wrong))
    assert (status, stdout) == (2, "")
    assert "flux.gian is not known: did you mean 'gain'?" in stderr
    assert len(stderr.splitlines()) == 1


def test_without_pyepics_it_says_what_to_install(ptycho, monkeypatch):
    monkeypatch.setitem(sys.modules, "epics", None)
    status, _, stderr = ptycho("doctor", "--beamline", str(FILE))
    assert status == 2
    assert "extra 'epics'" in stderr
