"""The doctor at the simulated beamline: every process variable of its file, asked over Channel Access."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from ptycho_plugin.beamline_file import read_beamline_file
from ptycho_plugin.cli.beamline_checks import examine_beamline
from ptycho_plugin.cli.checks import State
from ptycho_plugin.ioc import IocProcess

TIMEOUT_S = 2.0


def bad(found: dict[str, Any]) -> dict[str, str]:
    return {entry: finding.sentence for entry, finding in found.items() if finding.state is State.BAD}


def test_all_is_good_in_one_line_of_json(ioc: IocProcess) -> None:
    """By the command, in a process of its own."""
    ptycho = str(Path(sys.executable).with_name("ptycho"))
    command = [ptycho, "doctor", "--beamline", str(ioc.beamline_file), "--timeout", "20", "--json"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    said = json.loads(ended.stdout)
    assert (ended.returncode, said["beamline_is_good"]) == (0, True)
    assert said["beamline"]["stage.y"]["facts"]["limits"] == [-50, 50]
    variables = said["beamline"]["stage.y"]["facts"]["process_variables"]
    answer = {"connected": True, "readable": True, "writable": True, "units": "um", "fault": None}
    assert variables["PTYCHO:PIEZO:Y:SET"] == answer


def test_what_is_wrong_with_the_file_is_found_and_nothing_else(ioc: IocProcess, tmp_path: Path) -> None:
    """A name misspelt, and a motor in other units."""
    text = ioc.beamline_file.read_text()
    wrong = text.replace('"ENC:X"', '"ENC:XX"').replace('"COARSE:Y"', '"MONO:ENERGY"')
    assert wrong != text
    file = tmp_path / "beamline.toml"
    file.write_text(wrong)
    assert bad(examine_beamline(read_beamline_file(file), TIMEOUT_S)) == {
        "encoder.x": "not connected: PTYCHO:ENC:XX",
        "coarse.y": "in 'eV', should be in um: PTYCHO:MONO:ENERGY.VAL, PTYCHO:MONO:ENERGY.RBV",
    }


@pytest.mark.usefixtures("healthy")
def test_a_beamline_that_is_gone_is_named_within_the_one_timeout(ioc: IocProcess, line: Any) -> None:
    said = read_beamline_file(ioc.beamline_file)
    position = line.pv("COARSE:X.RBV")
    ioc.kill()
    try:
        began = time.monotonic()
        found = examine_beamline(said, TIMEOUT_S)
        assert time.monotonic() - began < TIMEOUT_S + 2
    finally:
        ioc.start()
    assert line.holds(lambda: bool(position.connected))
    assert set(bad(found)) == {variable.entry for variable in said.process_variables()}
    named = " ".join(bad(found).values())
    assert all(variable.pv in named for variable in said.process_variables())
    assert named.count("not connected: ") == len(found)
