"""What is said of process variables that answer wrongly, or not at all."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from ptycho_plugin.beamline_file import ProcessVariable, read_beamline_file
from ptycho_plugin.cli.beamline_checks import Answer, judge, limits_of, searched
from ptycho_plugin.cli.checks import State
from ptycho_plugin.ioc.beamline_file import PUBLISHED

MOTOR = [
    ProcessVariable("coarse.y", "M.VAL", writable=True, units="um"),
    ProcessVariable("coarse.y", "M.LLM"),
    ProcessVariable("coarse.y", "M.HLM"),
]
GOOD = {
    "M.VAL": Answer(connected=True, readable=True, writable=True, value=1.0, units="um"),
    "M.LLM": Answer(connected=True, readable=True, value=-5.0),
    "M.HLM": Answer(connected=True, readable=True, value=5.0),
}


def test_a_motor_that_answers_is_good() -> None:
    found = judge(MOTOR, GOOD, (-5.0, 4.0))
    assert (found.state, found.sentence) == (State.GOOD, "all 3 process variables answer")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"connected": False}, r"M.VAL did not answer within 2 s: .*searched: 10.0.0.7"),
        ({"readable": False}, r"M.VAL cannot be read"),
        ({"writable": False}, r"M.VAL cannot be written: see that it is the command"),
        ({"units": "mm"}, r"M.VAL is in 'mm' and must be in um: set its EGU"),
        ({"units": ""}, r"M.VAL is without units and must be in um"),
    ],
)
def test_what_is_bad_is_named(monkeypatch: pytest.MonkeyPatch, change: dict[str, object], said: str) -> None:
    monkeypatch.setenv("EPICS_CA_ADDR_LIST", "10.0.0.7")
    found = judge(MOTOR, GOOD | {"M.VAL": replace(GOOD["M.VAL"], **change)}, patience_s=2.0)
    assert found.state is State.BAD
    assert re.search(said, found.sentence)


def test_limits_that_are_not_set_or_too_wide_are_told() -> None:
    unset = {pv: replace(answer, value=0.0) for pv, answer in GOOD.items()}
    found = judge(MOTOR, unset)
    assert (found.state, found.sentence[:30]) == (State.MISSING, "M.LLM and M.HLM are both 0, so")
    found = judge(MOTOR, GOOD, (-6.0, 4.0))
    assert found.sentence == "the file's limits [-6.0, 4.0] are wider than the motor's, -5 to 5: narrow them"


def test_limits_are_found_by_their_entries(tmp_path: Path) -> None:
    text = PUBLISHED.read_text().replace('pv = "OSA:Y"', 'pv = "OSA:Y", limits = [-1.0, 1.0]')
    path = tmp_path / "beamline.toml"
    path.write_text(text)
    assert limits_of(read_beamline_file(path)) == {"optics.aperture_y": (-1.0, 1.0)}


def test_where_channel_access_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EPICS_CA_ADDR_LIST", raising=False)
    monkeypatch.delenv("EPICS_CA_AUTO_ADDR_LIST", raising=False)
    assert searched() == "every network of this machine"
    monkeypatch.setenv("EPICS_CA_AUTO_ADDR_LIST", "NO")
    assert searched() == "nowhere"
    monkeypatch.setenv("EPICS_CA_ADDR_LIST", "10.0.0.7")
    assert searched() == "10.0.0.7"
