"""``ptycho doctor --beamline`` asks every process variable of a real wire."""

import json
import os
import subprocess
import sys
from pathlib import Path
from time import monotonic
from typing import Any

import psutil
import pytest

from ptycho_plugin.beamline_file import read_beamline_file
from ptycho_plugin.cli.beamline_checks import beamline_checks
from ptycho_plugin.cli.checks import State, examine
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
    doctor = [Path(sys.prefix, "bin", "ptycho"), "doctor", "--json", "--patience", "30"]
    command = [*doctor, "--beamline", ioc.beamline_file]
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
    assert found["encoder.arm"].startswith("did not answer within 2 s (searched 127.0.0.1")
    assert found["encoder.arm"].endswith("): PTYCHO:ENC:RAM")
    assert found["source.ring_current"].startswith("without units and must be in mA")
    found = bad(examine(beamline_checks(changed(ioc, tmp_path, **{"SHUTTER:OPEN": "TWIN:PHOTONS"}), 2.0)))
    assert found["shutter.command"].startswith("cannot be written, see that it is the command")


def test_a_beamline_that_is_not_there_is_named_within_the_one_patience(
    ioc: IocProcess, tmp_path: Path
) -> None:
    file = changed(ioc, tmp_path, **{ioc.settings.prefix: "NOBODY:"})
    began = monotonic()
    found = examine(beamline_checks(file, 2.0))
    assert monotonic() - began < 6
    assert {one.state for one in found.values()} == {State.BAD}
    named = [pv for one in found.values() for pv in one.facts["bad"]]
    assert set(named) == {one.pv for one in read_beamline_file(file).process_variables()}


@pytest.mark.usefixtures("healthy")
def test_a_beamline_that_hangs_is_named_within_the_one_patience(ioc: IocProcess, line: Any) -> None:
    """It has answered before, and its connections stand."""
    assert line.pv("COARSE:X.RBV").connected
    twin = psutil.Process(ioc.pid)
    twin.suspend()
    try:
        began = monotonic()
        found = examine(beamline_checks(ioc.beamline_file, 1.0))
        assert monotonic() - began < 3
    finally:
        twin.resume()
    assert {one.state for one in found.values()} == {State.BAD}


def test_it_asks_whatever_devices_are_connected_to(ioc: IocProcess) -> None:
    """Fields of a record and the readback of a set point are there where that is."""
    from ophyd.signal import EpicsSignalBase

    from ptycho_plugin.devices.epics import epics_beamline

    wired = epics_beamline(ioc.beamline_file, ioc.directory)  # one whose lazy signals nobody has asked for
    asked = {one.pv for one in read_beamline_file(ioc.beamline_file).process_variables()}
    known = {*asked, *(f"{pv}_RBV" for pv in asked), f"{ioc.settings.prefix}PIL:HDF1:PluginType_RBV"}
    records = {pv.partition(".")[0] for pv in asked if "." in pv}
    stages = (wired.stage.y, wired.stage.x, wired.coarse.y, wired.coarse.x)
    others = (wired.encoder, wired.flux, wired.detector, wired.shutter, wired.attenuator, wired.scanner)
    signals = [wired.ring_current]
    for device in (*stages, *others, wired.monochromator, wired.zone_plate_z):
        signals += [walked.item for walked in device.walk_signals(include_lazy=False)]
    used = {signal.pvname for signal in signals if isinstance(signal, EpicsSignalBase)}
    assert {pv for pv in used - known if pv.partition(".")[0] not in records} == set()
