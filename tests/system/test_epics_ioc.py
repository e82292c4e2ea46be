"""The simulated beamline over a real wire: ophyd's own classes, and pyepics, against the process."""

import threading
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

import h5py
import numpy as np
import psutil
import pytest

from ptycho_plugin.ioc import IocError, IocProcess
from ptycho_plugin.simulation.options import SimulationOptions

pytestmark = pytest.mark.usefixtures("healthy")

EXPOSURE_S = 0.02
PATIENCE_S = 20.0


@pytest.fixture
def camera(line: Any) -> Any:
    """The camera, which writes to a file of its own."""
    capture(line)
    line.put("PIL:cam1:AcquireTime", EXPOSURE_S)
    line.put("PIL:cam1:AcquirePeriod", EXPOSURE_S)
    return line


def capture(line: Any) -> None:
    """Open a file of its own name."""
    line.put("PIL:HDF1:FileName", uuid4().hex)
    line.put("PIL:HDF1:Capture", 1, wait=False)  # it completes when the file is closed
    assert line.becomes("PIL:HDF1:Capture_RBV", 1), line.text("PIL:HDF1:WriteMessage")


def frames(line: Any) -> Any:
    """What a reader finds in the file that is being written."""
    with h5py.File(line.text("PIL:HDF1:FullFileName_RBV"), swmr=True) as file:
        return file["/entry/data/data"][:]


def expose(line: Any) -> Any:
    line.put("PIL:cam1:Acquire", 1)
    return frames(line)[-1]


def light(frame: Any) -> int:
    return int(frame[frame > 0].sum())


def test_a_motor_record_moves_stops_and_keeps_its_limits(ioc: IocProcess, line: Any) -> None:
    from ophyd import EpicsMotor
    from ophyd.utils import LimitError

    motor = EpicsMotor(f"{ioc.settings.prefix}COARSE:X", name="coarse_x")
    motor.wait_for_connection(timeout=PATIENCE_S)
    assert (motor.egu, motor.limits) == ("um", (-25_000, 25_000))
    began = time.monotonic()
    motor.set(400.0).wait(timeout=PATIENCE_S)
    assert time.monotonic() - began > 0.3  # at 2000 um/s, then it settles
    assert motor.position == 400
    motor.set(400.0).wait(timeout=PATIENCE_S)  # which is no move, and done

    moving = motor.set(20_000.0)
    assert line.holds(lambda: motor.position > 500)
    motor.stop()
    moving.wait(timeout=PATIENCE_S)  # to ophyd, a motor that was stopped has done its move
    assert 500 < motor.position < 15_000
    assert motor.user_setpoint.get(use_monitor=False) == motor.position

    with pytest.raises(LimitError):
        motor.set(30_000.0)
    motor.set(0.0).wait(timeout=PATIENCE_S)


def test_an_axis_without_a_motor_record_completes_when_it_has_settled(line: Any) -> None:
    began = time.monotonic()
    line.put("PIEZO:Y:SET", 10.0)
    assert time.monotonic() - began > 0.06  # at 200 um/s, then 10 ms
    assert (line.get("PIEZO:Y:RBV"), line.get("PIEZO:Y:DMOV")) == (10, 1)
    line.put("PIEZO:Y:SET", 60.0)
    assert line.get("PIEZO:Y:RBV") == 10  # beyond its limits: it stays


def test_frames_are_of_the_specimen_only_while_the_shutter_is_open(line: Any, camera: Any) -> None:
    assert light(expose(line)) == 0
    line.put("SHUTTER:OPEN", 1)
    assert line.text("SHUTTER:STATUS") == "Open"
    assert light(expose(line)) == pytest.approx(5e6 * EXPOSURE_S, rel=0.05)
    line.put("ATT:TRANSMISSION", 0.1)
    assert light(expose(line)) == pytest.approx(5e5 * EXPOSURE_S, rel=0.05)
    line.put("SHUTTER:OPEN", 0)
    assert line.text("SHUTTER:STATUS") == "Closed"
    assert light(expose(line)) == 0


