"""The beamline of a beamline file: our devices against the simulated beamline's process."""

import asyncio
import os
import signal as signals
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bluesky import RunEngine

from ptycho_plugin.beamline_file import read_beamline_file
from ptycho_plugin.errors import DeviceError, InputError
from ptycho_plugin.ioc import IocProcess
from ptycho_plugin.live.frame_files import FrameFiles
from ptycho_plugin.trajectory import ConcentricRings

pytestmark = pytest.mark.usefixtures("healthy")

SMALL = ConcentricRings(height_um=0.8, width_um=0.8)
EXPOSURE_S = 0.02


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """What does not answer is given up soon."""
    from ptycho_plugin.devices.epics import axes, counters, frames, settings, shutter

    for module in (axes, counters, frames, settings):
        monkeypatch.setattr(module, "ANSWER_S", 1.0)
    monkeypatch.setattr(shutter, "MOVE_S", 0.5)


def set_up(line: Any) -> dict[str, Any]:
    """Every setting of camera and file plugin that a run could leave behind."""
    cam = ["TriggerMode", "ImageMode", "NumImages", "ArrayCallbacks", "AcquireTime", "Acquire_RBV"]
    hdf = [
        "EnableCallbacks",
        "FileWriteMode",
        "FilePath",
        "FileName",
        "SWMRMode",
        "FileTemplate",
        "AutoIncrement",
    ]
    hdf += ["AutoIncrement", "NumCapture", "LazyOpen", "Capture_RBV"]
    names = [*(f"cam1:{name}" for name in cam), *(f"HDF1:{name}" for name in hdf)]
    return {name: line.text(f"PIL:{name}") for name in names}


def test_a_guarded_scan_over_the_wire(
    engine: RunEngine, ioc: IocProcess, line: Any, guarded: Any, run_documents: Any
) -> None:
    before, found, preset = line.get("TWIN:PHOTONS"), set_up(line), line.get("SCALER.TP")
    engine(guarded.scan(SMALL, EXPOSURE_S))
    assert run_documents.stop["exit_status"] == "success"
    assert line.get("SHUTTER:STATUS") == 0
    planned = SMALL.offsets_um()
    exposures = run_documents.joined
    np.testing.assert_allclose([exposure.stage_um for exposure in exposures], planned, atol=1e-3)
    with FrameFiles(ioc.directory) as files:
        window = (slice(0, 1679), slice(0, 1475))
        counts = [files.read(one.uri, one.dataset, one.frame, window).clip(0).sum() for one in exposures]
    np.testing.assert_allclose(counts, 5e6 * EXPOSURE_S, rtol=0.05)
    guarded.assert_told(line.get("TWIN:PHOTONS") - before)
    assert set_up(line) | {"cam1:AcquireTime": ""} == found | {"cam1:AcquireTime": ""}
    assert line.get("SCALER.TP") == preset


def test_the_detector_is_left_as_it_was_also_where_it_cannot_be_staged(
    wired: Any, line: Any, tmp_path: Path
) -> None:
    line.put("PIL:cam1:NumImages", 7)
    line.put("PIL:HDF1:AutoIncrement", 1)
    found, detector = set_up(line), wired.detector
    detector.stage()
    assert set_up(line) != found
    detector.unstage()
    assert set_up(line) == found
    folder, detector._directory = detector._directory, tmp_path
    try:
        with pytest.raises(DeviceError, match=r"PIL:HDF1:FilePathExists_RBV says that the file plugin"):
            detector.stage()
    finally:
        detector._directory = folder
    assert set_up(line) == found
    line.put("PIL:cam1:NumImages", 1)


def test_what_was_left_running_is_stopped_and_not_begun_again(wired: Any, line: Any) -> None:
    """As a session leaves it that was killed, or a live view."""
    line.put("PIL:HDF1:FileName", "left_open")
    line.put("PIL:HDF1:Capture", 1, wait=False)
    line.put("PIL:cam1:ImageMode", "Continuous")
    line.put("PIL:cam1:Acquire", 1, wait=False)
    assert line.becomes("PIL:HDF1:Capture_RBV", 1)
    assert line.becomes("PIL:cam1:Acquire_RBV", 1)
    found, detector = set_up(line), wired.detector
    detector.stage()
    assert line.get("PIL:cam1:Acquire_RBV") == 0
    assert "left_open" not in line.text("PIL:HDF1:FullFileName_RBV")
    detector.unstage()
    assert set_up(line) == found | {"cam1:Acquire_RBV": "Done", "HDF1:Capture_RBV": "Done"}


