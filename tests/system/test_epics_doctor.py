"""``ptycho doctor --beamline`` asks every process variable of a real wire."""

import json
import os
import subprocess
import sys
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from ptycho_plugin.cli.beamline_checks import ask, beamline_checks
from ptycho_plugin.cli.checks import State, examine
from ptycho_plugin.errors import InputError
from ptycho_plugin.ioc import IocProcess


def changed(ioc: IocProcess, folder: Path, **parts: str) -> Path:
    """Write the beamline's file with some values replaced, and return its path."""
    text = ioc.beamline_file.read_text()
    for old, new in parts.items():
        assert text.count(f'"{old}"') == 1, old
        text = text.replace(f'"{old}"', f'"{new}"')
    path = folder / "beamline.toml"
    path.write_text(text)
    return path


def bad(findings: dict[str, Any]) -> dict[str, str]:
    return {name: one.sentence for name, one in findings.items() if one.state is not State.GOOD}


def test_the_command_finds_the_simulated_beamline_ready(ioc: IocProcess) -> None:
    command = [Path(sys.prefix, "bin", "ptycho"), "doctor", "--json", "--beamline", ioc.beamline_file]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ, check=True)
    said = json.loads(done.stdout)
    assert said["can_scan"] is True
    assert {entry["state"] for entry in said["beamline"].values()} == {"good"}
    assert len(said["beamline"]) > 20
    assert "PTYCHO:COARSE:Y.VAL" in said["beamline"]["coarse.y"]["facts"]["pvs"]


def test_what_is_wrong_is_found(ioc: IocProcess, tmp_path: Path) -> None:
    parts = {"ENC:ARM": "ENC:RAM", "RING:CURRENT": "TWIN:FRAMES"}
    found = bad(examine(beamline_checks(changed(ioc, tmp_path, **parts), 2.0)))
    assert set(found) == {"encoder.arm", "source.ring_current"}
    assert found["encoder.arm"].startswith("PTYCHO:ENC:RAM did not answer within 2 s: see its name")
    assert "TWIN:FRAMES is without units and must be in mA" in found["source.ring_current"]
    found = bad(examine(beamline_checks(changed(ioc, tmp_path, **{"SHUTTER:OPEN": "TWIN:PHOTONS"}), 2.0)))
    assert "TWIN:PHOTONS cannot be written: see that it is the command" in found["shutter.command"]


def test_where_nobody_serves_each_is_named_after_one_patience(ioc: IocProcess) -> None:
    began = monotonic()
    answers = ask([f"NOBODY:{number}" for number in range(50)], 1.0)
    assert monotonic() - began < 10
    assert not any(answer.connected for answer in answers.values())


def test_a_wrong_file_is_told_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        beamline_checks(tmp_path / "none.toml", 1.0)