def test_the_camera_and_its_files_work_with_ophyd(ioc: IocProcess, line: Any) -> None:
    """Staged as a beamline would, a frame can be read while more are to come; all is left as it was."""
    from ophyd import Component, EpicsSignalWithRBV, HDF5Plugin
    from ophyd.areadetector.cam import PilatusDetectorCam
    from ophyd.areadetector.detectors import DetectorBase
    from ophyd.areadetector.filestore_mixins import FileStoreHDF5IterativeWrite
    from ophyd.areadetector.trigger_mixins import SingleTrigger

    class Files(HDF5Plugin, FileStoreHDF5IterativeWrite):
        swmr = Component(EpicsSignalWithRBV, "SWMRMode")

    class Pilatus(SingleTrigger, DetectorBase):
        cam = Component(PilatusDetectorCam, "cam1:")
        hdf = Component(Files, "HDF1:", write_path_template=str(ioc.directory))

    detector = Pilatus(f"{ioc.settings.prefix}PIL:", name="pilatus")
    detector.wait_for_connection(timeout=PATIENCE_S)
    detector.cam.acquire_time.set(EXPOSURE_S).wait(timeout=PATIENCE_S)
    detector.cam.acquire_period.set(EXPOSURE_S).wait(timeout=PATIENCE_S)
    detector.stage_sigs["cam.num_images"] = 1
    before = line.text("PIL:cam1:ImageMode"), line.get("PIL:HDF1:Capture_RBV")
    detector.stage()
    line.put("SHUTTER:OPEN", 1)
    for number in range(2):
        status = detector.trigger()
        status.wait(timeout=PATIENCE_S)
        assert detector.hdf.num_captured.get() == number + 1
        assert frames(line).shape == (number + 1, 1679, 1475)
    detector.unstage()
    assert (line.text("PIL:cam1:ImageMode"), line.get("PIL:HDF1:Capture_RBV")) == before


def test_files_stay_in_the_iocs_folder_and_replace_none(line: Any, tmp_path: Path) -> None:
    folder = line.text("PIL:HDF1:FilePath_RBV")
    line.put("PIL:HDF1:FilePath", str(tmp_path))
    assert line.get("PIL:HDF1:FilePathExists_RBV") == 0
    line.put("PIL:HDF1:Capture", 1)
    assert line.get("PIL:HDF1:Capture_RBV") == 0
    assert "is outside" in line.text("PIL:HDF1:WriteMessage")
    assert list(tmp_path.iterdir()) == []
    line.put("PIL:HDF1:FilePath", folder)
    capture(line)
    line.put("PIL:HDF1:Capture", 0)
    line.put("PIL:HDF1:FileNumber", line.get("PIL:HDF1:FileNumber_RBV") - 1)
    line.put("PIL:HDF1:Capture", 1)
    assert "is there already" in line.text("PIL:HDF1:WriteMessage")
    line.put("PIL:HDF1:FileNumber", line.get("PIL:HDF1:FileNumber_RBV") + 1)


def test_a_capture_is_complete_when_its_file_is_closed(line: Any) -> None:
    """areaDetector's record is of type busy: who puts 1 and waits, waits for its end."""
    line.put("PIL:HDF1:FileName", uuid4().hex)
    ended = threading.Event()
    line.pv("PIL:HDF1:Capture").put(1, callback=lambda **_: ended.set())
    assert line.becomes("PIL:HDF1:Capture_RBV", 1)
    assert not ended.wait(0.2)
    line.put("PIL:HDF1:Capture", 0)
    assert ended.wait(PATIENCE_S)


def test_a_frame_that_comes_when_its_file_is_closed_is_in_none(line: Any, camera: Any) -> None:
    line.put("PIL:cam1:AcquireTime", 0.3)
    line.put("PIL:cam1:Acquire", 1, wait=False)
    assert line.becomes("PIL:cam1:Acquire_RBV", 1)
    line.put("PIL:HDF1:Capture", 0)
    capture(line)
    assert line.becomes("PIL:cam1:Acquire_RBV", 0)
    assert line.get("PIL:HDF1:NumCaptured_RBV") == 0
    line.put("PIL:cam1:AcquireTime", EXPOSURE_S)
    expose(line)
    assert line.get("PIL:HDF1:NumCaptured_RBV") == 1