def test_a_frame_that_is_seen_late_is_waited_for(wired: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through a file system of several machines."""
    from ptycho_plugin.devices.epics import frames

    detector, read, late = wired.detector, wired.detector._read, [True, True]

    def read_late(index: int) -> Any:
        if late and late.pop():
            raise FileNotFoundError("not yet")
        return read(index)

    detector.exposure_time.set(EXPOSURE_S).wait(timeout=5)
    detector.stage()
    monkeypatch.setattr(detector, "_read", read_late)
    detector.trigger().wait(timeout=10)
    assert late == []
    monkeypatch.setattr(frames, "ANSWER_S", 0.2)
    monkeypatch.setattr(detector, "_read", lambda index: read(99))
    with pytest.raises(DeviceError, match=r"\.h5 cannot be read here, 0.2 s after the file plugin"):
        detector.trigger().wait(timeout=10)
    detector.unstage()


def test_an_exposure_that_could_not_begin_is_not_under_way(
    wired: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ptycho_plugin.devices.epics import frames

    detector = wired.detector

    def refuse(*_: Any) -> None:
        raise DeviceError("it is not connected")

    detector.stage()
    with monkeypatch.context() as broken:
        broken.setattr(frames, "told", refuse)
        with pytest.raises(DeviceError, match="not connected"):
            detector.trigger()
    detector.trigger().wait(timeout=10)
    detector.unstage()


def test_a_setting_that_is_not_answered_fails_in_time(
    ioc: IocProcess, wired: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    signal, pid = wired.detector.exposure_time, ioc.pid
    assert (signal.write_timeout, wired.flux.gain.write_timeout) == (5.0, 5.0)
    monkeypatch.setattr(signal, "_write_timeout", 0.3)
    assert pid is not None
    os.kill(pid, signals.SIGSTOP)
    try:
        with pytest.raises(TimeoutError, match="PIL:cam1:AcquireTime"):
            signal.set(EXPOSURE_S).wait(timeout=5)
    finally:
        os.kill(pid, signals.SIGCONT)


@pytest.mark.usefixtures("patience")
def test_what_does_not_answer_is_named_with_its_process_variable(wired: Any, line: Any) -> None:
    prefix = line.prefix
    line.put("TWIN:FAULT", "stall PIEZO:Y")
    with pytest.raises(DeviceError, match=rf"stage_y did not arrive at 1.5 um: {prefix}PIEZO:Y:SET is at"):
        wired.stage.y.set(1.5).wait(timeout=10)
    line.put("TWIN:FAULT", "stall COARSE:X")
    with pytest.raises(DeviceError, match=rf"coarse_x did not arrive at 40 um: {prefix}COARSE:X is at 0 "):
        wired.coarse.x.set(40.0).wait(timeout=10)
    line.put("TWIN:FAULT", "none")
    wired.detector.exposure_time.set(EXPOSURE_S).wait(timeout=5)
    with pytest.raises(DeviceError, match=rf"{prefix}ENC:ARM = 1 was not completed within 1.02 s: see that"):
        wired.encoder.trigger().wait(timeout=10)
    wired.detector.stage()
    line.put("TWIN:FAULT", "drop_frame")
    with pytest.raises(DeviceError, match=rf"{prefix}PIL:HDF1:NumCaptured_RBV is 0 and not 1, 1 s after"):
        wired.detector.trigger().wait(timeout=10)
    line.put("TWIN:FAULT", "miss_trigger")
    with pytest.raises(DeviceError, match=rf"{prefix}PIL:cam1:Acquire = 1 was not completed"):
        wired.detector.trigger().wait(timeout=10)
    wired.detector.unstage()


def test_what_others_acquire_goes_on_where_the_detector_is_not_staged(wired: Any, line: Any) -> None:
    line.put("PIL:cam1:ImageMode", "Continuous")
    line.put("PIL:cam1:Acquire", 1, wait=False)
    assert line.becomes("PIL:cam1:Acquire_RBV", 1)
    wired.detector.unstage()
    assert line.get("PIL:cam1:Acquire_RBV") == 1


def test_a_motor_that_was_stopped_has_not_arrived(wired: Any, line: Any) -> None:
    moving = wired.coarse.y.set(5000.0)
    assert line.holds(lambda: wired.coarse.y.position > 100)
    line.put("COARSE:Y.STOP", 1)
    with pytest.raises(DeviceError, match=r"did not arrive at 5000 um: .* \(it was stopped\)"):
        moving.wait(timeout=10)
    wired.coarse.y.set(0.0).wait(timeout=10)


def test_limits_are_the_records_and_the_files(ioc: IocProcess, wired: Any) -> None:
    from ptycho_plugin.devices.epics.axes import MotorAxis

    said = read_beamline_file(ioc.beamline_file).coarse.y.model_copy(update={"limits": (-30.0, 1e6)})
    axis = MotorAxis(ioc.settings.prefix, said, "um", name="coarse_y")
    axis.connect()
    assert axis.limits == (-30.0, 25_000.0)
    with pytest.raises(InputError, match="coarse_y cannot go to -31 um: its limits are -30 to 25000 um"):
        axis.set(-31.0)
    with pytest.raises(InputError, match="stage_x cannot go to 51 um: its limits are -50 to 50 um"):
        wired.stage.x.set(51.0)
    other = MotorAxis(ioc.settings.prefix, said, "mm", name="coarse_y")
    with pytest.raises(DeviceError, match=r"COARSE:Y.EGU is 'um', and coarse_y is set in mm: let it"):
        other.connect()


def test_a_process_variable_that_nobody_serves_is_named(
    ioc: IocProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ptycho_plugin.devices.epics import answers, epics_beamline

    monkeypatch.setattr(answers.connect, "__kwdefaults__", {"timeout_s": 1.0})
    said = read_beamline_file(ioc.beamline_file)
    wrong = said.model_copy(update={"encoder": said.encoder.model_copy(update={"arm": "NOBODY:ARM"})})
    with pytest.raises(DeviceError, match=r"encoder is not connected: PTYCHO:NOBODY:ARM did not answer"):
        epics_beamline(wrong, ioc.directory)
    source = said.source.model_copy(update={"ring_current": "NOBODY:MA"})
    with pytest.raises(DeviceError, match=r"ring_current is not connected: PTYCHO:NOBODY:MA did not answer"):
        epics_beamline(said.model_copy(update={"source": source}), ioc.directory)


def test_the_shutter_closes_from_any_thread_and_in_a_pause(wired: Any, line: Any) -> None:
    shutter = wired.shutter
    shutter.set("open").wait(timeout=5)
    assert line.get("SHUTTER:STATUS") == 1
    closing = threading.Thread(target=lambda: shutter.set("closed").wait(timeout=5))
    closing.start()
    closing.join(timeout=10)
    assert line.get("SHUTTER:STATUS") == 0
    shutter.set("open").wait(timeout=5)
    asyncio.run(shutter.pause())
    assert line.get("SHUTTER:STATUS") == 0
    asyncio.run(shutter.resume())
    assert line.get("SHUTTER:STATUS") == 1
    shutter.unstage()
    assert line.becomes("SHUTTER:STATUS", 0)
    assert all(opening_s > 0 for opening_s in shutter.openings_s)


@pytest.mark.usefixtures("patience")
def test_a_shutter_that_does_not_move_is_told(ioc: IocProcess, wired: Any) -> None:
    """Its limit switch is read from a record that stays as it is."""
    from ptycho_plugin.devices.epics.shutter import EpicsShutter

    said = read_beamline_file(ioc.beamline_file).shutter
    stuck = said.model_copy(update={"status": "PIL:cam1:NumImages_RBV"})
    shutter = EpicsShutter(ioc.settings.prefix, stuck, name="shutter", exposures=wired.detector)
    shutter.wait_for_connection(timeout=10)
    with pytest.raises(
        DeviceError, match=r"NumImages_RBV does not say closed after 0.5 s: see that it is cl"
    ):
        shutter.stage()
    shutter.unstage()