def test_a_series_on_one_trigger_is_refused(line: Any) -> None:
    line.put("PIL:cam1:TriggerMode", "Ext. Trigger")
    line.put("PIL:cam1:Acquire", 1)
    assert "Mult. Trigger takes a frame a trigger" in line.text("PIL:cam1:StatusMessage_RBV")
    assert line.get("PIL:cam1:Armed") == 0


def test_counters_measure_during_the_next_gate(ioc: IocProcess, line: Any, camera: Any) -> None:
    from ophyd import EpicsScaler

    scaler = EpicsScaler(f"{ioc.settings.prefix}SCALER", name="scaler")
    scaler.wait_for_connection(timeout=PATIENCE_S)
    line.put("SHUTTER:OPEN", 1)
    line.put("PIEZO:X:SET", 0.3)
    line.put("AMP:GAIN", 10.0)
    counting = scaler.trigger()
    count = line.get("ENC:COUNT")
    line.put("ENC:ARM", 1, wait=False)
    assert line.holds(lambda: line.get("ENC:ARM") == 1)
    assert not counting.done
    expose(line)
    counting.wait(timeout=PATIENCE_S)
    assert line.becomes("ENC:ARM", 0)
    assert (line.get("ENC:Y"), line.get("ENC:X"), line.get("ENC:COUNT")) == (0, 0.3, count + 1)
    assert scaler.channels.chan2.get() == pytest.approx(10 * 0.04 * 5e6 * EXPOSURE_S, rel=0.1)
    assert scaler.time.get() == pytest.approx(EXPOSURE_S)
    line.put("AMP:GAIN", 1.0)
    line.put("SCALER.CNT", 1, wait=False)
    assert line.holds(lambda: line.get("SCALER.CNT") == 1)
    line.put("SCALER.CNT", 0)  # nobody waits any longer
    assert line.becomes("SCALER.CNT", 0)


def test_photons_are_flux_times_the_time_that_the_shutter_is_open(line: Any, camera: Any) -> None:
    """Whether a gate is high or not."""
    dark = line.get("TWIN:PHOTONS")
    expose(line)
    assert line.get("TWIN:PHOTONS") == dark
    line.put("SHUTTER:OPEN", 1)
    began, first = time.monotonic(), line.get("TWIN:PHOTONS")
    expose(line)
    line.put("PIEZO:X:SET", 1.0)
    asked, last, ended = time.monotonic(), line.get("TWIN:PHOTONS"), time.monotonic()
    line.put("SHUTTER:OPEN", 0)
    assert last - first == pytest.approx(5e6 * (ended - began), rel=0.1)
    closed = line.get("TWIN:PHOTONS")
    assert last < closed < last + 5e6 * (time.monotonic() - asked)
    assert line.get("TWIN:PHOTONS") == closed


PATH_UM = np.random.default_rng(5).uniform(-1, 1, (6, 2))


def load(line: Any, *, images: int = len(PATH_UM)) -> None:
    """Arm the camera for a trajectory, and load it."""
    line.put("PIL:cam1:ImageMode", 1)
    line.put("PIL:cam1:TriggerMode", "Mult. Trigger")
    line.put("PIL:cam1:NumImages", images)
    line.put("PIL:cam1:Acquire", 1, wait=False)
    assert line.becomes("PIL:cam1:Armed", 1)
    line.put("TRAJ:Y", PATH_UM[:, 0])
    line.put("TRAJ:X", PATH_UM[:, 1])
    line.put("TRAJ:EXPOSURE", EXPOSURE_S)
    line.put("TRAJ:LOAD", 1)
    assert line.text("TRAJ:STATE") == "Loaded", line.text("TRAJ:MESSAGE")


def captured(line: Any, name: str) -> Any:
    return np.atleast_1d(line.get(f"TRAJ:CAP:{name}"))[: line.get("TRAJ:CAPTURED")]


def test_a_trajectory_exposes_where_it_was_told_to(line: Any, camera: Any) -> None:
    load(line)
    line.put("TRAJ:ARM", 1)
    assert (line.text("TRAJ:STATE"), line.get("TRAJ:CAPTURED")) == ("Armed", 0)
    photons = line.get("TWIN:PHOTONS")
    line.put("SHUTTER:OPEN", 1)
    line.put("TRAJ:START", 1)
    assert line.text("TRAJ:STATE") == "Done"
    line.put("SHUTTER:OPEN", 0)
    assert np.array_equal(np.stack([captured(line, "Y"), captured(line, "X")], axis=1), PATH_UM)
    begins, ends = captured(line, "START"), captured(line, "END")
    assert ends - begins == pytest.approx(EXPOSURE_S)
    assert begins[0] == pytest.approx(0, abs=1e-9)
    assert ends[-1] == pytest.approx(line.get("TRAJ:DURATION_RBV"), abs=0.02)
    moves = np.abs(np.diff(PATH_UM, axis=0)).max(axis=1) / 200 + 0.01
    assert begins[1:] - ends[:-1] == pytest.approx(moves + 0.003, abs=2e-3)
    assert captured(line, "COUNTS") == pytest.approx(0.04 * 5e6 * EXPOSURE_S, rel=0.1)
    assert line.get("TWIN:PHOTONS") - photons > 5e6 * (ends[-1] - begins[0])  # on the way, too
    assert line.becomes("PIL:cam1:Acquire_RBV", 0)
    assert [light(frame) > 0.9e5 for frame in frames(line)] == [True] * len(PATH_UM)


def test_a_trajectory_says_why_it_cannot_be_run(line: Any, camera: Any) -> None:
    load(line, images=3)
    line.put("TRAJ:ARM", 1)
    assert line.text("TRAJ:STATE") == "Fault"
    assert "waits for 3 external triggers, the trajectory gives 6" in line.text("TRAJ:MESSAGE")
    line.put("TRAJ:START", 1)
    assert "is not armed" in line.text("TRAJ:MESSAGE")
    line.put("TRAJ:Y", np.array([0.0, 60.0]))
    line.put("TRAJ:LOAD", 1)
    assert "Y has 2 points, X has 6" in line.text("TRAJ:MESSAGE")
    line.put("TRAJ:X", np.array([0.0, 0.0]))
    line.put("TRAJ:LOAD", 1)
    assert "PIEZO:Y cannot go to 60 um" in line.text("TRAJ:MESSAGE")
    line.put("TRAJ:ARM", 1)
    assert "LOAD one first" in line.text("TRAJ:MESSAGE")


def test_a_trajectory_can_be_aborted_and_keeps_what_it_has_captured(line: Any, camera: Any) -> None:
    load(line)
    line.put("TRAJ:EXPOSURE", 0.1)
    line.put("TRAJ:LOAD", 1)
    line.put("TRAJ:ARM", 1)
    line.put("TRAJ:START", 1, wait=False)
    assert line.holds(lambda: line.get("TRAJ:CAPTURED") >= 2)
    line.put("TRAJ:ABORT", 1)
    assert line.text("TRAJ:STATE") == "Aborted"
    taken = line.get("TRAJ:CAPTURED")
    assert 2 <= taken < len(PATH_UM)
    assert np.array_equal(captured(line, "Y"), PATH_UM[:taken, 0])
    line.put("PIL:cam1:Acquire", 0)
    assert line.becomes("PIL:cam1:Acquire_RBV", 0)
    assert len(frames(line)) == taken


def test_a_stalled_axis_never_arrives(line: Any, camera: Any) -> None:
    line.put("TWIN:FAULT", "stall PIEZO:Y")
    line.put("PIEZO:Y:SET", 5.0, wait=False)
    assert line.becomes("PIEZO:Y:DMOV", 0)
    assert line.get("PIEZO:Y:RBV") == 0
    line.put("PIEZO:Y:STOP", 1)
    assert line.becomes("PIEZO:Y:DMOV", 1)
    load(line)
    line.put("TRAJ:ARM", 1)
    assert line.text("TRAJ:STATE") == "Fault"
    assert "PIEZO:Y did not arrive at point 0" in line.text("TRAJ:MESSAGE")


def test_a_slow_motor_takes_its_time(line: Any) -> None:
    line.put("TWIN:FAULT", "slow COARSE:Y 10")
    began = time.monotonic()
    line.put("COARSE:Y", 100.0)
    assert time.monotonic() - began > 0.6  # 0.05 s, ten times as slow, then it settles
    line.put("TWIN:FAULT", "none")
    line.put("COARSE:Y", 0.0)


def test_a_missed_trigger_leaves_the_camera_waiting(line: Any, camera: Any) -> None:
    line.put("TWIN:FAULT", "miss_trigger")
    load(line)
    line.put("TRAJ:ARM", 1)
    line.put("TRAJ:START", 1)
    assert (line.text("TRAJ:STATE"), line.get("TRAJ:CAPTURED")) == ("Done", len(PATH_UM))
    assert line.holds(lambda: line.get("PIL:HDF1:NumCaptured_RBV") == len(PATH_UM) - 1)
    assert line.get("PIL:cam1:Acquire_RBV") == 1


def test_a_dropped_frame_is_not_in_the_file(line: Any, camera: Any) -> None:
    dropped = line.get("PIL:HDF1:DroppedArrays_RBV")
    line.put("TWIN:FAULT", "drop_frame")
    line.put("PIL:cam1:Acquire", 1)
    assert line.get("PIL:HDF1:NumCaptured_RBV") == 0
    assert line.get("PIL:HDF1:DroppedArrays_RBV") == dropped + 1
    expose(line)
    assert line.get("PIL:HDF1:NumCaptured_RBV") == 1


def test_a_lost_beam_is_dark(line: Any, camera: Any) -> None:
    line.put("SHUTTER:OPEN", 1)
    line.put("TWIN:FAULT", "beam_loss")
    assert line.get("RING:CURRENT") == 0
    assert light(expose(line)) == 0
    line.put("TWIN:FAULT", "none")
    assert line.get("RING:CURRENT") == 400
    assert light(expose(line)) > 0


def test_what_is_no_fault_changes_nothing(line: Any) -> None:
    line.put("TWIN:FAULT", "explode", wait=False)
    assert line.get("TWIN:FAULT") == "none"


def test_it_dies_and_comes_back_as_new(ioc: IocProcess, line: Any) -> None:
    """Killed with a motor on its way and a file open; then its first frame is the world's own first."""
    from ptycho_plugin.devices.simulated import PUBLISHED_GEOMETRY
    from ptycho_plugin.simulation.world import SimulatedWorld

    capture(line)
    position = line.pv("COARSE:X.RBV")
    line.put("COARSE:X", 20_000.0, wait=False)
    file_number = line.get("PIL:HDF1:FileNumber_RBV")
    ioc.kill()
    assert ioc.pid is None
    assert line.holds(lambda: not position.connected)
    ioc.start()
    assert line.holds(lambda: bool(position.connected))
    assert (line.get("COARSE:X.RBV"), line.get("TWIN:PHOTONS")) == (0, 0)

    line.put("PIL:HDF1:FileNumber", file_number)
    capture(line)
    line.put("PIL:cam1:AcquireTime", EXPOSURE_S)
    line.put("PIEZO:Y:SET", 0.5)
    line.put("PIEZO:X:SET", -0.7)
    line.put("SHUTTER:OPEN", 1)
    frame = expose(line)
    world = SimulatedWorld(PUBLISHED_GEOMETRY, options=SimulationOptions())
    world.move("stage_row", 0.5)
    world.move("stage_column", -0.7)
    world.set_shutter(True)
    assert np.array_equal(frame, world.expose(EXPOSURE_S).frame)


def test_nothing_of_a_process_is_left(ioc: IocProcess) -> None:
    """Neither the process nor what it listened on, and no repeater of a client's."""
    threads = threading.active_count()
    with pytest.raises(IocError, match=f"port {ioc.settings.port} cannot be used"):
        IocProcess(port=ioc.settings.port).__enter__()
    assert threading.active_count() == threads
    children = psutil.Process().children(recursive=True)
    assert [child for child in children if "epeater" in child.name()] == []
    listening = {c.laddr.port for c in psutil.Process(ioc.pid).net_connections() if c.laddr.ip != "127.0.0.1"}
    assert listening == set()
